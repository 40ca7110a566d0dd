/** The kernels as operations on buffers: each picks its kernel, its parameters and its grid. All shapes are of one model. */
import { PAGE_TOKENS, type ModelSpec, type WeightFormat } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { attnDecode } from "./attn_decode.ts";
import { attnMerge } from "./attn_merge.ts";
import { attnPool } from "./attn_pool.ts";
import { attnPrefill } from "./attn_prefill.ts";
import { keyShift } from "./key_shift.ts";
import { kvWrite } from "./kv_write.ts";
import { openLinear, type Matrix, type Scratch } from "./linear.ts";
import { qkNorm } from "./qk_norm.ts";
import { rmsNorm } from "./rms_norm.ts";
import { ropeApply } from "./rope_apply.ts";
import { sample } from "./sample.ts";
import { siluMul } from "./silu_mul.ts";

/** Most query heads that may share one key head: their scores of 64 keys lie in 16 KiB of workgroup memory. */
const MAX_GROUP = 32;
const MAX_HEAD_DIM = 128;
const ALL_MASKED = 0xffffffff;

/** Keys and values of one layer in pages, and the table that finds them. */
export interface PagedLayer {
  pages: GPUBuffer;
  keys: GPUBuffer;
  values: GPUBuffer;
}

/** Where a chunk lies: `tokens` tokens from position `start` on. */
export interface Span {
  start: number;
  tokens: number;
}

/** Scratch of split-K decoding: [splits, H, D] and [splits, H]. */
export interface DecodeParts {
  out: GPUBuffer;
  lse: GPUBuffer;
}

export interface PoolGrid {
  rowStart: number;
  rowEnd: number;
  rows: number;
  columns: number;
  head: number;
}

export type Operations = Awaited<ReturnType<typeof openOperations>>;

/** Most key ranges of one decoded token. */
export const MAX_SPLITS = 64;

