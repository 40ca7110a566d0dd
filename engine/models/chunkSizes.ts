/** Bytes of the buffers that a chunk of a transformer goes through: what the device allocates and the planner counts. Pure. */
import type { DecoderSpec } from "../api.ts";

/** Buffers of Activations in decoder.ts, by their names there, for chunks of at most `maxTokens` tokens. */
export interface ChunkSizes {
  maxTokens: number;
  bytes: Readonly<
    Record<"ids" | "x" | "normed" | "projected" | "qkv" | "attended" | "gateUp" | "active" | "state" | "logits", number>
  >;
}

/** Chunks of at most `wantedTokens`, fewer where a row is so wide that the device cannot bind that many. */
export function chunkSizes(spec: DecoderSpec, maxBufferBytes: number, wantedTokens: number): ChunkSizes {
  const { headCount: H, kvHeadCount: G, headDim: D, hiddenSize: E, intermediateSize: F, vocabSize: V } = spec;
  const gateWidth = spec.mlp === "gated" ? 2 * F : F;
  const widest = 4 * Math.max((H + 2 * G) * D, gateWidth, E);
  const maxTokens = Math.max(1, Math.min(wantedTokens, Math.floor(maxBufferBytes / widest)));
  const rows = (width: number, count = maxTokens): number => count * width * 4;
  const bytes = {
    ids: rows(1),
    x: rows(E),
    normed: rows(E),
    projected: rows(spec.postNorms ? E : 1),
    qkv: rows((H + 2 * G) * D),
    attended: rows(H * D),
    gateUp: rows(gateWidth),
    active: rows(F),
    state: rows(E, 1),
    logits: rows(V, 1),
  };
  return { maxTokens, bytes };
}

/** Tokens of a chunk at most. */
export const MAX_CHUNK_TOKENS = 512;
/** Most key ranges of one decoded token. */
export const MAX_SPLITS = 64;

/** Bytes of the buffers of AttentionActivations in decoder.ts: each band's `rotated`, each of two `lse`, and the parts of a decoded token. */
export function attentionSizes(
  { headCount: H, kvHeadCount: G, headDim: D }: DecoderSpec,
  maxTokens: number,
): Readonly<Record<"rotated" | "lse" | "partOut" | "partLse", number>> {
  return {
    rotated: maxTokens * (H + G) * D * 4,
    lse: maxTokens * H * 4,
    partOut: MAX_SPLITS * H * D * 4,
    partLse: MAX_SPLITS * H * 4,
  };
}
