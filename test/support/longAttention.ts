/** The last queries of a long sequence over all its keys: one layer and one head of the kernels, and float64 loops. */
import type { Band, PositionPlan } from "../../engine/api.ts";
import { attend } from "../../engine/attention/attend.ts";
import { PAGE_TOKENS } from "../../engine/attention/api.ts";
import { openChunkPositions } from "../../engine/attention/chunkPositions.ts";
import { F32_CACHE, WHOLE } from "../../engine/attention/wholeOnly.ts";
import { storageBuffer } from "../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openRecorder } from "../../engine/gpu/dispatch.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { openLinear } from "../../engine/kernels/linear.ts";
import { openOperations } from "../../engine/kernels/ops.ts";
import { plainVariants } from "../../engine/kernels/variants.ts";
import { openPagedCache } from "../../engine/kv-cache/pages.ts";
import { openAttentionActivations } from "../../engine/models/decoder.ts";
import { download, numbers, upload } from "./gpuArrays.ts";
import { randomModel } from "./goldenModels.ts";

/** Channels of the head: few, so that float64 loops stay short. */
export const LONG_HEAD_DIM = 16;
const D = LONG_HEAD_DIM;

export interface LongRows {
  /** Every score zero, or normally distributed with a deviation of about one. */
  scores: "flat" | "gaussian";
  /** The last so many tokens ask. */
  queries: number;
}

export interface LongAttention {
  /** Outputs [queries, D] of the kernels and of float64 loops, and the values [keys, D]. */
  run(rows: LongRows): Promise<{ found: Float32Array; expected: Float64Array; values: Float32Array }>;
  /** Queries [count, D] of the last tokens, on the device: `run` attends and gives the milliseconds, `read` their outputs. */
  open(queries: Float32Array): { run(): Promise<number>; read(): Promise<Float32Array> };
}

export interface LongKeys {
  keys: Float32Array<ArrayBuffer>;
  values: Float32Array<ArrayBuffer>;
}

/** Keys and values [count, D]; values have a mean of one, so that an error relative to the output says something. */
export function longKeys(count: number): LongKeys {
  return { keys: gaussian("keys", count * D), values: numbers("values", count * D).map((value) => 1 + value) };
}

/** Queries [count, D]. */
export function longQueries({ scores, queries }: LongRows): Float32Array<ArrayBuffer> {
  return scores === "flat" ? new Float32Array(queries * D) : gaussian("queries", queries * D);
}

/** Each query sees all keys up to its own: float64 from the scores on. */
export function longExpected(queries: Float32Array, { keys, values }: LongKeys): Float64Array {
  const count = queries.length / D;
  const total = keys.length / D;
  const out = new Float64Array(count * D);
  for (let query = 0; query < count; query++) {
    const visible = total - count + query + 1;
    const row = new Float64Array(visible);
    let largest = -Infinity;
    for (let key = 0; key < visible; key++) {
      let score = 0;
      for (let i = 0; i < D; i++) score += queries[query * D + i] * keys[key * D + i];
      row[key] = score / Math.sqrt(D);
      largest = Math.max(largest, row[key]);
    }
    let sum = 0;
    for (let key = 0; key < visible; key++) {
      const weight = Math.exp(row[key] - largest);
      sum += weight;
      for (let i = 0; i < D; i++) out[query * D + i] += weight * values[key * D + i];
    }
    for (let i = 0; i < D; i++) out[query * D + i] /= sum;
  }
  return out;
}

/** Relative error of each row [D]: its distance over its length. */
export function relativeErrors(found: ArrayLike<number>, expected: ArrayLike<number>): number[] {
  return Array.from({ length: expected.length / D }, (_, row) => {
    let [errors, squares] = [0, 0];
    for (let i = row * D; i < (row + 1) * D; i++) {
      errors += (found[i] - expected[i]) ** 2;
      squares += expected[i] ** 2;
    }
    return Math.sqrt(errors / squares);
  });
}

export async function openLongAttention(gpu: EngineDevice, keys: number): Promise<LongAttention> {
  const shape = { headCount: 1, kvHeadCount: 1, headDim: D, layerCount: 1, rotaryDim: 0 };
  const { spec } = randomModel({ ...shape, layers: [{ window: undefined, rotation: "none" }] });
  const shaders = openShaderCache(gpu);
  const recorder = openRecorder(gpu);
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const linear = await openLinear([], { gpu, shaders, recorder, placeholder, variants: plainVariants, maxTokens: 1 });
  const op = await openOperations(spec, linear, shaders, recorder, { placeholder, slopes: placeholder, formats: F32_CACHE });
  const sizes = { capacityTokens: keys, chunkTokens: 512, maxBindingBytes: gpu.maxBufferBytes };
  const cache = openPagedCache({ spec, gpu, formats: F32_CACHE, choice: WHOLE, ...sizes });
  await cache.reserve(keys);
  const same = (position: number): number => position;
  const band: Band = { keys: (position) => [0, position + 1], queryPosition: same, copy: 0 };
  const table = { invFreq: new Float64Array(0), attentionFactor: 1, key: "long" };
  const plan: PositionPlan = { key: "long", table, bands: [band], copies: [same], queryScale: () => 1 };
  const positions = openChunkPositions(spec, gpu, cache, 512);
  positions.setPlan(plan);
  const { lse, parts } = openAttentionActivations(spec, gpu, 1, 512);
  const out = storageBuffer(gpu, "out", 512 * D * 4);

  const inputs = longKeys(keys);
  for (const slab of cache.layer(0).slabs) {
    // With one head, rows lie behind each other in a slab.
    const [from, to] = [slab.first, slab.first + slab.pages].map((page) => page * PAGE_TOKENS * D);
    gpu.device.queue.writeBuffer(slab.keys[0], 0, inputs.keys.slice(from, to));
    gpu.device.queue.writeBuffer(slab.values, 0, inputs.values.slice(from, to));
  }

  function openQueries(queries: Float32Array) {
    const count = queries.length / D;
    const span = { start: keys - count, tokens: count };
    positions.write(span.start, count, undefined);
    recorder.forget();
    const qkv = new Float32Array(count * 3 * D);
    for (let query = 0; query < count; query++) qkv.set(queries.subarray(query * D, (query + 1) * D), query * 3 * D);
    const rows = { qkv: upload(gpu, qkv), rotated: [] };
    return {
      async run(): Promise<number> {
        const began = performance.now();
        attend(op, rows, cache.layer(0), positions.layer(0), { out, lse, parts }, span);
        await recorder.finish();
        return performance.now() - began;
      },
      read: () => download(gpu, out, count * D),
    };
  }

  return {
    open: openQueries,
    async run(rows) {
      const queries = longQueries(rows);
      const opened = openQueries(queries);
      await opened.run();
      return { found: await opened.read(), expected: longExpected(queries, inputs), values: inputs.values };
    },
  };
}

/** Normally distributed numbers that follow from the name (Box and Muller). */
function gaussian(name: string, count: number): Float32Array<ArrayBuffer> {
  const [radii, angles] = [numbers(`${name} radii`, count), numbers(`${name} angles`, count)];
  return radii.map((u, i) => Math.sqrt(-2 * Math.log(Math.max(1e-12, (u + 1) / 2))) * Math.cos(Math.PI * angles[i]));
}
