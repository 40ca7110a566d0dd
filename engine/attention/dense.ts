/**
 * Attention as the formula is written: whole rows of scores in memory, a softmax over them, and their product with the values. It is the reference
 * that FlashAttention spares the memory of, so it says what it would take before it runs and refuses what is too much. A prompt is read in chunks
 * as long as the activations allow, and the rows of a chunk hold all keys so far.
 */
import type { DecoderSpec, DenseScores, PositionPlan } from "../api.ts";
import { EngineError } from "../errors.ts";
import { allocated, storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import type { Span } from "../kernels/attentionOps.ts";
import { openDenseOps, type DenseOperations } from "../kernels/denseOps.ts";
import type { PagedCache } from "../kv-cache/pages.ts";
import { sizeText } from "../planner/words.ts";
import { cacheTooLarge } from "../reference/checks.ts";
import { PAGE_TOKENS } from "./api.ts";
import { bandRows, slabCopy, type Attended, type ChunkRows } from "./attend.ts";
import type { ChunkPositions, LayerPositions } from "./chunkPositions.ts";
import { NONE, rangeRows, Words } from "./pageLists.ts";

/** Scores that one chunk may hold, where the device binds as much. */
export const DENSE_BYTES = 256 * 2 ** 20;

/** Bytes of scores when `tokens` tokens are read behind `start` others in chunks of at most `chunkTokens`. */
export function scoreBytes(headCount: number, start: number, tokens: number, chunkTokens: number): DenseScores {
  const rows = (end: number, count: number): number => 4 * headCount * count * end;
  // Rows grow from chunk to chunk, so the last one and the last full one are the largest.
  const whole = Math.floor(tokens / chunkTokens);
  const atOnce = Math.max(
    whole === 0 ? 0 : rows(start + whole * chunkTokens, chunkTokens),
    rows(start + tokens, tokens - whole * chunkTokens),
  );
  return { atOnce, square: rows(start + tokens, start + tokens) };
}

export interface DenseSource {
  spec: DecoderSpec;
  gpu: EngineDevice;
  recorder: Recorder;
  shaders: ShaderCache;
  cache: PagedCache;
  positions: ChunkPositions;
  slopes: GPUBuffer;
  /** Longest chunk. */
  chunkTokens: number;
  /** Bytes of scores at most (default DENSE_BYTES). */
  maxBytes: number | undefined;
}

export interface DenseAttention {
  /**
   * Called before `tokens` tokens are appended: makes room for their scores. True when buffers came. Throws `bad-argument` for a plan with more
   * than one band, and `limit-exceeded` for scores above the budget.
   */
  prepare(plan: PositionPlan, tokens: number): Promise<boolean>;
  /** Called when positions of the chunk are written, before it goes through the layers. */
  begin(chunk: Span): void;
  /** Attention of the chunk in one layer. Returns the buffer of log-sum-exps. */
  attend(layer: number, rows: ChunkRows, positions: LayerPositions, into: Attended, span: Span): GPUBuffer;
  /** Of what was appended since `reset`; undefined before. */
  readonly bytes: DenseScores | undefined;
  reset(): void;
  /** Gives its memory back. */
  release(): void;
}

/** Offsets of one layer's lists: of its queries' ranges, and per slab of where pages lie. */
interface LayerLists {
  rangesAt: number;
  placesAt: readonly number[];
}

export function openDense(source: DenseSource): DenseAttention {
  const { spec, gpu, recorder, shaders, cache, positions, slopes, chunkTokens } = source;
  const budget = Math.min(source.maxBytes ?? DENSE_BYTES, gpu.maxBufferBytes);
  const words = new Words();
  let ops: DenseOperations | undefined;
  let buffers: { scores: GPUBuffer; lists: GPUBuffer } | undefined;
  let lists: LayerLists[] = [];
  let bytes: DenseScores | undefined;

  function check(plan: PositionPlan, tokens: number): DenseScores {
    if (plan.bands.length > 1) {
      throw new EngineError(
        "bad-argument",
        `dense: the RoPE setting gives keys ${plan.bands.length} sets of positions, and a row of scores has one`,
        "choose attention flash, or a RoPE setting that only scales frequencies",
      );
    }
    const needed = scoreBytes(spec.headCount, cache.length, tokens, chunkTokens);
    if (needed.atOnce <= budget) return needed;
    throw new EngineError(
      "limit-exceeded",
      `dense: scores of ${Math.min(tokens, chunkTokens)} queries and ${cache.length + tokens} keys for ${spec.headCount} heads take ${sizeText(needed.atOnce)}, more than ${sizeText(budget)}; of all tokens at once they would take ${sizeText(needed.square)}`,
      "choose attention flash, which keeps no scores, or ask about less",
      { needBytes: needed.atOnce, haveBytes: budget, squareBytes: needed.square },
    );
  }

  function release(): void {
    for (const buffer of Object.values(buffers ?? {})) buffer.destroy();
    buffers = undefined;
  }

  return {
    async prepare(plan, tokens) {
      const needed = check(plan, tokens);
      bytes = {
        atOnce: Math.max(needed.atOnce, bytes?.atOnce ?? 0),
        square: Math.max(needed.square, bytes?.square ?? 0),
      };
      ops ??= await openDenseOps(spec, shaders, recorder, { slopes, formats: cache.formats });
      const pages = Math.ceil((cache.length + tokens) / PAGE_TOKENS);
      const rangeWords = 4 * Math.min(tokens, chunkTokens);
      const listWords = spec.layers.reduce((sum, _, layer) => sum + rangeWords + pages * cache.layer(layer).slabs.length, 0);
      if (buffers !== undefined && buffers.scores.size >= needed.atOnce && buffers.lists.size >= 4 * listWords) return false;
      release();
      // Decoded tokens come one by one: room for a quarter more keys makes few buffers of them.
      const [scores, listed] = [Math.min(budget, 1.25 * needed.atOnce), 1.25 * 4 * listWords];
      buffers = await allocated(
        gpu,
        () => ({ scores: storageBuffer(gpu, "scores", scores), lists: storageBuffer(gpu, "lists of dense rows", listed) }),
        () => cacheTooLarge(tokens, cache.length),
      );
      recorder.forget();
      return true;
    },

    begin({ start, tokens }) {
      if (buffers === undefined) return;
      words.clear();
      const pages = Math.ceil((start + tokens) / PAGE_TOKENS);
      const known = new Map<unknown, LayerLists>();
      lists = spec.layers.map((_, layer) => {
        const { bands } = positions.layer(layer);
        // Layers of a kind share their bands, and where their pages lie.
        const shared = known.get(bands);
        if (shared !== undefined) return shared;
        const placed = Array.from({ length: pages }, (__, page) => cache.place(layer, page));
        const made = {
          rangesAt: words.add(rangeRows(bands[0], start, tokens)),
          placesAt: cache
            .layer(layer)
            .slabs.map((__, slab) => words.add(placed.map((at) => (at?.slab === slab ? at.page : NONE)))),
        };
        known.set(bands, made);
        return made;
      });
      gpu.device.queue.writeBuffer(buffers.lists, 0, words.view());
    },

    attend(index, rows, layer, into, { start, tokens }) {
      if (ops === undefined || buffers === undefined) throw new RangeError("dense attention was not prepared");
      const { scores, lists: listed } = buffers;
      const { rangesAt, placesAt } = lists[index];
      const scored = { scores, tokens, keyCount: start + tokens };
      const band = bandRows(rows, layer, 0);
      const slabs = cache.layer(index).slabs.map((slab) => slabCopy(slab, layer.bands[0].copy));
      const ofSlab = (slab: number) => ({ words: listed, rangesAt, placesAt: placesAt[slab] });
      const [lse] = into.lse;
      for (const [slab, { keys }] of slabs.entries()) ops.scoreRows(band, keys, scored, ofSlab(slab));
      ops.softmaxRows(scored, ofSlab(0), lse);
      for (const [slab, { values }] of slabs.entries()) ops.addValues(values, scored, ofSlab(slab), into.out, slab > 0);
      return lse;
    },

    get bytes() {
      return bytes;
    },
    reset() {
      bytes = undefined;
    },
    release,
  };
}
