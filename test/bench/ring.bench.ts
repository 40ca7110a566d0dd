/**
 * `npm run bench:ring`: the bundled model reads one prompt on one device, and by rings of worker threads with a device each, in every layout.
 * Ranks of one machine share its adapter, so that a ring is not faster here; what the figures show is whether passing keys hides behind
 * attending to them, how evenly each layout shares the work, and that the result stays the same. BENCH_RESULTS names another folder for
 * the figures.
 */
import assert from "node:assert/strict";
import { availableParallelism, loadavg } from "node:os";
import { resolve } from "node:path";
import { it } from "node:test";
import type { Runner } from "../../engine/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { ringStepLines, ringText } from "../../engine/attention/ring/reportText.ts";
import { causalPairs, criticalPath, shardsOf } from "../../engine/attention/ring/schedule.ts";
import { openWgslRunner } from "../../engine/backends/wgsl.ts";
import { probeAdapter } from "../../engine/gpu/device.ts";
import { loadModel } from "../../engine/models/load.ts";
import { positionPlan } from "../../engine/position/bands.ts";
import { ringThreads } from "../../extension/adapter/ringThreads.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { requireGpu } from "../support/requireDevice.ts";
import { keepResults } from "./results.ts";

const folder = "media/specimens/ask-5m";
const layouts = ["contiguous", "zigzag", "striped"] as const;
/** Logits of up to twelve that differ by the order of f32 sums through four layers. */
const TOLERANCE = 1e-3;

it("rings of two and four", { timeout: 3_600_000 }, async () => {
  const { gpu, how } = await requireGpu();
  const adapter = await probeAdapter(gpu);
  // A software adapter attends to so many keys in a minute.
  const tokens = adapter?.fallback === false ? 8192 : 2048;
  const files = nodeModelFiles(folder);
  const { spec, weights } = await loadModel(files);
  const ring = ringThreads(resolve("dist/ringThread.mjs"), folder);
  const runner = await openWgslRunner({ spec, weights, weightFormat: "file", gpu, ring });
  await files.close();
  runner.setPositions(positionPlan({ kind: "none" }, spec, tokens));
  const ids = Array.from({ length: tokens }, (_, index) => 3 + ((index * 7919) % (spec.vocabSize - 3)));
  print(`${runner.device}, ${how}; ${tokens} tokens`);

  await timed(runner, "flash", ids.slice(0, 256));
  const alone = await timed(runner, "flash", ids);
  print(`one device: ${alone.ms.toFixed(0)} ms`);
  const rings = [];
  for (const ranks of [2, 4]) {
    for (const layout of layouts) {
      const policy = `ring:${ranks},${layout}`;
      // The first prompt of a ring also starts its workers.
      await timed(runner, policy, ids.slice(0, 256));
      const run = await timed(runner, policy, ids);
      const report = runner.ring;
      assert(report !== undefined);
      const error = run.logits.reduce((worst, logit, index) => Math.max(worst, Math.abs(logit - alone.logits[index])), 0);
      const pairs = causalPairs(shardsOf(layout, ranks, tokens));
      const ideal = pairs.flat().reduce((sum, count) => sum + count, 0) / ranks;
      const overIdeal = criticalPath(pairs) / ideal;
      rings.push({
        ...report,
        ms: run.ms,
        againstOneDevice: run.ms / alone.ms,
        criticalPathOverIdeal: overIdeal,
        largestError: error,
      });
      print(
        `${policy}: ${run.ms.toFixed(0)} ms, ${(run.ms / alone.ms).toFixed(2)} of one device, largest difference ${error.toExponential(1)}`,
      );
      for (const line of [ringText(report), ...ringStepLines(report)]) print(`  ${line}`);
      assert(error <= TOLERANCE, `${policy} differs by ${error}`);
    }
  }
  runner.dispose();
  const [load] = loadavg();
  keepResults("ring", "npm run bench:ring", {
    adapter: { ...adapter, how },
    model: folder,
    tokens,
    note:
      "ranks are threads of one process that share its processor and adapter, so times of a step hold waiting for each other's work; " +
      "computeMs and transferMs are summed over layers; transferMs is from posting a block to its arrival, which the receiver's event loop delays",
    /** Programs that wanted a core in the last minute; many more than cores make all times longer and uneven. */
    load: { programs: load, cores: availableParallelism() },
    oneDeviceMs: alone.ms,
    rings,
  });
});

/** A whole prompt, into an empty cache. */
async function timed(runner: Runner, policy: string, ids: readonly number[]): Promise<{ ms: number; logits: Float32Array }> {
  runner.setAttention(parseAttention(policy));
  runner.truncate(0);
  const began = performance.now();
  const logits = await runner.append(ids, { logits: "last" });
  return { ms: performance.now() - began, logits: logits ?? new Float32Array() };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
