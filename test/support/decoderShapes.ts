/** Features of decoders as tests mix them: each exercises what a family does, several at once. */
import type { DecoderSpec } from "../../engine/api.ts";

export const keyShifted: Partial<DecoderSpec> = {
  headDim: 16,
  rotaryDim: 8,
  headCount: 4,
  kvHeadCount: 1,
  vocabSize: 37,
  qkNorm: true,
  keyShift: true,
  tiedEmbeddings: true,
  embeddingMultiplier: 4,
  hiddenSize: 64,
  intermediateSize: 96,
};

export const biased: Partial<DecoderSpec> = { headCount: 3, kvHeadCount: 3, qkvBias: true, outBias: true, mlpBias: true };

/** Windows that cut pages, a rotation of their own, sandwich norms, softcaps, wide heads: what Gemma does, and more at once. */
export const gemmaLike: Partial<DecoderSpec> = {
  headCount: 2,
  kvHeadCount: 1,
  headDim: 256,
  layers: [
    { window: 7, rotation: "local" },
    { window: undefined, rotation: "main" },
  ],
  local: { theta: 100, rotaryDim: 128, rope: { kind: "linear", factor: 2 } },
  normOffset: 1,
  postNorms: true,
  qkNorm: true,
  activation: "gelu_tanh",
  attentionScale: 0.11,
  attentionSoftcap: 4,
  finalSoftcap: 3,
};

export const bloomLike: Partial<DecoderSpec> = {
  headCount: 6,
  kvHeadCount: 6,
  rotaryDim: 0,
  layers: [
    { window: undefined, rotation: "none" },
    { window: 9, rotation: "none" },
  ],
  alibi: { maxBias: 8 },
  norm: "layer",
  normBias: true,
  embeddingNorm: true,
  mlp: "plain",
  activation: "gelu",
  qkvClip: 0.9,
  qkvBias: true,
  outBias: true,
  mlpBias: true,
};

export const mixedLayers: Partial<DecoderSpec> = {
  layerCount: 3,
  headDim: 80,
  rotaryDim: 40,
  layers: [
    { window: undefined, rotation: "main" },
    { window: 1, rotation: "main" },
    { window: undefined, rotation: "none" },
  ],
  queryTemperature: { beta: 0.5, length: 8 },
};

/** Every scheme that moves positions, small enough to matter within 45 tokens. */
export const reindexings = [
  { kind: "self_extend", group: 4, window: 9, logBase: 3 },
  { kind: "rerope", window: 6 },
  { kind: "rerope", window: 6, leak: 2.5 },
  { kind: "dual_chunk", chunkSize: 12, localSize: 3, originalContext: 16 },
] as const;
