/** How far the cache's formats are from f32, measured on tokens as they are cached. */
import type { CacheError } from "../api.ts";
import { storageBuffer, type Readback } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Operations } from "../kernels/ops.ts";
import type { CacheLayer, PagedCache } from "../kv-cache/pages.ts";
import { bandRows, slabCopy, type ChunkRows } from "./attend.ts";
import type { LayerPositions } from "./chunkPositions.ts";

export interface CacheErrorMeter {
  /** What was measured up to the last `read`; undefined before, and where formats do not round. */
  readonly error: CacheError | undefined;
  /** Adds a chunk whose keys and values were just put into the cache. */
  add(op: Operations, layer: number, rows: ChunkRows, cached: CacheLayer, positions: LayerPositions, tokens: number): void;
  read(): Promise<void>;
  /** The cache is empty. */
  reset(): void;
}

export function openCacheError(
  gpu: EngineDevice,
  readback: Readback,
  cache: Pick<PagedCache, "formats">,
  layers: number,
): CacheErrorMeter {
  const sums = storageBuffer(gpu, "cache errors", layers * 16);
  let error: CacheError | undefined;
  let isNew = false;
  return {
    get error() {
      return error;
    },
    add(op, layer, rows, cached, positions, tokens) {
      const { formats } = cache;
      if (formats.keys === "f32" && formats.values === "f32") return;
      const { words } = positions;
      const chunk = { qkv: rows.qkv, band: bandRows(rows, positions, 0), layer };
      const copy = positions.bands[0].copy;
      for (const [slab, slotsAt] of positions.slotsAt.entries()) {
        op.addCacheError(chunk, slabCopy(cached.slabs[slab], copy), { words, slotsAt }, sums, tokens);
      }
      isNew = true;
    },
    async read() {
      if (!isNew) return;
      isNew = false;
      const total = [0, 0, 0, 0];
      const parts = new Float32Array(await readback.read(sums, 0, layers * 16));
      for (const [index, part] of parts.entries()) total[index % 4] += part;
      const share = (lost: number, of: number): number => (of === 0 ? 0 : Math.sqrt(lost / of));
      error = { keys: share(total[0], total[1]), values: share(total[2], total[3]) };
    },
    reset() {
      error = undefined;
      isNew = false;
      gpu.device.queue.writeBuffer(sums, 0, new Float32Array(4 * layers));
    },
  };
}
