/**
 * What pooled attention is computed from: the rotated queries and softmax denominators of sampled tokens, for as many layers as fit. While a
 * context is short every token is sampled; as it grows, every second, fourth, ... of the prompt, and always the last ones decoded.
 */
import type { DecoderSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import { allocated, storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Operations } from "../kernels/ops.ts";
import { bandRows, type ChunkRows } from "./attend.ts";
import type { LayerPositions } from "./chunkPositions.ts";
import { tapRoom, type TapRoom } from "./tapRoom.ts";
import { openSampler, type Sample } from "./tapSamples.ts";

/** queries [slots, H, D], one buffer per band, and lse [slots, H]. */
export interface TapLayer {
  queries: readonly GPUBuffer[];
  lse: GPUBuffer;
}

export interface AttentionTap {
  /** Kept layers, rising. */
  readonly layers: readonly number[];
  readonly because: string;
  /** Tokens before this position were restored: their queries are not there. */
  readonly from: number;
  /** Sampled tokens with positions in [first, end), rising. */
  samples(first: number, end: number): readonly Sample[];
  at(layer: number): TapLayer | undefined;
  /** What is kept now belongs to other positions or keys: nothing is kept until the cache is empty, then `bands` queries a token and layer. */
  setBands(bands: (layer: number) => number, because: string): void;
  /** Called before tokens are appended behind `length`; makes the buffers where there are none. True when buffers came. */
  prepare(length: number): Promise<boolean>;
  /** Chooses what is sampled of the chunk; of one decoded token everything is, and of a prompt its last. */
  begin(chunk: { start: number; tokens: number; isDecoded: boolean; isLast: boolean }): void;
  /** Keeps the sampled rows of the chunk, after attention. */
  save(op: Operations, layer: number, rows: ChunkRows, positions: LayerPositions, lse: GPUBuffer): void;
  /** Chooses what is kept of a whole prompt that is computed elsewhere; `prepare` must have been called. */
  choose(tokens: number): readonly Sample[];
  /** Keeps rows of what was chosen: queries [samples, H, D] of every band, and lse [samples, H]. */
  put(layer: number, samples: readonly Sample[], rows: { queries: readonly Float32Array[]; lse: Float32Array }): void;
  /** Forgets tokens from `length` on. */
  truncate(length: number): void;
  /** The tokens before `length` were restored. */
  skip(length: number): void;
}

export function openTap(
  spec: DecoderSpec,
  gpu: EngineDevice,
  limits: { tapBytes: number; maxBindingBytes: number; maxTokens: number },
  firstBands: (layer: number) => number,
): AttentionTap {
  const rowBytes = spec.headCount * spec.headDim * 4;
  let bandsOf = firstBands;
  let dropped: string | undefined;
  let sampler = openSampler(0);
  let plan = choose();
  let kept: Map<number, TapLayer> | undefined;
  let count = 0;
  let from = 0;
  const chunkSamples = storageBuffer(gpu, "samples of a chunk", limits.maxTokens * 8);

  function choose(): TapRoom {
    return tapRoom(spec, limits, bandsOf);
  }

  function release(): void {
    for (const { queries, lse } of kept?.values() ?? []) for (const buffer of [...queries, lse]) buffer.destroy();
    kept = undefined;
  }

  return {
    get layers() {
      return dropped === undefined ? plan.layers : [];
    },
    get because() {
      return dropped ?? plan.because;
    },
    get from() {
      return from;
    },
    samples: (first, end) => sampler.between(first, end),
    at: (layer) => (dropped === undefined ? kept?.get(layer) : undefined),
    setBands(bands, why) {
      release();
      bandsOf = bands;
      plan = choose();
      dropped = why;
      sampler = openSampler(0);
    },
    async prepare(length) {
      if (length === 0) dropped = undefined;
      if (dropped !== undefined || kept !== undefined) return false;
      kept = await allocated(
        gpu,
        () =>
          new Map(
            plan.layers.map((layer) => [
              layer,
              {
                queries: Array.from({ length: bandsOf(layer) }, (_, band) =>
                  storageBuffer(gpu, `queries ${layer} ${band}`, plan.rows * rowBytes),
                ),
                lse: storageBuffer(gpu, `denominators ${layer}`, plan.rows * spec.headCount * 4),
              },
            ]),
          ),
        () => new EngineError("kv-cache-too-large", `no memory for the queries of ${plan.rows} tokens`, "choose a smaller model"),
      );
      sampler = openSampler(plan.rows);
      return true;
    },
    begin(chunk) {
      const pairs = dropped === undefined ? sampler.sample(chunk) : [];
      count = pairs.length / 2;
      if (count > 0) gpu.device.queue.writeBuffer(chunkSamples, 0, Uint32Array.from(pairs));
    },
    save(op, layer, rows, positions, lse) {
      const into = kept?.get(layer);
      if (into === undefined || count === 0) return;
      for (const [band, queries] of into.queries.entries()) {
        op.saveTap(
          bandRows(rows, positions, band),
          lse,
          chunkSamples,
          { queries, lse: into.lse },
          { count, withLse: band === 0 },
        );
      }
    },
    choose(tokens) {
      if (dropped !== undefined) return [];
      sampler.sample({ start: 0, tokens, isDecoded: false, isLast: true });
      return sampler.between(0, tokens);
    },
    put(layer, samples, { queries, lse }) {
      const into = kept?.get(layer);
      if (into === undefined) return;
      for (const [band, buffer] of into.queries.entries()) writeRows(gpu, buffer, samples, queries[band], rowBytes / 4);
      writeRows(gpu, into.lse, samples, lse, spec.headCount);
    },
    truncate(length) {
      sampler.truncate(length);
      from = Math.min(from, length);
    },
    skip(length) {
      from = length;
    },
  };
}

/** Rows [samples, width] into their slots; neighbouring slots are written together. */
function writeRows(gpu: EngineDevice, into: GPUBuffer, samples: readonly Sample[], rows: Float32Array, width: number): void {
  for (let first = 0; first < samples.length;) {
    let end = first + 1;
    while (end < samples.length && samples[end].slot === samples[end - 1].slot + 1) end++;
    const part = Float32Array.from(rows.subarray(first * width, end * width));
    gpu.device.queue.writeBuffer(into, 4 * samples[first].slot * width, part);
    first = end;
  }
}
