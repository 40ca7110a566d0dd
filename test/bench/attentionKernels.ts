/**
 * Attention alone: one layer, the last queries of a sequence over all its keys, by the kernels of flash and of flash3 with any of its
 * ingredients. A time counts only if the numbers are right: each case says how far its output is from float64 loops.
 */
import type { Band, DecoderSpec, PositionPlan } from "../../engine/api.ts";
import type { KvFormats } from "../../engine/attention/api.ts";
import { attend, cacheChunk, type ChunkRows } from "../../engine/attention/attend.ts";
import { openChunkPositions, type LayerPositions } from "../../engine/attention/chunkPositions.ts";
import { cacheTiles } from "../../engine/attention/flash3.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { F32_CACHE, WHOLE } from "../../engine/attention/wholeOnly.ts";
import { storageBuffer } from "../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../engine/gpu/dispatch.ts";
import type { ShaderCache } from "../../engine/gpu/shader.ts";
import type { Span } from "../../engine/kernels/attentionOps.ts";
import { openFlash3, type Flash3Ingredients } from "../../engine/kernels/flash3Ops.ts";
import { openLinear } from "../../engine/kernels/linear.ts";
import { openOperations } from "../../engine/kernels/ops.ts";
import { plainVariants } from "../../engine/kernels/variants.ts";
import { openOpenTiles } from "../../engine/kv-cache/openTiles.ts";
import { openPagedCache, type CacheLayer } from "../../engine/kv-cache/pages.ts";
import { openAttentionActivations } from "../../engine/models/decoder.ts";
import { attention } from "../../engine/reference/attend.ts";
import { alloc64 } from "../../engine/reference/ops.ts";
import { download, upload } from "../support/gpuArrays.ts";
import { randomModel } from "../support/goldenModels.ts";
import { median } from "./results.ts";

/** Longest chunk of the engine. */
export const CHUNK = 512;
/** Rows that are compared with float64 loops: the last ones. */
const CHECKED = 4;

export interface KernelShape {
  headCount: number;
  kvHeadCount: number;
  headDim: number;
}

/** Kernels of flash with a cache of some formats, or of flash3 with some ingredients. */
export type KernelWay = { flash: KvFormats } | { flash3: Flash3Ingredients };

export interface MeasuredKernel {
  /** Putting the last chunk's keys and values into the cache, and attending to all, for its queries and for the last one alone; NaN of no rounds. */
  cacheMs: number;
  attendMs: number;
  decodeMs: number;
  /** Keys and values of the whole sequence. */
  cacheBytes: number;
  /** Relative RMS error of the last rows of the chunk, and of the decoded one. */
  error: number;
  decodeError: number;
}

/** A device, and what was compiled on it. */
export interface KernelDevice {
  gpu: EngineDevice;
  shaders: ShaderCache;
}

/** A projection [tokens, H + 2G, D] for a sequence. */
export interface Sequence {
  qkv: Float32Array<ArrayBuffer>;
  tokens: number;
}

/**
 * What the last `queries` tokens of a sequence attend to, by each way. All are measured in turn, round by round, and the medians count, because
 * a machine that is shared is not as fast all the time.
 */
export async function measureKernels(
  device: KernelDevice,
  shape: KernelShape,
  ways: readonly KernelWay[],
  sequence: Sequence,
  { queries, rounds }: { queries: number; rounds: number },
): Promise<MeasuredKernel[]> {
  const { gpu } = device;
  const { tokens } = sequence;
  const width = shape.headCount * shape.headDim;
  const exact = exactRows(shape, sequence, CHECKED);
  const last = { start: tokens - queries, tokens: queries };
  const cases: KernelCase[] = [];
  for (const way of ways) {
    const opened = await openCase(device, shape, way, tokens);
    await opened.fill(sequence, last.start);
    cases.push(opened);
  }
  const found = ways.map(() => ({ cache: [] as number[], attend: [] as number[], decode: [] as number[] }));
  const errors = ways.map(() => ({ error: NaN, decodeError: NaN }));
  // The first round compiles.
  for (let round = 0; round <= rounds; round++) {
    for (const [index, opened] of cases.entries()) {
      const { cache, attend: attended, decode } = found[index];
      opened.begin(last, sequence);
      cache.push(await opened.timed(opened.cacheKeys));
      attended.push(await opened.timed(opened.attend));
      const prefilled = await download(gpu, opened.out, queries * width);
      opened.begin({ start: tokens - 1, tokens: 1 }, sequence);
      await opened.timed(opened.cacheKeys);
      decode.push(await opened.timed(opened.attend));
      const decoded = await download(gpu, opened.out, width);
      errors[index] = {
        error: relativeRms(prefilled.subarray(-CHECKED * width), exact),
        decodeError: relativeRms(decoded, exact.subarray(-width)),
      };
    }
  }
  for (const opened of cases) opened.release();
  return cases.map(({ cacheBytes }, index) => {
    const { cache, attend: attended, decode } = found[index];
    const times = { cacheMs: median(cache.slice(1)), attendMs: median(attended.slice(1)), decodeMs: median(decode.slice(1)) };
    return { ...times, cacheBytes, ...errors[index] };
  });
}

