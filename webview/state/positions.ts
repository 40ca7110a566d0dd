/** Where positions come from in models that do not rotate: ALiBi's slopes, or a recurrence and its state. Pure. */
import type { DecoderSpec, ModelSpec, RecurrentSpec } from "../../engine/api.ts";
import { alibiSlopes } from "../../engine/position/alibi.ts";

/** What tells a model where tokens stand; RoPE before one is open. */
export function positionOrigin(spec: ModelSpec | undefined): "RoPE" | "ALiBi" | "recurrence" {
  if (spec === undefined) return "RoPE";
  if (spec.kind !== "decoder") return "recurrence";
  return spec.alibi === undefined ? "RoPE" : "ALiBi";
}

export interface SlopeRow {
  head: number;
  /** What a score loses per token of distance. */
  slope: number;
  /** Distance at which the bias alone halves a weight. */
  halvingTokens: number;
}

/** One row per head; empty where the model has no linear biases. */
export function slopeRows({ headCount, alibi }: DecoderSpec): SlopeRow[] {
  if (alibi === undefined) return [];
  return Array.from(alibiSlopes(headCount, alibi.maxBias), (slope, head) => ({ head, slope, halvingTokens: Math.LN2 / slope }));
}

/** Numbers that a recurrent model carries from token to token, of all layers. */
export function stateNumbers(spec: RecurrentSpec): number {
  return spec.layerCount * layerNumbers(spec);
}

/** The state itself, and the last inputs that a short convolution or a token shift still reads. */
function layerNumbers(spec: RecurrentSpec): number {
  switch (spec.kind) {
    case "mamba":
      return spec.innerSize * (spec.stateSize + spec.convKernel - 1);
    case "mamba2": {
      const inner = spec.headCount * spec.headDim;
      return inner * spec.stateSize + (inner + 2 * spec.groupCount * spec.stateSize) * (spec.convKernel - 1);
    }
    case "rwkv7":
      return spec.headCount * spec.headDim ** 2 + 2 * spec.hiddenSize;
  }
}