/** Compiles the kernels the model needs, for its shapes. Throws `unsupported-model` for shapes that the kernels cannot do. */
export async function openOperations(
  spec: ModelSpec,
  weightFormat: WeightFormat,
  shaders: ShaderCache,
  recorder: Recorder,
  scratch: Scratch,
) {
  checkShapes(spec);
  const { placeholder } = scratch;
  const { headCount, kvHeadCount, headDim, rmsNormEps: eps, hiddenSize } = spec;
  const HEAD_DIM4 = headDim / 4;
  const GROUP = headCount / kvHeadCount;
  const row4 = (headCount + 2 * kvHeadCount) * HEAD_DIM4;
  const scale = 1 / Math.sqrt(headDim);
  const ITEMS = Math.ceil((GROUP * HEAD_DIM4) / 64);
  const absent = Promise.resolve(undefined);
  const [matrices, programs, attention] = await Promise.all([
    openLinear(weightFormat, shaders, recorder, scratch),
    all({
      rmsNorm: shaders.program(rmsNorm, {}),
      siluMul: shaders.program(siluMul, {}),
      sample: shaders.program(sample, {}),
    }),
    all({
      qkNorm: spec.qkNorm ? shaders.program(qkNorm, { HEAD_DIM4 }) : absent,
      keyShift: spec.keyShift ? shaders.program(keyShift, { PAGE_TOKENS }) : absent,
      rope: shaders.program(ropeApply, { HEAD_DIM: headDim }),
      kvWrite: shaders.program(kvWrite, { HEAD_DIM4, PAGE_TOKENS }),
      prefill: shaders.program(attnPrefill, { HEAD_DIM4, GROUP, PAGE_TOKENS }),
      decode: shaders.program(attnDecode, { HEAD_DIM4, GROUP, ITEMS, PAGE_TOKENS }),
      merge: shaders.program(attnMerge, { HEAD_DIM4 }),
      pool: shaders.program(attnPool, { HEAD_DIM4, PAGE_TOKENS }),
    }),
  ]);

  return {
    ...matrices,

    /** ids [tokens] -> x [tokens, E], times the model's embedding multiplier. */
    embed(ids: GPUBuffer, table: Matrix, x: GPUBuffer, tokens: number): void {
      matrices.embed(ids, table, x, tokens, spec.embeddingMultiplier);
    },

    /** y[t] = norm(x[first + t]) for [tokens, E]. */
    rmsNorm(x: GPUBuffer, weight: GPUBuffer, y: GPUBuffer, tokens: number, first = 0): void {
      recorder.run(programs.rmsNorm, { first, columns4: hiddenSize / 4, eps }, { x, weight, y }, [tokens]);
    },

    /** Mixes each raw key of qkv [tokens, H + 2G, D] with the one before; tails [pages, G, D] carry over. */
    keyShift(qkv: GPUBuffer, gate: GPUBuffer, tails: GPUBuffer, { start, tokens }: Span): void {
      const kvWidth4 = kvHeadCount * HEAD_DIM4;
      const params = { tokens, start, row4, keyOffset4: headCount * HEAD_DIM4, kvWidth4 };
      recorder.run(present(attention.keyShift), params, { qkv, gate, tails }, [groups(kvWidth4, 16)]);
    },

    /** Norms every query and key head of qkv in place. */
    qkNorm(qkv: GPUBuffer, qWeight: GPUBuffer, kWeight: GPUBuffer, tokens: number): void {
      const params = { tokens, qHeads: headCount, kvHeads: kvHeadCount, eps };
      recorder.run(present(attention.qkNorm), params, { qkv, qWeight, kWeight }, [
        groups(tokens * (headCount + kvHeadCount), 64),
      ]);
    },

    /** Rotates every query and key head of qkv in place by angles [tokens, rotaryDim / 2] of (cos, sin). */
    rope(qkv: GPUBuffer, angles: GPUBuffer, tokens: number): void {
      const rotatedHeads = headCount + kvHeadCount;
      const pairs = spec.rotaryDim / 2;
      const params = { rotatedHeads, row: row4 * 4, pairs };
      recorder.run(attention.rope, params, { qkv, angles }, [groups(rotatedHeads * pairs, 64), tokens]);
    },

    /** Puts keys and values of qkv into their pages, and queries into [positions, H, D] where they are kept. */
    kvWrite(qkv: GPUBuffer, layer: PagedLayer, queries: GPUBuffer | undefined, { start, tokens }: Span): void {
      const params = { start, qHeads: headCount, kvHeads: kvHeadCount, saveQueries: queries === undefined ? 0 : 1 };
      const buffers = { qkv, ...layer, queries: queries ?? placeholder };
      recorder.run(attention.kvWrite, params, buffers, [groups(row4, 64), tokens]);
    },

    /** Causal attention of a chunk: qkv -> out [tokens, H, D] and lse [positions, H]. */
    attendPrefill(qkv: GPUBuffer, layer: PagedLayer, out: GPUBuffer, lse: GPUBuffer, { start, tokens }: Span): void {
      const params = { tokens, start, kvHeads: kvHeadCount, row4, scale };
      recorder.run(attention.prefill, params, { qkv, ...layer, out, lse }, [groups(tokens * GROUP, 32), kvHeadCount]);
    },

    /** Attention of one token at `position`, over ranges of keys that are then joined. */
    attendDecode(qkv: GPUBuffer, layer: PagedLayer, parts: DecodeParts, out: GPUBuffer, lse: GPUBuffer, position: number): void {
      const keys = position + 1;
      const { splits, keysPerSplit } = splitKeys(keys);
      const decode = { keys, keysPerSplit, kvHeads: kvHeadCount, scale };
      recorder.run(attention.decode, decode, { qkv, ...layer, partOut: parts.out, partLse: parts.lse }, [splits, kvHeadCount]);
      const merge = { splits, heads: headCount, position };
      recorder.run(attention.merge, merge, { partOut: parts.out, partLse: parts.lse, out, lse }, [
        groups(headCount * HEAD_DIM4, 64),
      ]);
    },

    /** y [tokens, F] = silu(gate) * up from gateUp [tokens, 2F]. */
    siluMul(gateUp: GPUBuffer, y: GPUBuffer, tokens: number): void {
      const columns4 = spec.intermediateSize / 4;
      recorder.run(programs.siluMul, { columns4 }, { gateUp, y }, [groups(columns4, 64), tokens]);
    },

    /** The next token from logits [V] into result [1]; 0xffffffff where no logit is a number. */
    sample(logits: GPUBuffer, allowed: GPUBuffer, result: GPUBuffer, choice: Choice): void {
      const { temperature, topP, uniform01, useMask } = choice;
      const params = { tokens: spec.vocabSize, useMask: useMask ? 1 : 0, temperature, topP, uniform01 };
      recorder.run(programs.sample, params, { logits, allowed, result }, [1]);
    },

    /** Adds one head's attention to cells [rows, columns] for rows [rowStart, rowEnd). */
    pool(from: { queries: GPUBuffer; lse: GPUBuffer }, layer: PagedLayer, into: PoolBuffers, grid: PoolGrid): void {
      const params = { ...grid, heads: headCount, kvHeads: kvHeadCount, kvHead: Math.floor(grid.head / GROUP), scale };
      const buffers = { queries: from.queries, lse: from.lse, keys: layer.keys, pages: layer.pages, ...into };
      recorder.run(attention.pool, params, buffers, [groups(grid.columns, 8), groups(grid.rowEnd - grid.rowStart, 8)]);
    },
  };
}

