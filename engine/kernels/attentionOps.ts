/** Attention over paged keys and what prepares it, as operations on buffers. All shapes are of one model. */
import { CUT_TOKENS, type DecoderSpec } from "../api.ts";
import { BLOCK_TOKENS, PAGE_TOKENS } from "../attention/api.ts";
import type { PageList } from "../attention/pageLists.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { rowWords, type RowFormat, type RowFormats } from "../kv-cache/format.ts";
import { attnDecode } from "./attn_decode.ts";
import { attnMerge } from "./attn_merge.ts";
import { attnPool } from "./attn_pool.ts";
import { attnPrefill } from "./attn_prefill.ts";
import { chosenPages, type ChosenPages } from "./chosenPages.ts";
import { keyMix } from "./key_mix.ts";
import { keyReposition } from "./key_reposition.ts";
import { keyShift } from "./key_shift.ts";
import { rowConstsOf } from "./cachedRows.ts";
import { kvError } from "./kv_error.ts";
import { kvPut } from "./kv_put.ts";
import { all, groups, present } from "./programs.ts";
import { qkNorm } from "./qk_norm.ts";
import { ropeApply } from "./rope_apply.ts";
import { tapSave } from "./tap_save.ts";

/** Channels of a head that one workgroup of attn_prefill adds up. */
const PREFILL_CHANNELS = 128;
/** One copy of the keys of a slab, and its values. */
export interface SlabBuffers {
  keys: GPUBuffer;
  values: GPUBuffer;
}

/** Words and the offsets in them that say what a chunk sees of a slab: attention/pageLists.ts. */
export interface ListedKeys {
  words: GPUBuffer;
  offsets: PageList;
}

