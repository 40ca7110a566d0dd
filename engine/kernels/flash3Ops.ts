/**
 * What flash3 does otherwise than the other operations: keys and queries that are turned before they are rounded, tiles of 8 bits with one scale,
 * and a prefill that loads the next tile while it works on this one. Compiled where a run first attends so.
 */
import type { DecoderSpec } from "../api.ts";
import { BLOCK_TOKENS, PAGE_TOKENS } from "../attention/api.ts";
import { F32_CACHE } from "../attention/wholeOnly.ts";
import { EngineError } from "../errors.ts";
import { storageBuffer, uploadedBuffer } from "../gpu/buffers.ts";
import type { EngineDevice, MatrixUnit } from "../gpu/device.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { rowWords, type RowFormats } from "../kv-cache/format.ts";
import { openAttention, type AttentionOperations, type BandRows, type Slots, type Span } from "./attentionOps.ts";
import { attnFlash3, FLASH3_HEAD_DIM, unitConsts, type Flash3Kernel } from "./attn_flash3.ts";
import { rowConstsOf } from "./cachedRows.ts";
import { hadamard, hadamardHeads } from "./hadamard.ts";
import type { Operations } from "./ops.ts";
import { all, groups, present } from "./programs.ts";
import { tile8Open } from "./tile8_open.ts";
import { tile8Put } from "./tile8_put.ts";

/** What FlashAttention-3 is made of, as far as WGSL can say it; each can be left out, to see what it gains and costs. */
export interface Flash3Ingredients {
  /** The next tile is loaded, and scored, while this one is weighed. */
  pipelined: boolean;
  /** Keys and values lie in 8 bits with one scale per tile of BLOCK_TOKENS keys and key head; else in f32. */
  eightBits: boolean;
  /** Queries and keys are turned by a Hadamard matrix before they are rounded. */
  hadamard: boolean;
  /** Queries are rounded to 8 bits per tile too, and multiplied with keys as integers; only with `eightBits`. */
  integers: boolean;
  /**
   * Products by the matrix units of a graphics card, with queries rounded to what they take, or by loops that compute the same, which a device
   * without them is tested with; only with `eightBits` and without `integers`.
   */
  matrices?: MatrixUnit | "loops" | undefined;
}

export interface Flash3Setup {
  gpu: EngineDevice;
  shaders: ShaderCache;
  recorder: Recorder;
  slopes: GPUBuffer;
  /** Tokens of a chunk at most. */
  maxTokens: number;
  ingredients: Flash3Ingredients;
}

export type Flash3Operations = Operations & Awaited<ReturnType<typeof openFlash3Kernels>>;

/** The formats that flash3 caches in. */
export function flash3Formats({ eightBits }: Flash3Ingredients): RowFormats {
  return eightBits ? { keys: "tile8", values: "tile8" } : F32_CACHE;
}

/** Operations of a model that attends as flash3 does: `op` with another way to cache, prefill, decode and pool. Throws `bad-argument`. */
export async function openFlash3(op: Operations, spec: DecoderSpec, setup: Flash3Setup): Promise<Flash3Operations> {
  const { shaders, recorder, slopes, ingredients } = setup;
  checkIngredients(ingredients, spec);
  const base = await openAttention(spec, shaders, recorder, { slopes, formats: flash3Formats(ingredients) });
  return { ...op, ...base, ...(await openFlash3Kernels(base, spec, setup)) };
}

/** The largest power of two that divides the head dimension: channels that one Hadamard matrix turns. */
export function hadamardBlock(headDim: number): number {
  return headDim & -headDim;
}

