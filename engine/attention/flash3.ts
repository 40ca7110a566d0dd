/** Attention after FlashAttention-3: how a chunk gets into the cache. Its kernels are in kernels/flash3Ops.ts. */
import type { Span } from "../kernels/attentionOps.ts";
import type { Flash3Operations } from "../kernels/flash3Ops.ts";
import type { OpenTile } from "../kv-cache/openTiles.ts";
import type { CacheLayer } from "../kv-cache/pages.ts";
import { bandRows, type ChunkRows } from "./attend.ts";
import type { LayerPositions } from "./chunkPositions.ts";

/**
 * Rotates the chunk for every band, turns its queries and keys, and puts keys and values into the tiles of the cache. A tile that was not full
 * is rounded anew, and every key of it with the largest of all that are there, also those behind a query: where chunks end changes results by
 * as much as rounding does. Full tiles are the same whatever the chunks were.
 */
export function cacheTiles(
  op: Flash3Operations,
  rows: ChunkRows,
  layer: CacheLayer,
  open: OpenTile,
  positions: LayerPositions,
  span: Span,
): void {
  const written = new Set<number>();
  const turned = new Set<GPUBuffer>();
  const slots = [...positions.slotsAt.entries()].map(([slab, slotsAt]) => ({
    slab: layer.slabs[slab],
    at: { words: positions.words, slotsAt },
  }));
  for (const [index, { copy }] of positions.bands.entries()) {
    const angles = positions.angles?.[index];
    const band = bandRows(rows, positions, index);
    if (angles !== undefined) op.rope(rows.qkv, angles, band.rows, positions.pairs, span.tokens);
    // Bands of a layer that does not rotate share their rows.
    if (!turned.has(band.rows)) op.turn(band, span.tokens);
    turned.add(band.rows);
    if (written.has(copy)) continue;
    written.add(copy);
    for (const { slab, at } of slots) op.putKeyTiles(band, slab.keys[copy], open.keys[copy], at, span);
    op.keepOpenKeys(band, open.keys[copy], span);
  }
  for (const { slab, at } of slots) op.putValueTiles(rows.qkv, slab.values, open.values, at, span);
  op.keepOpenValues(rows.qkv, open.values, span);
}
