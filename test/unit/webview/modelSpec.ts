import type { DecoderSpec, MambaSpec } from "../../../engine/api.ts";

/** A small decoder with plain RoPE over 64 dimensions, trained on 1024 tokens; tests change what they are about. */
export function modelSpec(change: Partial<DecoderSpec> = {}): DecoderSpec {
  return {
    kind: "decoder",
    modelType: "llama",
    vocabSize: 64,
    hiddenSize: 64,
    intermediateSize: 128,
    layerCount: 2,
    headCount: 1,
    kvHeadCount: 1,
    headDim: 64,
    layers: [
      { window: undefined, rotation: "main" },
      { window: undefined, rotation: "main" },
    ],
    rotaryDim: 64,
    ropeTheta: 10000,
    rope: { kind: "none" },
    local: undefined,
    alibi: undefined,
    queryTemperature: undefined,
    norm: "rms",
    normBias: false,
    normOffset: 0,
    embeddingNorm: false,
    postNorms: false,
    residualAfterNorm: false,
    normEps: 1e-6,
    mlp: "gated",
    activation: "silu",
    attentionScale: 1 / 8,
    attentionSoftcap: undefined,
    finalSoftcap: undefined,
    qkvClip: undefined,
    maxPositionEmbeddings: 1024,
    tiedEmbeddings: true,
    embeddingMultiplier: 1,
    qkvBias: false,
    outBias: false,
    mlpBias: false,
    qkNorm: false,
    keyShift: false,
    bosTokenId: undefined,
    eosTokenIds: [1],
    absentTokenId: undefined,
    promptFormat: "plain",
    answerLines: "one",
    ...change,
  };
}

/** The same without any rotation: 12 heads with linear biases. */
export function alibiSpec(): DecoderSpec {
  return modelSpec({ modelType: "bloom", rotaryDim: 0, alibi: { maxBias: 8 }, headCount: 12, kvHeadCount: 12 });
}

/** A recurrent model of two layers with 64 × 16 numbers of state each, and three taps. */
export function mambaSpec(): MambaSpec {
  const { vocabSize, hiddenSize, layerCount, normEps, maxPositionEmbeddings, tiedEmbeddings, embeddingMultiplier } = modelSpec();
  const { bosTokenId, eosTokenIds, absentTokenId, promptFormat, answerLines } = modelSpec();
  return {
    ...{ vocabSize, hiddenSize, layerCount, normEps, maxPositionEmbeddings, tiedEmbeddings, embeddingMultiplier },
    ...{ bosTokenId, eosTokenIds, absentTokenId, promptFormat, answerLines },
    kind: "mamba",
    modelType: "mamba",
    innerSize: 64,
    stateSize: 16,
    convKernel: 4,
    timeStepRank: 2,
    projectionBias: false,
    convBias: true,
  };
}
