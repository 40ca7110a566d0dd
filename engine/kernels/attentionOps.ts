/** Attention over paged keys and what prepares it, as operations on buffers. All shapes are of one model. */
import { PAGE_TOKENS, type DecoderSpec } from "../api.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { attnDecode } from "./attn_decode.ts";
import { attnMerge, MERGE_ACROSS } from "./attn_merge.ts";
import { attnPool } from "./attn_pool.ts";
import { attnPrefill } from "./attn_prefill.ts";
import { keyReposition } from "./key_reposition.ts";
import { keyShift } from "./key_shift.ts";
import { kvWrite } from "./kv_write.ts";
import { all, groups, present } from "./programs.ts";
import { qkNorm } from "./qk_norm.ts";
import { ropeApply } from "./rope_apply.ts";

/** Channels of a head that one workgroup of attn_prefill adds up. */
const PREFILL_CHANNELS = 128;
/** Most key ranges of one decoded token. */
export const MAX_SPLITS = 64;

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

/** Queries and keys as one band sees them: rotated [tokens, H + G, D], or the projection itself [tokens, H + 2G, D]. */
export interface BandRows {
  rows: GPUBuffer;
  isProjection: boolean;
}

/** Results of attention over parts of the keys: [parts, rows, D] and [parts, rows]. */
export interface AttentionParts {
  out: GPUBuffer;
  lse: GPUBuffer;
}

/** Keys [from, to) of one decoded token, and which parts their ranges become. */
export interface SplitRange {
  position: number;
  from: number;
  to: number;
  splits: number;
  keysPerSplit: number;
  firstSplit: number;
}

export interface PoolGrid {
  rowStart: number;
  rowEnd: number;
  rows: number;
  columns: number;
  head: number;
  slope: number;
}

export interface PoolBuffers {
  edges: GPUBuffer;
  weights: GPUBuffer;
  cells: GPUBuffer;
}

export type AttentionOperations = Awaited<ReturnType<typeof openAttention>>;