/** Words and the offset in them of the slots that a chunk's tokens have in a slab. */
export interface Slots {
  words: GPUBuffer;
  slotsAt: number;
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

/** Ranges of `splitVisits` visits of one decoded token, and which parts they become. */
export interface SplitRange {
  position: number;
  splits: number;
  splitVisits: number;
  firstSplit: number;
  /** Keys of a visit; BLOCK_TOKENS where it is not said. */
  unit?: number;
}

/** One head's cells: rows of samples, columns of keys; see attn_pool.wgsl. */
export interface PoolGrid extends ChosenPages {
  /** First token that the list's pattern is for. */
  start: number;
  rowStart: number;
  rowEnd: number;
  rows: number;
  columns: number;
  samples: number;
  head: number;
  slope: number;
  pagesAt: number;
}

export interface PoolBuffers {
  /** Edges of rows and columns, then slot and position of each sample. */
  edges: GPUBuffer;
  weights: GPUBuffer;
  cells: GPUBuffer;
}

export type AttentionOperations = Awaited<ReturnType<typeof openAttention>>;

/**
 * Compiles the attention kernels the model needs. `slopes` [H] are ALiBi's, zeros where the model has none. What reads tiles has its own way to
 * put them into the cache and to prefill: flash3Ops.ts.
 */
export async function openAttention(
  spec: DecoderSpec,
  shaders: ShaderCache,
  recorder: Recorder,
  { slopes, formats }: { slopes: GPUBuffer; formats: RowFormats },
) {
  const { headCount, kvHeadCount, headDim, normEps: eps, attentionScale: scale } = spec;
  const HEAD_DIM4 = headDim / 4;
  const GROUP = headCount / kvHeadCount;
  const projectionRow4 = (headCount + 2 * kvHeadCount) * HEAD_DIM4;
  const rotatedRow4 = (headCount + kvHeadCount) * HEAD_DIM4;
  const softcap = spec.attentionSoftcap ?? 0;
  const absent = Promise.resolve(undefined);
  const rotates = spec.layers.some(({ rotation }) => rotation !== "none");
  const rows = rowConstsOf(formats, headDim);
  const putOf = (format: RowFormat) =>
    format === "tile8" ? absent : shaders.program(kvPut(format), { HEAD_DIM4, PAGE_TOKENS, ROW: rowWords(format, headDim) });
  const programs = await all({
    qkNorm: spec.qkNorm ? shaders.program(qkNorm, { HEAD_DIM4 }) : absent,
    keyShift: spec.keyShift ? shaders.program(keyShift, { CUT_TOKENS }) : absent,
    keyMix: spec.keyShift ? shaders.program(keyMix, {}) : absent,
    rope: rotates ? shaders.program(ropeApply, { HEAD_DIM: headDim }) : absent,
    reposition: rotates ? shaders.program(keyReposition, { HEAD_DIM: headDim, PAGE_TOKENS }) : absent,
    putKeys: putOf(formats.keys),
    putValues: putOf(formats.values),
    error:
      formats.keys === "f32" && formats.values === "f32"
        ? absent
        : shaders.program(kvError(formats), { HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS, ...rows }),
    prefill:
      formats.keys === "tile8"
        ? absent
        : shaders.program(attnPrefill(formats), { HEAD_DIM4, GROUP, BLOCK_TOKENS, PAGE_TOKENS, ...rows }),
    decode: shaders.program(attnDecode(formats), {
      ...{ HEAD_DIM4, GROUP, BLOCK_TOKENS, PAGE_TOKENS, ...rows },
      ITEMS: Math.ceil((GROUP * HEAD_DIM4) / 64),
    }),
    merge: shaders.program(attnMerge, { HEAD_DIM4 }),
    pool: shaders.program(attnPool(formats.keys), {
      ...{ HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS, KEY_ROW: rows.KEY_ROW },
      ...chosenPages.consts,
    }),
    tapSave: shaders.program(tapSave, { HEAD_DIM4 }),
  });
  const putGroups = groups(kvHeadCount * Math.ceil(headDim / 64), 64);
  const row4Of = ({ isProjection }: BandRows): number => (isProjection ? projectionRow4 : rotatedRow4);

  return {
    /** Mixes each raw key of qkv [tokens, H + 2G, D] with the one before; tails [pages, G, D] carry over. */
    keyShift(qkv: GPUBuffer, gate: GPUBuffer, tails: GPUBuffer, { start, tokens }: Span): void {
      const kvWidth4 = kvHeadCount * HEAD_DIM4;
      const params = { tokens, start, row4: projectionRow4, keyOffset4: headCount * HEAD_DIM4, kvWidth4 };
      recorder.run(present(programs.keyShift), params, { qkv, gate, tails }, [groups(kvWidth4, 16)]);
    },

    /** Mixes each raw key of qkv [tokens, H + 2G, D] with the one given for it in `before` [tokens, G, D]. */
    keyMix(qkv: GPUBuffer, gate: GPUBuffer, before: GPUBuffer, tokens: number): void {
      const kvWidth4 = kvHeadCount * HEAD_DIM4;
      const params = { row4: projectionRow4, keyOffset4: headCount * HEAD_DIM4, kvWidth4 };
      recorder.run(present(programs.keyMix), params, { qkv, gate, before }, [groups(kvWidth4, 64), tokens]);
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

    /** Rotates the cached keys (f32) of a slab by angles [tokens, pairs], each token's at its slot. */
    repositionKeys(keys: GPUBuffer, { words, slotsAt }: Slots, angles: GPUBuffer, pairs: number, tokens: number): void {
      const params = { slotsAt, kvHeads: kvHeadCount, pairs };
      const grid = [groups(kvHeadCount * pairs, 64), tokens] as const;
      recorder.run(present(programs.reposition), params, { keys, lists: words, angles }, grid);
    },

    /** Puts a band's keys into their slots of a slab, in the cache's format. */
    putKeys(band: BandRows, keys: GPUBuffer, { words, slotsAt }: Slots, tokens: number): void {
      const params = { kvHeads: kvHeadCount, row4: row4Of(band), start4: headCount * HEAD_DIM4, slotsAt };
      recorder.run(present(programs.putKeys), params, { source: band.rows, lists: words, cache: keys }, [putGroups, tokens]);
    },

    /** Puts the values of a projection [tokens, H + 2G, D] into their slots of a slab, in the cache's format. */
    putValues(qkv: GPUBuffer, values: GPUBuffer, { words, slotsAt }: Slots, tokens: number): void {
      const params = { kvHeads: kvHeadCount, row4: projectionRow4, start4: rotatedRow4, slotsAt };
      recorder.run(present(programs.putValues), params, { source: qkv, lists: words, cache: values }, [putGroups, tokens]);
    },

    /** Adds to sums [layers] of (keys' squared error, squares, values' squared error, squares) what some tokens of the chunk lost in their slots. */
    addCacheError(
      { qkv, band, layer }: { qkv: GPUBuffer; band: BandRows; layer: number },
      slab: SlabBuffers,
      { words, slotsAt }: Slots,
      sums: GPUBuffer,
      tokens: number,
    ): void {
      const params = { tokens, qHeads: headCount, kvHeads: kvHeadCount, row4: row4Of(band), slotsAt, layer };
      recorder.run(present(programs.error), params, { rotated: band.rows, ...slab, lists: words, qkv, sums }, [1]);
    },

    /**
     * Attention of a chunk over what it sees of one slab through one band: out [tokens, H, D], lse [tokens, H]. With `carry` it goes on from
     * what `out` and `before` hold.
     */
    attendPrefill(
      band: BandRows,
      slab: SlabBuffers,
      seen: ListedKeys,
      into: { out: GPUBuffer; lse: GPUBuffer; before: GPUBuffer; carry: boolean },
      { start, tokens }: Span,
    ): void {
      const params = {
        ...{ tokens, start, scale, softcap, ...seen.offsets },
        kvHeads: kvHeadCount,
        row4: row4Of(band),
        carry: into.carry ? 1 : 0,
      };
      const buffers = {
        ...{ rotated: band.rows, ...slab, lists: seen.words, slopes },
        ...{ lseBefore: into.before, out: into.out, lse: into.lse },
      };
      const grid = [groups(tokens * GROUP, 32), kvHeadCount, groups(headDim, PREFILL_CHANNELS)] as const;
      recorder.run(present(programs.prefill), params, buffers, grid);
    },

    /** Attention of one token over ranges of what it sees of one slab through one band, each range a part. */
    attendDecode(band: BandRows, slab: SlabBuffers, seen: ListedKeys, parts: AttentionParts, range: SplitRange): void {
      const { position, splits, splitVisits, firstSplit, unit = BLOCK_TOKENS } = range;
      const params = {
        ...{ unit, splitVisits, firstSplit, scale, softcap },
        ...seen.offsets,
        start: position,
        kvHeads: kvHeadCount,
      };
      const buffers = { rotated: band.rows, ...slab, lists: seen.words, slopes, partOut: parts.out, partLse: parts.lse };
      recorder.run(programs.decode, params, buffers, [splits, kvHeadCount]);
    },

    /** Parts [splits, H, D] of one token joined into out [H, D] and lse [H]. */
    mergeParts(parts: AttentionParts, out: GPUBuffer, lse: GPUBuffer, splits: number): void {
      const params = { splits, rows: headCount };
      const grid = [groups(headCount * HEAD_DIM4, 64)] as const;
      recorder.run(programs.merge, params, { partOut: parts.out, partLse: parts.lse, out, lse }, grid);
    },

    /** Puts queries of a band, and log-sum-exps [tokens, H] where they are given, into the slots of a tap: samples [count] of (token, slot). */
    saveTap(
      band: BandRows,
      lse: GPUBuffer,
      samples: GPUBuffer,
      into: { queries: GPUBuffer; lse: GPUBuffer },
      { count, withLse }: { count: number; withLse: boolean },
    ): void {
      const params = { row4: row4Of(band), heads: headCount, saveLse: withLse ? 1 : 0 };
      const buffers = { rotated: band.rows, lseOf: lse, samples, queries: into.queries, savedLse: into.lse };
      recorder.run(programs.tapSave, params, buffers, [groups(headCount * HEAD_DIM4, 64), count]);
    },

    /** Adds one head's attention to the keys of one slab through one band to cells [rows, columns] for rows [rowStart, rowEnd). */
    pool(
      from: { queries: GPUBuffer; lse: GPUBuffer },
      keys: GPUBuffer,
      seen: ListedKeys,
      into: PoolBuffers,
      grid: PoolGrid,
    ): void {
      const params = {
        ...{ ...grid, ...seen.offsets, scale, softcap },
        heads: headCount,
        kvHeads: kvHeadCount,
        kvHead: Math.floor(grid.head / GROUP),
      };
      const buffers = { ...from, keys, lists: seen.words, ...into };
      recorder.run(programs.pool, params, buffers, [groups(grid.columns, 8), groups(grid.rowEnd - grid.rowStart, 8)]);
    },
  };
}
