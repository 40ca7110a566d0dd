import type { ModelSpec } from "../../../engine/api.ts";

/** A small decoder with plain RoPE over 64 dimensions, trained on 1024 tokens; tests change what they are about. */
export function modelSpec(change: Partial<ModelSpec> = {}): ModelSpec {
  return {
    modelType: "llama",
    vocabSize: 64,
    hiddenSize: 64,
    intermediateSize: 128,
    layerCount: 2,
    headCount: 1,
    kvHeadCount: 1,
    headDim: 64,
    rotaryDim: 64,
    rmsNormEps: 1e-6,
    maxPositionEmbeddings: 1024,
    ropeTheta: 10000,
    rope: { kind: "none" },
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
    ...change,
  };
}
