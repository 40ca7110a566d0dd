import type { BandRows, PagedLayer, Span, SplitRange } from "../kernels/attentionOps.ts";
import { MAX_SPLITS, splitKeys, type AttentionParts } from "../kernels/attentionOps.ts";
import type { Operations } from "../kernels/ops.ts";
import type { LayerPositions } from "./chunkPositions.ts";

/** Keys and values of one layer in the cache: one set of keys per copy of the position plan. */
export interface CachedKeys {
  pages: GPUBuffer;
  keys: readonly GPUBuffer[];
  values: GPUBuffer;
}

/** Where attention goes: out [tokens, H, D], lse [positions, H]; parts hold bands and ranges before they are joined. */
export interface Attended {
  out: GPUBuffer;
  lse: GPUBuffer;
  parts: AttentionParts;
}

/** The projection of a chunk and, where it rotates, room for it in the positions of every band. */
export interface ChunkRows {
  /** [tokens, H + 2G, D] */
  qkv: GPUBuffer;
  /** Per band [tokens, H + G, D]. */
  rotated: readonly GPUBuffer[];
}

/** Rotates the chunk for every band and puts its keys and values into the cache, and its queries into `saved` [positions, H, D] per band. */
export function cacheChunk(
  op: Operations,
  rows: ChunkRows,
  layer: CachedKeys,
  positions: LayerPositions,
  saved: readonly GPUBuffer[] | undefined,
  span: Span,
): void {
  for (const [index, band] of positions.bands.entries()) {
    const angles = positions.angles?.[index];
    const source = bandRows(rows, positions, index);
    if (angles !== undefined) op.rope(rows.qkv, angles, source.rows, positions.pairs, span.tokens);
    const isFirstOfCopy = positions.bands.findIndex(({ copy }) => copy === band.copy) === index;
    const what = { queries: saved?.[index], keys: isFirstOfCopy, values: index === 0 };
    if (what.keys || what.values || what.queries !== undefined)
      op.kvWrite(rows.qkv, source, pagedCopy(layer, band.copy), what, span);
  }
}

/** Attention of a chunk over everything cached, itself included: one token goes by split-K, more by the tiled kernel; bands are joined. */
export function attend(
  op: Operations,
  rows: ChunkRows,
  layer: CachedKeys,
  positions: LayerPositions,
  into: Attended,
  span: Span,
): void {
  if (span.tokens === 1) attendOne(op, rows, layer, positions, into, span.start);
  else attendMany(op, rows, layer, positions, into, span);
}

function attendMany(
  op: Operations,
  rows: ChunkRows,
  layer: CachedKeys,
  positions: LayerPositions,
  into: Attended,
  span: Span,
): void {
  const { bands, ranges } = positions;
  const isOne = bands.length === 1;
  for (const [index, band] of bands.entries()) {
    const range = ranges[index];
    if (range === undefined) throw new RangeError(`band ${index} has no ranges`);
    const start = index * span.tokens;
    const place = isOne
      ? { out: into.out, outStart: 0, lse: into.lse, lseStart: span.start }
      : { out: into.parts.out, outStart: start, lse: into.parts.lse, lseStart: start };
    op.attendPrefill(bandRows(rows, positions, index), pagedCopy(layer, band.copy), range, place, span);
  }
  if (!isOne) op.mergeParts(into.parts, into.out, into.lse, { splits: bands.length, tokens: span.tokens, lseStart: span.start });
}

function attendOne(
  op: Operations,
  rows: ChunkRows,
  layer: CachedKeys,
  positions: LayerPositions,
  into: Attended,
  position: number,
): void {
  let splits = 0;
  for (const [index, band] of positions.bands.entries()) {
    const [from, to] = band.keys(position);
    if (to <= from) continue;
    const share = splitKeys(to - from, Math.floor(MAX_SPLITS / positions.bands.length));
    const range: SplitRange = { position, from, to, ...share, firstSplit: splits };
    op.attendDecode(bandRows(rows, positions, index), pagedCopy(layer, band.copy), into.parts, range);
    splits += share.splits;
  }
  op.mergeParts(into.parts, into.out, into.lse, { splits, tokens: 1, lseStart: position });
}

/** Queries and keys of a band: rotated ones, or the projection itself where the layer does not rotate. */
function bandRows(rows: ChunkRows, positions: LayerPositions, index: number): BandRows {
  if (positions.angles === undefined) return { rows: rows.qkv, isProjection: true };
  const rotated = rows.rotated[index];
  if (rotated === undefined) throw new RangeError(`there is no room for band ${index}`);
  return { rows: rotated, isProjection: false };
}

/** One copy of a layer's keys, as the kernels read it. */
export function pagedCopy(layer: CachedKeys, copy: number): PagedLayer {
  const keys = layer.keys[copy];
  if (keys === undefined) throw new RangeError(`the cache has no copy ${copy} of its keys`);
  return { pages: layer.pages, keys, values: layer.values };
}