/** A whole prompt, chunk by chunk with what it caches, by flash: `run` gives the milliseconds, `output` is [tokens, H, D] afterwards. */
export async function openPrompt(device: KernelDevice, shape: KernelShape, way: KernelWay, sequence: Sequence) {
  const opened = await openCase(device, shape, way, sequence.tokens);
  const width = shape.headCount * shape.headDim;
  const output = new Float32Array(sequence.tokens * width);
  return {
    output,
    async run(): Promise<number> {
      let ms = 0;
      for (let start = 0; start < sequence.tokens; start += CHUNK) {
        const tokens = Math.min(CHUNK, sequence.tokens - start);
        opened.begin({ start, tokens }, sequence);
        ms += await opened.timed(() => {
          opened.cacheKeys();
          opened.attend();
        });
        output.set(await download(device.gpu, opened.out, tokens * width), start * width);
      }
      return ms;
    },
    release: () => opened.release(),
  };
}

/** The last token of a sequence whose keys are cached: `run` gives the milliseconds of its attention, `output` [H, D] is read by `read`. */
export async function openDecode(device: KernelDevice, shape: KernelShape, way: KernelWay, sequence: Sequence) {
  const opened = await openCase(device, shape, way, sequence.tokens);
  await opened.fill(sequence, sequence.tokens - 1);
  opened.begin({ start: sequence.tokens - 1, tokens: 1 }, sequence);
  await opened.timed(opened.cacheKeys);
  return {
    run: () => opened.timed(opened.attend),
    read: () => download(device.gpu, opened.out, shape.headCount * shape.headDim),
    release: () => opened.release(),
  };
}

/** Medians of several things that say how long they took, done in turn; the first round compiles and does not count. */
export async function medians(runs: readonly (() => Promise<number>)[], rounds: number): Promise<number[]> {
  const times = runs.map(() => [] as number[]);
  for (let round = 0; round <= rounds; round++) {
    for (const [index, run] of runs.entries()) {
      const ms = await run();
      if (round > 0) times[index].push(ms);
    }
  }
  return times.map(median);
}

/** Outputs [count, H, D] of the last rows, by float64 loops. */
export function exactRows(shape: KernelShape, { qkv, tokens }: Sequence, count: number): Float64Array {
  const { headCount, kvHeadCount, headDim } = shape;
  const layer = {
    queries: [heads(shape, qkv, headCount, 0, tokens - count)],
    keys: [heads(shape, qkv, kvHeadCount, headCount, 0)],
    bands: [causal],
  };
  const values = heads(shape, qkv, kvHeadCount, headCount + kvHeadCount, 0);
  const spec = { ...shape, attentionScale: 1 / Math.sqrt(headDim), attentionSoftcap: undefined, alibi: undefined };
  return Float64Array.from(attention(alloc64, layer, values, spec, tokens - count));
}

/** Some heads of a projection from a token on: [tokens, heads, D]. */
export function heads(
  shape: KernelShape,
  qkv: Float32Array,
  count: number,
  offset: number,
  from: number,
): Float32Array<ArrayBuffer> {
  const row = rowOf(shape);
  const width = count * shape.headDim;
  const tokens = qkv.length / row - from;
  const part = new Float32Array(tokens * width);
  for (let token = 0; token < tokens; token++) {
    const at = (from + token) * row + offset * shape.headDim;
    part.set(qkv.subarray(at, at + width), token * width);
  }
  return part;
}

export function relativeRms(found: ArrayLike<number>, exact: ArrayLike<number>): number {
  let [errors, squares] = [0, 0];
  for (let i = 0; i < exact.length; i++) {
    errors += (found[i] - exact[i]) ** 2;
    squares += exact[i] ** 2;
  }
  return Math.sqrt(errors / squares);
}

const same = (position: number): number => position;
const causal: Band = { keys: (position) => [0, position + 1], queryPosition: same, copy: 0 };
const rowOf = ({ headCount, kvHeadCount, headDim }: KernelShape): number => (headCount + 2 * kvHeadCount) * headDim;

type KernelCase = Awaited<ReturnType<typeof openCase>>;