/** Compiles the attention kernels the model needs. `slopes` [H] are ALiBi's, zeros where the model has none. */
export async function openAttention(
  spec: DecoderSpec,
  shaders: ShaderCache,
  recorder: Recorder,
  { placeholder, slopes }: { placeholder: GPUBuffer; slopes: GPUBuffer },
) {
  const { headCount, kvHeadCount, headDim, normEps: eps, attentionScale: scale } = spec;
  const HEAD_DIM4 = headDim / 4;
  const GROUP = headCount / kvHeadCount;
  const projectionRow4 = (headCount + 2 * kvHeadCount) * HEAD_DIM4;
  const rotatedRow4 = (headCount + kvHeadCount) * HEAD_DIM4;
  const softcap = spec.attentionSoftcap ?? 0;
  const absent = Promise.resolve(undefined);
  const rotates = spec.layers.some(({ rotation }) => rotation !== "none");
  const programs = await all({
    qkNorm: spec.qkNorm ? shaders.program(qkNorm, { HEAD_DIM4 }) : absent,
    keyShift: spec.keyShift ? shaders.program(keyShift, { PAGE_TOKENS }) : absent,
    rope: rotates ? shaders.program(ropeApply, { HEAD_DIM: headDim }) : absent,
    reposition: rotates ? shaders.program(keyReposition, { HEAD_DIM: headDim, PAGE_TOKENS }) : absent,
    kvWrite: shaders.program(kvWrite, { HEAD_DIM4, PAGE_TOKENS }),
    prefill: shaders.program(attnPrefill, { HEAD_DIM4, GROUP, PAGE_TOKENS }),
    decode: shaders.program(attnDecode, { HEAD_DIM4, GROUP, ITEMS: Math.ceil((GROUP * HEAD_DIM4) / 64), PAGE_TOKENS }),
    merge: shaders.program(attnMerge, { HEAD_DIM4, ACROSS: MERGE_ACROSS }),
    pool: shaders.program(attnPool, { HEAD_DIM4, PAGE_TOKENS }),
  });
  const row4Of = ({ isProjection }: BandRows): number => (isProjection ? projectionRow4 : rotatedRow4);

  return {
    /** Mixes each raw key of qkv [tokens, H + 2G, D] with the one before; tails [pages, G, D] carry over. */
    keyShift(qkv: GPUBuffer, gate: GPUBuffer, tails: GPUBuffer, { start, tokens }: Span): void {
      const kvWidth4 = kvHeadCount * HEAD_DIM4;
      const params = { tokens, start, row4: projectionRow4, keyOffset4: headCount * HEAD_DIM4, kvWidth4 };
      recorder.run(present(programs.keyShift), params, { qkv, gate, tails }, [groups(kvWidth4, 16)]);
    },

    /** Norms every query and key head of qkv in place. */
    qkNorm(qkv: GPUBuffer, qWeight: GPUBuffer, kWeight: GPUBuffer, tokens: number): void {
      const params = { tokens, qHeads: headCount, kvHeads: kvHeadCount, eps };
      recorder.run(present(programs.qkNorm), params, { qkv, qWeight, kWeight }, [groups(tokens * (headCount + kvHeadCount), 64)]);
    },

    /** Queries and keys of qkv rotated by angles [tokens, 2, pairs + 1] into rotated [tokens, H + G, D]; see rope_apply.wgsl. */
    rope(qkv: GPUBuffer, angles: GPUBuffer, rotated: GPUBuffer, pairs: number, tokens: number): void {
      const heads = headCount + kvHeadCount;
      const params = { row: projectionRow4 * 4, qHeads: headCount, heads, pairs };
      recorder.run(present(programs.rope), params, { qkv, angles, rotated }, [groups((heads * headDim) / 2, 64), tokens]);
    },

    /** Rotates the cached keys of positions start .. start + tokens - 1 by angles [tokens, pairs]. */
    repositionKeys(layer: PagedLayer, angles: GPUBuffer, pairs: number, { start, tokens }: Span): void {
      const params = { start, kvHeads: kvHeadCount, pairs };
      const { keys, pages } = layer;
      recorder.run(present(programs.reposition), params, { keys, pages, angles }, [groups(kvHeadCount * pairs, 64), tokens]);
    },

    /** Puts a band's keys and the chunk's values into their pages, and its queries into [positions, H, D], each where it is asked for. */
    kvWrite(
      qkv: GPUBuffer,
      band: BandRows,
      layer: PagedLayer,
      what: { queries: GPUBuffer | undefined; keys: boolean; values: boolean },
      { start, tokens }: Span,
    ): void {
      const params = {
        start,
        qHeads: headCount,
        kvHeads: kvHeadCount,
        rotatedRow4: row4Of(band),
        saveQueries: what.queries === undefined ? 0 : 1,
        writeKeys: what.keys ? 1 : 0,
        writeValues: what.values ? 1 : 0,
      };
      const buffers = { qkv, rotated: band.rows, ...layer, queries: what.queries ?? placeholder };
      recorder.run(programs.kvWrite, params, buffers, [groups(projectionRow4, 64), tokens]);
    },

    /** Attention of a chunk over one band: out [tokens, H, D] from row `outStart` (of H heads) on, lse [tokens, H] from row `lseStart` on. */
    attendPrefill(
      band: BandRows,
      layer: PagedLayer,
      ranges: GPUBuffer,
      into: { out: GPUBuffer; outStart: number; lse: GPUBuffer; lseStart: number },
      { start, tokens }: Span,
    ): void {
      const { out, lse } = into;
      const params = {
        tokens,
        start,
        kvHeads: kvHeadCount,
        row4: row4Of(band),
        outStart4: into.outStart * headCount * HEAD_DIM4,
        lseStart: into.lseStart * headCount,
        scale,
        softcap,
      };
      const buffers = { rotated: band.rows, ...layer, ranges, slopes, out, lse };
      const grid = [groups(tokens * GROUP, 32), kvHeadCount, groups(headDim, PREFILL_CHANNELS)] as const;
      recorder.run(programs.prefill, params, buffers, grid);
    },

    /** Attention of one token over ranges of one band's keys, each range a part. */
    attendDecode(band: BandRows, layer: PagedLayer, parts: AttentionParts, range: SplitRange): void {
      const { position, from, to, splits, keysPerSplit, firstSplit } = range;
      const params = { position, firstKey: from, keyEnd: to, keysPerSplit, firstSplit, kvHeads: kvHeadCount, scale, softcap };
      const buffers = { rotated: band.rows, ...layer, slopes, partOut: parts.out, partLse: parts.lse };
      recorder.run(programs.decode, params, buffers, [splits, kvHeadCount]);
    },

    /** Parts [splits, tokens, H, D] joined into out [tokens, H, D] and lse [tokens, H] from row `lseStart` on. */
    mergeParts(
      parts: AttentionParts,
      out: GPUBuffer,
      lse: GPUBuffer,
      merge: { splits: number; tokens: number; lseStart: number },
    ): void {
      const rows = merge.tokens * headCount;
      const params = { splits: merge.splits, rows, lseStart: merge.lseStart * headCount };
      const needed = groups(rows * HEAD_DIM4, 64);
      const grid = [Math.min(needed, MERGE_ACROSS), groups(needed, MERGE_ACROSS)] as const;
      recorder.run(programs.merge, params, { partOut: parts.out, partLse: parts.lse, out, lse }, grid);
    },

    /** Adds one head's attention through one band to cells [rows, columns] for rows [rowStart, rowEnd). */
    pool(
      from: { queries: GPUBuffer; lse: GPUBuffer; ranges: GPUBuffer },
      layer: PagedLayer,
      into: PoolBuffers,
      grid: PoolGrid,
    ): void {
      const kvHead = Math.floor(grid.head / GROUP);
      const params = { ...grid, heads: headCount, kvHeads: kvHeadCount, kvHead, scale, softcap };
      const buffers = { ...from, keys: layer.keys, pages: layer.pages, ...into };
      recorder.run(programs.pool, params, buffers, [groups(grid.columns, 8), groups(grid.rowEnd - grid.rowStart, 8)]);
    },
  };
}

/** Ranges of whole 64-key blocks for `keys` keys, at most `most` of them. */
export function splitKeys(keys: number, most = MAX_SPLITS): { splits: number; keysPerSplit: number } {
  const blocks = Math.ceil(keys / 64);
  const keysPerSplit = Math.ceil(blocks / most) * 64;
  return { splits: Math.ceil(keys / keysPerSplit), keysPerSplit };
}