/** What flash3 adds to `base`, which only caches in f32 need; `release` gives up what belongs to it alone. */
export async function openFlash3Kernels(
  base: Pick<AttentionOperations, "putKeys" | "putValues"> | undefined,
  spec: Pick<DecoderSpec, "headCount" | "kvHeadCount" | "headDim" | "attentionScale" | "attentionSoftcap">,
  { gpu, shaders, recorder, slopes, maxTokens, ingredients }: Flash3Setup,
) {
  const { headCount, kvHeadCount, headDim, attentionScale: scale } = spec;
  const { eightBits, integers } = ingredients;
  const HEAD_DIM4 = headDim / 4;
  const GROUP = headCount / kvHeadCount;
  const projectionRow4 = (headCount + 2 * kvHeadCount) * HEAD_DIM4;
  const rotatedRow4 = (headCount + kvHeadCount) * HEAD_DIM4;
  const softcap = spec.attentionSoftcap ?? 0;
  const absent = Promise.resolve(undefined);
  const sizes = { HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS };
  const programs = await all({
    hadamard: ingredients.hadamard ? shaders.program(hadamard, { HEAD_DIM4, BLOCK4: hadamardBlock(headDim) / 4 }) : absent,
    put: eightBits ? shaders.program(tile8Put, sizes) : absent,
    open: eightBits ? shaders.program(tile8Open, { BLOCK_TOKENS }) : absent,
    prefill: shaders.program(attnFlash3(kernelOf(ingredients)), {
      ...{ ...sizes, GROUP, PIPELINED: ingredients.pipelined ? 1 : 0, ...unitConsts(kernelOf(ingredients).products) },
      ...rowConstsOf(flash3Formats(ingredients), headDim),
    }),
  });
  const row4Of = ({ isProjection }: BandRows): number => (isProjection ? projectionRow4 : rotatedRow4);
  const queries = integers ? openQueryTiles(spec, gpu, maxTokens) : undefined;

  /** Puts heads of a chunk into the tiles they stand in; those in front of the chunk in its first tile are in `open`. */
  function putTiles(
    source: GPUBuffer,
    heads: Heads,
    cache: GPUBuffer,
    open: GPUBuffer,
    { words, slotsAt }: Slots,
    { start, tokens }: Span,
  ): void {
    const tiles = Math.floor((start + tokens - 1) / BLOCK_TOKENS) - Math.floor(start / BLOCK_TOKENS) + 1;
    const params = { ...heads, slotsAt, start, tokens };
    recorder.run(present(programs.put), params, { source, lists: words, open, cache }, [tiles, heads.heads]);
  }

  /** Keeps what the next chunk needs of this one: the rows of the last tile. */
  function keepOpen(source: GPUBuffer, { heads, row4, start4 }: Heads, open: GPUBuffer, { start, tokens }: Span): void {
    const lastTile = Math.floor((start + tokens - 1) / BLOCK_TOKENS) * BLOCK_TOKENS;
    const first = Math.max(0, lastTile - start);
    const width4 = heads * HEAD_DIM4;
    const params = { row4, start4, width4, first, start };
    recorder.run(present(programs.open), params, { source, open }, [groups(width4, 64), tokens - first]);
  }

  const keysOf = (band: BandRows): Heads => ({ heads: kvHeadCount, row4: row4Of(band), start4: headCount * HEAD_DIM4 });
  const valueHeads: Heads = { heads: kvHeadCount, row4: projectionRow4, start4: rotatedRow4 };

  return {
    ingredients,
    release: (): void => queries?.tiles.destroy(),

    /** Turns queries and keys of a band in place; nothing where that was left out. */
    turn(band: BandRows, tokens: number): void {
      if (programs.hadamard === undefined) return;
      const heads = headCount + kvHeadCount;
      const params = { row4: row4Of(band), heads };
      recorder.run(programs.hadamard, params, { rows: band.rows }, [groups(heads, hadamardHeads(headDim)), tokens]);
    },

    /** Puts a band's keys into their tiles of a slab; `open` has those in front of the chunk that share its first tile. */
    putKeyTiles(band: BandRows, keys: GPUBuffer, open: GPUBuffer, slots: Slots, span: Span): void {
      if (eightBits) putTiles(band.rows, keysOf(band), keys, open, slots, span);
      else present(base).putKeys(band, keys, slots, span.tokens);
    },

    /** Puts the values of a projection [tokens, H + 2G, D] into their tiles of a slab. */
    putValueTiles(qkv: GPUBuffer, values: GPUBuffer, open: GPUBuffer, slots: Slots, span: Span): void {
      if (eightBits) putTiles(qkv, valueHeads, values, open, slots, span);
      else present(base).putValues(qkv, values, slots, span.tokens);
    },

    /** Keeps the keys of the last tile unrounded, once all slabs have theirs. */
    keepOpenKeys(band: BandRows, open: GPUBuffer, span: Span): void {
      if (eightBits) keepOpen(band.rows, keysOf(band), open, span);
    },

    keepOpenValues(qkv: GPUBuffer, open: GPUBuffer, span: Span): void {
      if (eightBits) keepOpen(qkv, valueHeads, open, span);
    },

    attendPrefill: ((band, slab, seen, into, { start, tokens }) => {
      if (queries !== undefined) {
        const heads = { heads: headCount, row4: row4Of(band), start4: 0 };
        // No row stands in front of a chunk that begins at 0, so that what is bound for them is not read.
        putTiles(band.rows, heads, queries.tiles, slopes, queries.slots, { start: 0, tokens });
      }
      const params = {
        ...{ tokens, start, scale, softcap, ...seen.offsets },
        kvHeads: kvHeadCount,
        row4: row4Of(band),
        carry: into.carry ? 1 : 0,
      };
      const buffers = {
        ...{ queries: queries?.tiles ?? band.rows, ...slab, lists: seen.words, slopes },
        ...{ lseBefore: into.before, out: into.out, lse: into.lse },
      };
      const grid = [groups(tokens * GROUP, 32), kvHeadCount, groups(headDim, 128)] as const;
      recorder.run(programs.prefill, params, buffers, grid);
    }) satisfies AttentionOperations["attendPrefill"],
  };
}

/** Heads in rows of `row4` vec4, from `start4` on. */
interface Heads {
  heads: number;
  row4: number;
  start4: number;
}

/** Queries of a chunk in tiles of their own, token t in slot t. */
function openQueryTiles(
  { headCount, headDim }: Pick<DecoderSpec, "headCount" | "headDim">,
  gpu: EngineDevice,
  maxTokens: number,
) {
  const pages = Math.ceil(maxTokens / PAGE_TOKENS);
  const slots = Uint32Array.from({ length: maxTokens }, (_, token) => token);
  return {
    tiles: storageBuffer(gpu, "query tiles", pages * headCount * PAGE_TOKENS * rowWords("tile8", headDim) * 4),
    slots: { words: uploadedBuffer(gpu, "query slots", slots), slotsAt: 0 },
  };
}

function kernelOf({ eightBits, integers, matrices }: Flash3Ingredients): Flash3Kernel {
  if (!eightBits) return { format: "f32", products: "floats" };
  return { format: "tile8", products: matrices ?? (integers ? "integers" : "floats") };
}

/** Throws `bad-argument` for what cannot go together. */
function checkIngredients({ eightBits, integers, matrices }: Flash3Ingredients, { headDim }: DecoderSpec): void {
  const widest = FLASH3_HEAD_DIM[eightBits ? "tile8" : "f32"];
  const problem =
    integers && !eightBits
      ? "products of integers are of keys in 8 bits"
      : matrices !== undefined && (integers || !eightBits)
        ? "matrix units take keys in 8 bits and queries that are not"
        : headDim > widest
          ? `tiles of heads of ${headDim} channels do not fit workgroup memory`
          : undefined;
  if (problem !== undefined) throw new EngineError("bad-argument", `flash3: ${problem}`, "choose flash");
}
