/**
 * `npm run bench:taps`: what looking costs. The bundled model reads one prompt with nothing kept for heatmaps and with queries kept, in turn,
 * round by round. Then the map of one layer and what its heads do are read. TAPS_TOKENS names other lengths, BENCH_RESULTS another folder.
 */
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { it } from "node:test";
import type { Runner } from "../../engine/api.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import { lendDevice } from "../../engine/gpu/lend.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { loadModel } from "../../engine/models/load.ts";
import { bundledModelFolder } from "../../extension/models/location.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { watchMemory } from "../support/gpuMemory.ts";
import { openBenchDevice } from "./benchDevice.ts";
import { keepResults, median } from "./results.ts";

const lengths = (process.env.TAPS_TOKENS ?? "1024,4096").split(",").map(Number);
const ROUNDS = 3;
/** The engine's own: 256 MiB. */
const TAP_BYTES = 2 ** 28;
/** The most that is kept for each head of each layer, at any length. */
const HEAD_BYTES = 8 * 2 ** 20;

it("what looking costs", { timeout: 3_600_000 }, async () => {
  const bench = await openBenchDevice();
  const files = nodeModelFiles(bundledModelFolder(resolve(".")));
  const model = await loadModel(files);
  const watched = watchMemory(bench.gpu);
  const { gpu } = watched;
  const shaders = openShaderCache(gpu);
  const open = (tapBytes: number): Promise<Runner> =>
    openRunnerOn(lendDevice(gpu), shaders, { ...model, weightFormat: "file", tapBytes });
  const rows: Record<string, unknown>[] = [];
  for (const tokens of lengths) {
    const ids = Int32Array.from({ length: tokens }, (_, index) => 3 + ((index * 7919) % (model.spec.vocabSize - 3)));
    const [without, kept] = [await open(0), await open(TAP_BYTES)];
    assert.deepEqual(without.tap.layers, []);
    assert.equal(kept.tap.layers.length, model.spec.layerCount, "every layer is kept");
    const times = { without: [] as number[], kept: [] as number[] };
    const logits = { without: new Float32Array(), kept: new Float32Array() };
    // The first round compiles.
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [name, runner] of Object.entries({ without, kept }) as ["without" | "kept", Runner][]) {
        runner.truncate(0);
        const began = performance.now();
        logits[name] = (await runner.append(ids, { logits: "last" })) ?? logits[name];
        if (round > 0) times[name].push(performance.now() - began);
      }
    }
    assert.deepEqual(logits.kept, logits.without, "looking changes nothing");
    const queryBytes = watched.liveBytes("queries ", "denominators ");
    assert(model.spec.kind === "decoder");
    const headBytes = queryBytes / model.spec.layerCount / model.spec.headCount;
    assert(headBytes <= HEAD_BYTES);
    const edges = Uint32Array.from({ length: 129 }, (_, index) => Math.floor((index * tokens) / 128));
    const layer = model.spec.layerCount - 1;
    const mapMs = await milliseconds(() => kept.pool({ layer, head: "mean", queryEdges: edges, keyEdges: edges }));
    const factsMs = await milliseconds(async () => kept.headFacts?.(256));
    const [withoutMs, keptMs] = [median(times.without), median(times.kept)];
    const row = {
      tokens,
      withoutMs,
      keptMs,
      share: keptMs / withoutMs - 1,
      rounds: times,
      queryBytes,
      headBytes,
      mapMs,
      factsMs,
    };
    print(
      `${tokens} tokens: ${withoutMs.toFixed(0)} ms without, ${keptMs.toFixed(0)} ms with queries kept (${(100 * row.share).toFixed(1)} %); ` +
        `${(headBytes / 2 ** 20).toFixed(2)} MiB a head; a map of a layer in ${mapMs.toFixed(0)} ms, what heads do in ${factsMs.toFixed(0)} ms`,
    );
    rows.push(row);
    for (const runner of [without, kept]) runner.dispose();
  }
  await files.close();
  keepResults("taps", "npm run bench:taps", {
    adapter: { ...bench.adapter, how: bench.how },
    model: model.label,
    tapBytes: TAP_BYTES,
    rows,
  });
});

async function milliseconds(run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await run();
  return performance.now() - began;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
