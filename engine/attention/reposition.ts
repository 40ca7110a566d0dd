/** Cached keys moved to the positions of another plan, where they lie: the difference of two rotations is a rotation. */
import type { DecoderSpec, PositionPlan } from "../api.ts";
import { storageBuffer, uploadedBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { Operations } from "../kernels/ops.ts";
import type { PagedCache } from "../kv-cache/pages.ts";
import { addSlots, blockMap, Words } from "./pageLists.ts";

/** Positions that are rotated by one dispatch. */
const PIECE_TOKENS = 4096;

export interface RepositionSource {
  spec: DecoderSpec;
  gpu: EngineDevice;
  recorder: Recorder;
  op: Operations;
  cache: PagedCache;
}

/**
 * Rotates every copy of the keys in layers of rotation "main" from the plan they were written under to the next one, whose copies the cache
 * already has (new ones hold what the first one holds).
 */
export async function repositionKeys(source: RepositionSource, before: PositionPlan, next: PositionPlan): Promise<void> {
  const { spec, gpu, recorder, op, cache } = source;
  const pairs = next.table.invFreq.length;
  const words = new Words();
  const angles = storageBuffer(gpu, "angles of a move", Math.min(PIECE_TOKENS, Math.max(1, cache.length)) * pairs * 8);
  try {
    for (const copy of next.copies.keys()) {
      const from = before.copies[copy] === undefined ? 0 : copy;
      for (let start = 0; start < cache.length; start += PIECE_TOKENS) {
        const tokens = Math.min(PIECE_TOKENS, cache.length - start);
        gpu.device.queue.writeBuffer(angles, 0, turns(before, from, next, copy, start, tokens));
        for (const [layer, { rotation }] of spec.layers.entries()) {
          if (rotation !== "main") continue;
          words.clear();
          const slots = addSlots(words, blockMap(cache, layer), start, tokens, "skip");
          const slotWords = uploadedBuffer(gpu, "slots of a move", words.view());
          for (const [slab, slotsAt] of slots.entries()) {
            const keys = cache.layer(layer).slabs[slab].keys[copy];
            op.repositionKeys(keys, { words: slotWords, slotsAt }, angles, pairs, tokens);
          }
          await recorder.finish();
          slotWords.destroy();
        }
      }
    }
  } finally {
    angles.destroy();
    recorder.forget();
  }
}

/** [tokens, pairs] of f (cos d, sin d): what turns a key of the old copy into one of the new. */
function turns(
  before: PositionPlan,
  from: number,
  next: PositionPlan,
  to: number,
  start: number,
  tokens: number,
): Float32Array<ArrayBuffer> {
  const pairs = next.table.invFreq.length;
  const factor = next.table.attentionFactor / before.table.attentionFactor;
  const rows = new Float32Array(2 * tokens * pairs);
  for (let token = 0; token < tokens; token++) {
    const oldPosition = before.copies[from]?.(start + token) ?? start + token;
    const newPosition = next.copies[to]?.(start + token) ?? start + token;
    for (let pair = 0; pair < pairs; pair++) {
      const turn = newPosition * next.table.invFreq[pair] - oldPosition * before.table.invFreq[pair];
      const at = 2 * (token * pairs + pair);
      rows[at] = factor * Math.cos(turn);
      rows[at + 1] = factor * Math.sin(turn);
    }
  }
  return rows;
}