/** How a token is drawn; `uniform01` in [0, 1) is used above temperature 0. */
export interface Choice {
  temperature: number;
  topP: number;
  uniform01: number;
  useMask: boolean;
}

export interface PoolBuffers {
  edges: GPUBuffer;
  weights: GPUBuffer;
  cells: GPUBuffer;
}

/** True where the sampling kernel found no number among the logits. */
export function nothingSampled(token: number): boolean {
  return token === ALL_MASKED;
}

/** Ranges of whole 64-key blocks, at most MAX_SPLITS of them. */
export function splitKeys(keys: number): { splits: number; keysPerSplit: number } {
  const blocks = Math.ceil(keys / 64);
  const keysPerSplit = Math.ceil(blocks / MAX_SPLITS) * 64;
  return { splits: Math.ceil(keys / keysPerSplit), keysPerSplit };
}

/** A kernel that was left out is asked for only by a mistake of ours. */
function present<T>(compiled: T | undefined): T {
  if (compiled === undefined) throw new RangeError("a kernel was used that the model's spec and weight format did not ask for");
  return compiled;
}

function groups(items: number, size: number): number {
  return Math.ceil(items / size);
}

async function all<T extends Record<string, Promise<unknown>>>(work: T): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  const entries = await Promise.all(Object.entries(work).map(async ([name, value]) => [name, await value] as const));
  return Object.fromEntries(entries) as { [K in keyof T]: Awaited<T[K]> };
}

function checkShapes(spec: ModelSpec): void {
  const { headCount, kvHeadCount, headDim, hiddenSize, intermediateSize } = spec;
  const problem =
    headDim % 4 !== 0 || hiddenSize % 4 !== 0 || intermediateSize % 4 !== 0
      ? `head dimension ${headDim}, hidden size ${hiddenSize} or intermediate size ${intermediateSize} is no multiple of 4`
      : headDim > MAX_HEAD_DIM
        ? `head dimension ${headDim} is above ${MAX_HEAD_DIM}`
        : headCount % kvHeadCount !== 0 || headCount / kvHeadCount > MAX_GROUP
          ? `${headCount} query heads on ${kvHeadCount} key heads`
          : undefined;
  if (problem !== undefined) {
    throw new EngineError("unsupported-model", `the WebGPU kernels cannot run this model: ${problem}`, "choose the WASM backend");
  }
}