async function openCase({ gpu, shaders }: KernelDevice, shape: KernelShape, way: KernelWay, tokens: number) {
  const { spec } = randomModel({ ...shape, layerCount: 1, layers: [{ window: undefined, rotation: "none" }], rotaryDim: 0 });
  const recorder = openRecorder(gpu);
  const slopes = storageBuffer(gpu, "slopes", shape.headCount * 4);
  const ways = await openWay(gpu, spec, way, { shaders, recorder, slopes });
  const sizes = { capacityTokens: tokens, chunkTokens: CHUNK, maxBindingBytes: gpu.maxBufferBytes };
  const cache = openPagedCache({ spec, gpu, formats: ways.formats, choice: ways.choice, ...sizes });
  await cache.reserve(tokens);
  const table = { invFreq: new Float64Array(0), attentionFactor: 1, key: "bench" };
  const plan: PositionPlan = { key: "bench", table, bands: [causal], copies: [same], queryScale: () => 1 };
  const positions = openChunkPositions(spec, gpu, cache, CHUNK);
  positions.setPlan(plan);
  const activations = openAttentionActivations(spec, gpu, 1, CHUNK);
  const out = storageBuffer(gpu, "out", CHUNK * shape.headCount * shape.headDim * 4);
  const into = { out, lse: activations.lse, parts: activations.parts };
  let span: Span = { start: 0, tokens: 0 };
  let chunk: GPUBuffer | undefined;
  const rows = () => {
    if (chunk === undefined) throw new RangeError("no chunk has begun");
    return { qkv: chunk, rotated: [] };
  };
  /** A chunk as it comes from the projection: flash3 turns rows where they lie. */
  function begin(next: Span, { qkv }: Sequence): void {
    const row = rowOf(shape);
    span = next;
    chunk?.destroy();
    chunk = upload(gpu, qkv.slice(span.start * row, (span.start + span.tokens) * row));
    positions.write(span.start, span.tokens, undefined);
    recorder.forget();
  }
  const cacheKeys = (): void => ways.cacheKeys(rows(), cache.layer(0), positions.layer(0), span);
  return {
    out,
    cacheBytes: cache.bytes,
    begin,
    cacheKeys,
    attend: (): void => void attend(ways.op, rows(), cache.layer(0), positions.layer(0), into, span),
    /** Caches the first tokens of the sequence. */
    async fill(sequence: Sequence, count: number): Promise<void> {
      for (let start = 0; start < count; start += CHUNK) {
        begin({ start, tokens: Math.min(CHUNK, count - start) }, sequence);
        cacheKeys();
        await recorder.finish();
      }
    },
    /** Milliseconds until the device has done what was recorded. */
    async timed(record: () => void): Promise<number> {
      await recorder.finish();
      const began = performance.now();
      record();
      await recorder.finish();
      return performance.now() - began;
    },
    release(): void {
      chunk?.destroy();
      ways.release();
      cache.setChoice(WHOLE, tokens);
      for (const buffer of [out, slopes, ...activations.lse, activations.parts.out, activations.parts.lse]) buffer.destroy();
      recorder.destroy();
    },
  };
}

type CacheKeys = (rows: ChunkRows, layer: CacheLayer, positions: LayerPositions, span: Span) => void;

async function openWay(
  gpu: EngineDevice,
  spec: DecoderSpec,
  way: KernelWay,
  parts: { shaders: ShaderCache; recorder: Recorder; slopes: GPUBuffer },
) {
  const { shaders, recorder, slopes } = parts;
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const linear = await openLinear([], { gpu, shaders, recorder, placeholder, variants: plainVariants, maxTokens: 1 });
  const formats = "flash" in way ? way.flash : F32_CACHE;
  const op = await openOperations(spec, linear, shaders, recorder, { placeholder, slopes, formats });
  if ("flash" in way) {
    const cacheKeys: CacheKeys = (...args) => cacheChunk(op, ...args);
    return { op, formats, choice: WHOLE, cacheKeys, release: (): void => placeholder.destroy() };
  }
  const ingredients = way.flash3;
  const own = await openFlash3(op, spec, { gpu, shaders, recorder, slopes, maxTokens: CHUNK, ingredients });
  const tiles = await openOpenTiles(spec, gpu, 1);
  const cacheKeys: CacheKeys = (rows, layer, positions, span) => cacheTiles(own, rows, layer, tiles.layer(0), positions, span);
  const release = (): void => {
    own.release();
    tiles.destroy();
    placeholder.destroy();
  };
  return { op: own, formats, choice: ingredients.eightBits ? parseAttention("flash3") : WHOLE, cacheKeys, release };
}
