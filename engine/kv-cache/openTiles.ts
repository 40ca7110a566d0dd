/**
 * Rows of tiles that are not full yet, unrounded: a tile of 8 bits (format.ts) is rounded anew when it grows. They are those of the last tile
 * that was written, so a cut that ends inside an earlier one goes back to where it begins.
 */
import { CUT_TOKENS, type DecoderSpec } from "../api.ts";
import { BLOCK_TOKENS } from "../attention/api.ts";
import { allocated, storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import { cacheTooLarge } from "../reference/checks.ts";

/** Of one layer: [BLOCK_TOKENS, G, D] each, position p in row p % BLOCK_TOKENS. */
export interface OpenTile {
  /** Per copy of the keys. */
  keys: readonly GPUBuffer[];
  values: GPUBuffer;
}

export interface OpenTiles {
  layer(index: number): OpenTile;
  /** Counts what the cache holds now, its last tile written from unrounded rows. */
  written(lengthTokens: number): void;
  /** Where a cache of `cachedTokens` ends when it is to be cut to `lengthTokens`. */
  cut(lengthTokens: number, cachedTokens: number): number;
  /** What is in the cache now came in rounded. */
  forget(): void;
  destroy(): void;
}

/** Bytes of the open tiles of a layer. */
export function openTileBytes({ kvHeadCount, headDim }: DecoderSpec, copies: number): number {
  return (copies + 1) * BLOCK_TOKENS * kvHeadCount * headDim * 4;
}

/** Throws `kv-cache-too-large`. */
export async function openOpenTiles(spec: DecoderSpec, gpu: EngineDevice, copies: number): Promise<OpenTiles> {
  const tileBytes = BLOCK_TOKENS * spec.kvHeadCount * spec.headDim * 4;
  const layers = await allocated(
    gpu,
    () =>
      spec.layers.map(({ rotation }, index) => ({
        keys: Array.from({ length: rotation === "main" ? copies : 1 }, () => storageBuffer(gpu, `open keys ${index}`, tileBytes)),
        values: storageBuffer(gpu, `open values ${index}`, tileBytes),
      })),
    () => cacheTooLarge(BLOCK_TOKENS, 0),
  );
  /** First position of the tile whose rows are here; undefined where they are of none that the cache still has. */
  let first: number | undefined;
  return {
    layer(index) {
      const tile = layers[index];
      if (tile === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
      return tile;
    },
    written(lengthTokens) {
      first = tileOf(lengthTokens - 1);
    },
    cut(lengthTokens, cachedTokens) {
      if (lengthTokens >= cachedTokens) return lengthTokens;
      const wanted = Math.floor(Math.max(0, lengthTokens) / CUT_TOKENS) * CUT_TOKENS;
      const tile = tileOf(wanted);
      if (tile !== first) first = undefined;
      return tile === first ? wanted : tile;
    },
    forget() {
      first = undefined;
    },
    destroy() {
      for (const { keys, values } of layers) for (const buffer of [...keys, values]) buffer.destroy();
    },
  };
}

function tileOf(position: number): number {
  return Math.floor(position / BLOCK_TOKENS) * BLOCK_TOKENS;
}
