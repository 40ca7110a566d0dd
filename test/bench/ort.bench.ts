/** Prefill and decode rates of the bundled model on the WebAssembly twin. Rates count only if the logits agree with the reference. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { it, type TestContext } from "node:test";
import type { Runner, WeightFormat } from "../../engine/api.ts";
import { openOrtRunner } from "../../engine/backends/ort.ts";
import { loadModel } from "../../engine/models/load.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { openReferenceRunner } from "../../engine/reference/open.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";

const LENGTHS = [1024, 8192];
const DECODED = 64;
const CHECKED = 192;
const greedy = { temperature: 0, topP: 1, seed: 0 };
/** Share of the largest logit by which two f32 programs may differ that sum in another order. */
const RELATIVE = 2e-4;

for (const weightFormat of ["f32", "q8_0"] as const) {
  it(`the bundled model in ${weightFormat} on one thread`, async (test) => {
    const { ort, reference, vocabSize } = await openBoth(weightFormat);
    test.diagnostic(`${ort.device}; ${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores`);
    const ids = Array.from({ length: Math.max(...LENGTHS) }, (_, index) => 3 + ((index * 31 + (index >> 3)) % (vocabSize - 3)));
    await assertAgreement(ort, reference, ids.slice(0, CHECKED));
    for (const length of LENGTHS) await measure(test, ort, ids, length);
    ort.dispose();
  });
}

async function openBoth(weightFormat: WeightFormat): Promise<{ ort: Runner; reference: Runner; vocabSize: number }> {
  const wasm = new Uint8Array(readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")).buffer;
  const files = nodeModelFiles("media/specimens/ask-5m");
  const { spec, weights } = await loadModel(files);
  const ort = await openOrtRunner({ spec, weights, weightFormat, wasm, threads: 1 });
  const reference = await openReferenceRunner({ spec, weights, weightFormat });
  await files.close();
  for (const runner of [ort, reference]) {
    runner.setPositions(resolveRope({ kind: "auto" }, spec, Math.max(...LENGTHS) + DECODED, runner.capacityTokens).plan);
  }
  return { ort, reference, vocabSize: spec.vocabSize };
}

async function assertAgreement(ort: Runner, reference: Runner, ids: readonly number[]): Promise<void> {
  const actual = await ort.append(ids, { logits: "last" });
  const expected = await reference.append(ids, { logits: "last" });
  assert.ok(actual && expected);
  const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const worst = expected.reduce((largest, value, token) => Math.max(largest, Math.abs(value - actual[token])), 0);
  assert.ok(worst <= RELATIVE * scale, `logits differ by ${worst} of ${scale}`);
}

async function measure(test: TestContext, runner: Runner, ids: readonly number[], length: number): Promise<void> {
  runner.truncate(0);
  const prefillMs = await elapsed(() => runner.append(ids.slice(0, length)));
  const decodeMs = await elapsed(async () => {
    for (let token = 0; token < DECODED; token++) await runner.append([await runner.sample(greedy)]);
  });
  runner.truncate(length);
  const edges = Uint32Array.from({ length: 257 }, (_, index) => Math.floor((index * length) / 256));
  const pooling = () => runner.pool({ layer: 0, head: "mean", queryEdges: edges, keyEdges: edges });
  const poolMs = await elapsed(pooling);
  const rates = [
    `prefill ${((length / prefillMs) * 1000).toFixed(0)} tokens/s`,
    `decode ${((DECODED / decodeMs) * 1000).toFixed(0)} tokens/s`,
    `heatmap of one layer ${poolMs.toFixed(0)} ms`,
  ];
  test.diagnostic(`${length} tokens: ${rates.join(", ")}`);
}

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
