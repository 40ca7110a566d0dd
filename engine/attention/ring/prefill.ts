/** A prompt read by a ring into the cache and the tap of the device that decodes, as if that device had read it itself. */
import { CUT_TOKENS, type AppendOptions, type DecoderSpec, type PositionPlan } from "../../api.ts";
import { EngineError } from "../../errors.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import { rowWords } from "../../kv-cache/format.ts";
import type { PagedCache } from "../../kv-cache/pages.ts";
import { oldestKept } from "../../kv-cache/retention.ts";
import type { RingLayout, RingReport } from "../api.ts";
import type { AttentionTap } from "../tap.ts";
import type { RankOptions } from "./compute.ts";
import { openRing, type Ring, type RingWorkers } from "./coordinator.ts";
import type { RingLayer } from "./gather.ts";
import { checkLayout, checkRanks } from "./schedule.ts";
import { pageBytes, pageOfRows, slabPages, type SlabShape } from "./slabs.ts";

export interface RingPrefillParts {
  spec: DecoderSpec;
  gpu: EngineDevice;
  cache: PagedCache;
  tap: AttentionTap;
  workers: RingWorkers;
  options: RankOptions;
}

export interface RingRead {
  plan: PositionPlan;
  ranks: number;
  layout: RingLayout;
  /** Which rows of the residual stream are wanted. */
  states: "last" | "all";
}

/** Keeps a ring of ranks, each with the whole model on a device of its own, from its first prompt on. */
export interface RingPrefill {
  /** Of the last prompt that a ring read; undefined before the first, and once the cache was emptied. */
  readonly report: RingReport | undefined;
  /**
   * Reads a prompt into the empty cache, where room for it is reserved. Resolves with the final residual stream, [1, E] or [T, E]. Progress is
   * of the work, in tokens; they are in the cache when the whole prompt is. Throws what `openRing` and `Ring.prefill` throw; then the cache is
   * as empty as it was.
   */
  read(
    ids: ArrayLike<number>,
    request: RingRead,
    listening: Pick<AppendOptions, "signal" | "onProgress">,
  ): Promise<Float32Array<ArrayBuffer>>;
  /** The cache was emptied. */
  forget(): void;
  close(): void;
}

/** Throws `bad-argument` for a ring that cannot read this model's prompts here. */
export function checkRing(spec: DecoderSpec, { layout }: { layout: RingLayout }, hasWorkers: boolean): void {
  checkLayout(spec, layout);
  if (hasWorkers) return;
  throw new EngineError("bad-argument", "there are no workers here that a ring could be made of", "choose flash");
}

export function openRingPrefill({ spec, gpu, cache, tap, workers, options }: RingPrefillParts): RingPrefill {
  let opened: Ring | undefined;
  let report: RingReport | undefined;
  let closed = false;

  /** The ring of before where it is of this size and alive; else another one. */
  async function ringOf(ranks: number, signal: AbortSignal | undefined): Promise<Ring> {
    if (opened?.ranks === ranks && opened.broken === undefined) return opened;
    const last = opened;
    opened = undefined;
    await last?.close();
    const ring = await openRing(workers, ranks, { ...options, spec, signal });
    if (closed) await ring.close();
    opened = ring;
    return ring;
  }

  const shape: { keys: SlabShape; values: SlabShape } = {
    keys: { heads: spec.kvHeadCount, words: rowWords(options.kv.keys, spec.headDim) },
    values: { heads: spec.kvHeadCount, words: rowWords(options.kv.values, spec.headDim) },
  };

  /** Writes what a layer still keeps behind a prompt of `tokens` tokens. */
  function putLayer({ layer, keys, values, rawKeys }: RingLayer, tokens: number): void {
    const { slabs, retention, tails } = cache.layer(layer);
    const { queue } = gpu.device;
    const pages = slabPages(tokens);
    for (let page = 0; page < pages; page++) {
      if (page >= retention.pinned && page < oldestKept(pages, retention)) continue;
      const placed = cache.place(layer, page);
      if (placed === undefined) throw new RangeError(`page ${page} has no place`);
      const slab = slabs[placed.slab];
      for (const [copy, rows] of keys.entries()) {
        queue.writeBuffer(slab.keys[copy], placed.page * pageBytes(shape.keys), pageOfRows(rows, page, shape.keys));
      }
      queue.writeBuffer(slab.values, placed.page * pageBytes(shape.values), pageOfRows(values, page, shape.values));
    }
    if (tails !== undefined && rawKeys !== undefined) {
      queue.writeBuffer(tails, 0, tailRows(rawKeys, tokens, spec.kvHeadCount * spec.headDim));
    }
  }

  return {
    get report() {
      return report;
    },
    async read(ids, { plan, ranks, layout, states }, listening) {
      const { signal } = listening;
      checkRanks(ranks, ids.length);
      report = undefined;
      const ring = await ringOf(ranks, signal);
      const samples = tap.choose(ids.length);
      const { layers } = tap;
      try {
        const result = await ring.prefill({
          ...{ ids, plan, layout, states, signal },
          tap: { layers, positions: samples.map(({ position }) => position) },
          onProgress: (done) => listening.onProgress?.(done),
          async onLayer(layer) {
            putLayer(layer, ids.length);
            if (layer.tap !== undefined) tap.put(layer.layer, samples, layer.tap);
            // What the queue holds stays bounded, and a lost device is heard.
            await gpu.settle(gpu.device.queue.onSubmittedWorkDone());
          },
        });
        cache.advance(ids.length);
        report = result.report;
        return result.states;
      } catch (error) {
        tap.truncate(0);
        // A rank that failed may have lost its device: the next prompt finds another ring.
        if (!EngineError.is(error, "aborted")) {
          opened = undefined;
          await ring.close();
        }
        throw error;
      }
    },
    forget() {
      report = undefined;
    },
    close() {
      closed = true;
      void opened?.close();
    },
  };
}

/** Raw keys of the last token before every multiple of CUT_TOKENS, and of the last of all: [ceil(T / CUT_TOKENS), G, D]. */
function tailRows(rawKeys: Float32Array, tokens: number, width: number): Float32Array<ArrayBuffer> {
  const rows = new Float32Array(Math.ceil(tokens / CUT_TOKENS) * width);
  for (let at = 0; at < rows.length; at += width) {
    const token = Math.min((at / width) * CUT_TOKENS + CUT_TOKENS - 1, tokens - 1);
    rows.set(rawKeys.subarray(token * width, (token + 1) * width), at);
  }
  return rows;
}
