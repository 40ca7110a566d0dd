/** What pooled attention is computed from: the rotated queries and softmax denominators of past tokens, for as many layers as fit. */
import type { DecoderSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import { allocated, storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";

/** queries [positions, H, D], one buffer per band, is undefined where the layer is not kept; lse [positions, H] is then shared scratch. */
export interface TapLayer {
  queries: readonly GPUBuffer[] | undefined;
  lse: GPUBuffer;
}

export interface AttentionTap {
  /** Kept layers, rising; early ones are given up as the context grows. */
  readonly layers: readonly number[];
  readonly because: string;
  at(layer: number): TapLayer;
  /** What is kept now belongs to another position plan: nothing is kept until the cache is empty, then `bands` queries a token and layer. */
  setBands(bands: number, because: string): void;
  /** Follows the cache: room for `tokens` positions, of which `length` are written; true when buffers were replaced. */
  reserve(tokens: number, length: number): Promise<boolean>;
}

export function openTap(
  spec: DecoderSpec,
  gpu: EngineDevice,
  limits: { tapBytes: number; maxBindingBytes: number },
): AttentionTap {
  const rowBytes = spec.headCount * spec.headDim * 4;
  const bandsOf = (layer: number): number => (spec.layers[layer]?.rotation === "main" ? bands : 1);
  let layers = lastLayers(spec, spec.layerCount);
  let because = "all layers fit";
  let roomTokens = 0;
  let kept = new Map<number, { queries: readonly GPUBuffer[]; lse: GPUBuffer }>();
  let bands = 1;
  let dropped: string | undefined;
  let scratch = storageBuffer(gpu, "denominators", 16);

  /** Layers that fit at this length; one that was given up has gaps, so it comes back only with an empty cache. */
  function choose(tokens: number, length: number): void {
    const layerBytes = tokens * rowBytes * bands;
    const fitting = tokens * rowBytes > limits.maxBindingBytes ? 0 : Math.floor(limits.tapBytes / layerBytes);
    if (length === 0) dropped = undefined;
    const most = length === 0 ? spec.layerCount : layers.length;
    layers = lastLayers(spec, Math.min(most, fitting));
    const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
    because =
      dropped ??
      (layers.length === spec.layerCount
        ? "all layers fit"
        : tokens * rowBytes > limits.maxBindingBytes
          ? `queries of one layer take ${mib(layerBytes)} MiB at ${tokens} tokens and the device binds ${mib(limits.maxBindingBytes)} MiB`
          : `queries of one layer take ${mib(layerBytes)} MiB at ${tokens} tokens and the attention tap may use ${mib(limits.tapBytes)} MiB`);
  }

  function release(): void {
    for (const { queries, lse } of kept.values()) for (const buffer of [...queries, lse]) buffer.destroy();
  }

  return {
    get layers() {
      return layers;
    },
    get because() {
      return because;
    },
    at(layer) {
      return kept.get(layer) ?? { queries: undefined, lse: scratch };
    },
    setBands(count, why) {
      release();
      kept = new Map();
      bands = count;
      layers = [];
      because = dropped = why;
      roomTokens = 0;
    },
    async reserve(tokens, length) {
      if (tokens === roomTokens && !(length === 0 && dropped !== undefined)) return false;
      choose(tokens, length);
      const old = kept;
      const oldScratch = scratch;
      [kept, scratch] = await allocated(
        gpu,
        () => {
          const make = (layer: number) => ({
            queries: Array.from({ length: bandsOf(layer) }, (_, band) =>
              storageBuffer(gpu, `queries ${layer} ${band}`, tokens * rowBytes),
            ),
            lse: storageBuffer(gpu, `denominators ${layer}`, tokens * spec.headCount * 4),
          });
          const made = new Map(layers.map((layer) => [layer, make(layer)]));
          return [made, storageBuffer(gpu, "denominators", tokens * spec.headCount * 4)];
        },
        () => new EngineError("kv-cache-too-large", `no memory for the queries of ${tokens} tokens`, "shorten the context"),
      );
      const encoder = gpu.device.createCommandEncoder();
      for (const [layer, { queries, lse }] of kept) {
        const source = old.get(layer);
        if (source === undefined) continue;
        for (const [band, from] of source.queries.entries()) {
          const into = queries[band];
          if (into !== undefined) encoder.copyBufferToBuffer(from, 0, into, 0, Math.min(from.size, length * rowBytes));
        }
        encoder.copyBufferToBuffer(source.lse, 0, lse, 0, Math.min(source.lse.size, length * spec.headCount * 4));
      }
      gpu.device.queue.submit([encoder.finish()]);
      for (const { queries, lse } of old.values()) for (const buffer of [...queries, lse]) buffer.destroy();
      oldScratch.destroy();
      roomTokens = tokens;
      return true;
    },
  };
}

function lastLayers(spec: DecoderSpec, count: number): number[] {
  return Array.from({ length: count }, (_, index) => spec.layerCount - count + index);
}
