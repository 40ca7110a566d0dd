/**
 * Attention and a whole model on the current adapter, each figure behind a check that the numbers are right; products with matrices are
 * in engine.bench.ts. Run it on an otherwise idle machine.
 */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import type { Band, DecoderSpec } from "../../engine/api.ts";
import { attend, cacheChunk } from "../../engine/attention/attend.ts";
import { openChunkPositions } from "../../engine/attention/chunkPositions.ts";
import { F32_CACHE, WHOLE } from "../../engine/attention/wholeOnly.ts";
import { openWgslRunner } from "../../engine/backends/wgsl.ts";
import { storageBuffer } from "../../engine/gpu/buffers.ts";
import { openDevice, type EngineDevice } from "../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../engine/gpu/dispatch.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { openPagedCache } from "../../engine/kv-cache/pages.ts";
import { openAttentionActivations } from "../../engine/models/decoder.ts";
import { positionPlan } from "../../engine/position/bands.ts";
import { openLinear } from "../../engine/kernels/linear.ts";
import { openOperations, type Operations } from "../../engine/kernels/ops.ts";
import { plainVariants } from "../../engine/kernels/variants.ts";
import { attention } from "../../engine/reference/attend.ts";
import { openReferenceRunner } from "../../engine/reference/open.ts";
import { alloc32 } from "../../engine/reference/ops.ts";
import { assertClose, download, numbers, upload } from "../support/gpuArrays.ts";
import { randomModel } from "../support/goldenModels.ts";
import { requireGpu, type TestGpu } from "../support/requireDevice.ts";

/** The bundled model's shape. */
const shape: Partial<DecoderSpec> = {
  ...{
    vocabSize: 4096,
    hiddenSize: 256,
    intermediateSize: 704,
    layerCount: 4,
    headCount: 4,
    kvHeadCount: 1,
    headDim: 64,
    rotaryDim: 64,
  },
  ...{ qkNorm: true, keyShift: true, tiedEmbeddings: true, embeddingMultiplier: 16 },
};

let test: TestGpu;
let gpu: EngineDevice;
let recorder: Recorder;
let op: Operations;
before(async () => {
  test = await requireGpu();
  gpu = await openDevice(test.gpu, test);
  recorder = openRecorder(gpu);
  const shaders = openShaderCache(gpu);
  const scratch = {
    placeholder: storageBuffer(gpu, "placeholder", 16),
    slopes: storageBuffer(gpu, "slopes", 16),
    formats: F32_CACHE,
  };
  const setup = { gpu, shaders, recorder, placeholder: scratch.placeholder, variants: plainVariants, maxTokens: 1 };
  op = await openOperations(randomModel(shape).spec, await openLinear([], setup), shaders, recorder, scratch);
  print(`${gpu.description}, ${test.how}`);
});
after(() => gpu.destroy());

it("attention over 1024 keys", async () => {
  const { spec } = randomModel({ ...shape, layerCount: 1, layers: [{ window: undefined, rotation: "none" }], rotaryDim: 0 });
  const keys = 1024;
  const row = 6 * 64;
  const qkv = numbers("qkv", keys * row);
  const sizes = { capacityTokens: keys, chunkTokens: keys, maxBindingBytes: gpu.maxBufferBytes };
  const cache = openPagedCache({ spec, gpu, formats: F32_CACHE, choice: WHOLE, ...sizes });
  await cache.reserve(keys);
  const positions = openChunkPositions(spec, gpu, cache, keys);
  positions.setPlan(positionPlan({ kind: "none" }, spec, keys));
  const activations = openAttentionActivations(spec, gpu, 1, keys);
  const out = storageBuffer(gpu, "out", keys * 256 * 4);
  const run = (tokens: number): void => {
    const chunk = { qkv: upload(gpu, qkv.slice(-tokens * row)), rotated: activations.rotated };
    positions.write(keys - tokens, tokens, undefined);
    recorder.forget();
    const span = { start: keys - tokens, tokens };
    cacheChunk(op, chunk, cache.layer(0), positions.layer(0), span);
    attend(op, chunk, cache.layer(0), positions.layer(0), { out, lse: activations.lse, parts: activations.parts }, span);
  };
  const prefillMs = await medianMs(() => run(keys));
  const prefilled = (await download(gpu, out, keys * 256)).slice(-256);
  const decodeMs = await medianMs(() => run(1));
  const part = (width: number, offset: number) =>
    Float32Array.from({ length: keys * width }, (_, i) => qkv[Math.floor(i / width) * row + offset + (i % width)]);
  const causal: Band = { keys: (position) => [0, position + 1], queryPosition: (position) => position, copy: 0 };
  const scored = { queries: [qkv.slice(-row, -row + 256)], keys: [part(64, 256)], bands: [causal] };
  const expected = attention(alloc32, scored, part(64, 320), spec, keys - 1);
  // Means of values below one.
  assertClose(prefilled, expected, 1e-5, "prefill");
  assertClose(await download(gpu, out, 256), expected, 1e-5, "decode");
  print(
    `attn_prefill, 4 heads of 64, ${keys} tokens: ${prefillMs.toFixed(1)} ms, ${gflops(2 * keys * (keys + 1) * 256, prefillMs)} GFLOP/s`,
  );
  print(`attn_decode over ${keys} keys: ${decodeMs.toFixed(2)} ms`);
});

it("a model of the bundled one's shape", async () => {
  const { spec, weights } = randomModel(shape);
  const ids = Array.from({ length: 1024 }, (_, index) => (index * 7919) % spec.vocabSize);
  const opened = performance.now();
  const runner = await openWgslRunner({ ...test, spec, weights, weightFormat: "f32" });
  print(`open, with compiling: ${(performance.now() - opened).toFixed(0)} ms`);
  const began = performance.now();
  const first = await runner.append(ids.slice(0, 32), { logits: "last" });
  await runner.append(ids.slice(32));
  const prefillMs = performance.now() - began;
  const decoded = performance.now();
  for (let i = 0; i < 16; i++) await runner.append([await runner.sample({ temperature: 0, topP: 1, seed: 0 })]);
  const decodeMs = (performance.now() - decoded) / 16;
  const edges = Uint32Array.from({ length: 257 }, (_, index) => index * 4);
  const pooled = performance.now();
  await runner.pool({ layer: "mean", head: "mean", queryEdges: edges, keyEdges: edges });
  const poolMs = performance.now() - pooled;
  const reference = await openReferenceRunner({ spec, weights, weightFormat: "f32", capacityTokens: 64 });
  const expected = await reference.append(ids.slice(0, 32), { logits: "last" });
  assert(first !== undefined && expected !== undefined);
  // 2e-4 of the largest logit, as for the bundled model.
  assertClose(first, expected, 2e-4 * expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0), "logits");
  print(`prefill of 1024 tokens: ${prefillMs.toFixed(0)} ms, ${(1024e3 / prefillMs).toFixed(0)} tokens/s`);
  print(`decode: ${decodeMs.toFixed(1)} ms/token; pool 256 x 256, all layers and heads: ${poolMs.toFixed(0)} ms`);
  runner.dispose();
});

async function medianMs(record: () => void): Promise<number> {
  const runs: number[] = [];
  for (let i = 0; i < 8; i++) {
    const began = performance.now();
    record();
    await recorder.finish();
    runs.push(performance.now() - began);
  }
  // The first run may compile.
  return runs.slice(1).sort((a, b) => a - b)[3] ?? NaN;
}

function gflops(operations: number, elapsedMs: number): string {
  return (operations / elapsedMs / 1e6).toFixed(2);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
