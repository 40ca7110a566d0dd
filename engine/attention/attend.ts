import type { AttentionParts, BandRows, ListedKeys, SlabBuffers, Span } from "../kernels/attentionOps.ts";
import type { Operations } from "../kernels/ops.ts";
import type { CacheLayer, Slab } from "../kv-cache/pages.ts";
import { MAX_SPLITS } from "../models/chunkSizes.ts";
import type { LayerPositions } from "./chunkPositions.ts";
import type { SlabList } from "./pageLists.ts";

/** Where attention goes: out [tokens, H, D]; the log-sum-exp goes to one of `lse` [tokens, H]; parts hold ranges before they are joined. */
export interface Attended {
  out: GPUBuffer;
  lse: readonly [GPUBuffer, GPUBuffer];
  parts: AttentionParts;
}

/** The projection of a chunk and, where it rotates, room for it in the positions of every band. */
export interface ChunkRows {
  /** [tokens, H + 2G, D] */
  qkv: GPUBuffer;
  /** Per band [tokens, H + G, D]. */
  rotated: readonly GPUBuffer[];
}

/** Rotates the chunk for every band and puts its keys and values into the cache. */
export function cacheChunk(op: Operations, rows: ChunkRows, layer: CacheLayer, positions: LayerPositions, span: Span): void {
  const written = new Set<number>();
  for (const [index, { copy }] of positions.bands.entries()) {
    const angles = positions.angles?.[index];
    const source = bandRows(rows, positions, index);
    if (angles !== undefined) op.rope(rows.qkv, angles, source.rows, positions.pairs, span.tokens);
    if (written.has(copy)) continue;
    written.add(copy);
    for (const [slab, slotsAt] of positions.slotsAt.entries()) {
      const { keys } = layer.slabs[slab];
      op.putKeys(source, keysOf(keys, copy), { words: positions.words, slotsAt }, span.tokens);
    }
  }
  for (const [slab, slotsAt] of positions.slotsAt.entries()) {
    op.putValues(rows.qkv, layer.slabs[slab].values, { words: positions.words, slotsAt }, span.tokens);
  }
}

/**
 * Attention of a chunk over everything cached that it sees, itself included, slab by slab and band by band: one token by split-K, more by the
 * tiled kernel that goes on from what it has. Returns the buffer of log-sum-exps.
 */
export function attend(
  op: Operations,
  rows: ChunkRows,
  layer: CacheLayer,
  positions: LayerPositions,
  into: Attended,
  span: Span,
): GPUBuffer {
  return span.tokens === 1
    ? attendOne(op, rows, layer, positions, into, span.start)
    : attendMany(op, rows, layer, positions, into, span);
}

function attendMany(
  op: Operations,
  rows: ChunkRows,
  layer: CacheLayer,
  positions: LayerPositions,
  into: Attended,
  span: Span,
): GPUBuffer {
  let carried = firstCarry(into);
  for (const step of slabSteps(positions)) {
    carried = attendSlab(op, rows, slabCopy(layer.slabs[step.seen.slab], step.copy), positions, step, into, carried, span);
  }
  if (!carried.carry) throw new RangeError("the chunk sees no key, not even its own");
  return carried.lse;
}

/** One slab through one band. */
export interface SlabStep {
  band: number;
  copy: number;
  seen: SlabList;
}

/** What a chunk attends to, in order: disjoint keys, slab by slab and band by band. */
export function slabSteps({ bands, lists }: LayerPositions): SlabStep[] {
  return bands.flatMap(({ copy }, band) => lists[band].map((seen) => ({ band, copy, seen })));
}

/** What attention of a chunk has come to: `lse` was written last, the other is written next. */
export interface Carried {
  lse: GPUBuffer;
  other: GPUBuffer;
  carry: boolean;
}

export function firstCarry({ lse: [first, second] }: Attended): Carried {
  return { lse: first, other: second, carry: false };
}

/** Adds one step of a chunk of several tokens to what was carried. */
export function attendSlab(
  op: Operations,
  rows: ChunkRows,
  slab: SlabBuffers,
  positions: LayerPositions,
  step: SlabStep,
  into: Attended,
  { lse: before, other: lse, carry }: Carried,
  span: Span,
): Carried {
  const target = { out: into.out, lse, before, carry };
  op.attendPrefill(bandRows(rows, positions, step.band), slab, listedKeys(positions, step.seen), target, span);
  return { lse, other: before, carry: true };
}

function attendOne(
  op: Operations,
  rows: ChunkRows,
  layer: CacheLayer,
  positions: LayerPositions,
  into: Attended,
  position: number,
): GPUBuffer {
  const steps = slabSteps(positions);
  const visits = steps.reduce((sum, { seen }) => sum + seen.visits, 0);
  const splitVisits = Math.max(1, Math.ceil(visits / Math.max(1, MAX_SPLITS - steps.length)));
  let splits = 0;
  for (const { band, copy, seen } of steps) {
    const share = Math.ceil(seen.visits / splitVisits);
    const slab = slabCopy(layer.slabs[seen.slab], copy);
    const range = { position, splits: share, splitVisits, firstSplit: splits };
    op.attendDecode(bandRows(rows, positions, band), slab, listedKeys(positions, seen), into.parts, range);
    splits += share;
  }
  if (splits > MAX_SPLITS) throw new RangeError(`${splits} ranges of a decoded token`);
  op.mergeParts(into.parts, into.out, into.lse[0], splits);
  return into.lse[0];
}

/** Queries and keys of a band: rotated ones, or the projection itself where the layer does not rotate. */
export function bandRows(rows: ChunkRows, positions: LayerPositions, index: number): BandRows {
  if (positions.angles === undefined) return { rows: rows.qkv, isProjection: true };
  const rotated = rows.rotated[index];
  if (rotated === undefined) throw new RangeError(`there is no room for band ${index}`);
  return { rows: rotated, isProjection: false };
}

/** One copy of a slab's keys, as the kernels read it. */
export function slabCopy(slab: Slab, copy: number): SlabBuffers {
  return { keys: keysOf(slab.keys, copy), values: slab.values };
}

function keysOf(keys: readonly GPUBuffer[], copy: number): GPUBuffer {
  const buffer = keys[copy];
  if (buffer === undefined) throw new RangeError(`the cache has no copy ${copy} of its keys`);
  return buffer;
}

/** What a chunk sees of a slab, as the kernels read it. */
export function listedKeys({ words }: LayerPositions, { list: offsets }: SlabList): ListedKeys {
  return { words, offsets };
}
