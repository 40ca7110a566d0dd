/** Attention after FlashAttention-3: how a chunk gets into the cache, and what a model needs for it. Its kernels are in kernels/flash3Ops.ts. */
import type { DecoderSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { Span } from "../kernels/attentionOps.ts";
import { openFlash3, type Flash3Operations, type Flash3Setup } from "../kernels/flash3Ops.ts";
import type { Operations } from "../kernels/ops.ts";
import { openOpenTiles, type OpenTile, type OpenTiles } from "../kv-cache/openTiles.ts";
import type { CacheLayer } from "../kv-cache/pages.ts";
import type { AttentionChoice, KvFormats } from "./api.ts";
import { bandRows, type ChunkRows } from "./attend.ts";
import type { LayerPositions } from "./chunkPositions.ts";
import { chooseFlash3 } from "./flash3Choice.ts";

/** What a model attends with: operations instead of its plain ones, and the tiles that are not full. */
export interface Flash3Attention {
  op: Flash3Operations;
  tiles: OpenTiles;
}

export interface Flash3Source extends Omit<Flash3Setup, "ingredients"> {
  spec: DecoderSpec;
  op: Operations;
}

/** Made when it is first chosen, since its kernels are many. */
export function openFlash3Attention(source: Flash3Source) {
  let op: Promise<Flash3Operations> | undefined;
  let made: { tiles: OpenTiles; copies: number } | undefined;

  async function compiled(): Promise<Flash3Operations> {
    const { ingredients } = await chooseFlash3(source.gpu, source.shaders, source.spec.headDim);
    return openFlash3(source.op, source.spec, { ...source, ingredients });
  }

  return {
    /** For an empty cache with so many copies of its keys; undefined where another policy was chosen. Throws `kv-cache-too-large`. */
    async follow(isChosen: boolean, copies: number): Promise<Flash3Attention | undefined> {
      if (!isChosen || made?.copies !== copies) {
        made?.tiles.destroy();
        made = undefined;
      }
      if (!isChosen) return undefined;
      made ??= { tiles: await openOpenTiles(source.spec, source.gpu, copies), copies };
      op ??= compiled();
      return { op: await op, tiles: made.tiles };
    },
  };
}

/** Throws `bad-argument` where flash3 was chosen together with what it has no room for. */
export function checkFlash3({ policy, topPages }: AttentionChoice, { keys, values }: KvFormats): void {
  if (policy.kind !== "flash3") return;
  if (keys !== "f32" || values !== "f32") {
    const message = `flash3 caches keys and values in 8 bits of its own, not in ${keys} and ${values}`;
    throw new EngineError("bad-argument", message, "choose f32, which leaves it to flash3, or another attention");
  }
  if (topPages !== undefined) {
    const message = "flash3+top-pages: bounds of pages are of keys that are cached one by one";
    throw new EngineError("bad-argument", message, "leave top-pages out, or use flash+top-pages");
  }
}

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
  const slots = [...positions.slotsAt].map(([slab, slotsAt]) => ({
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
