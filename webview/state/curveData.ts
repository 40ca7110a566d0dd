/** Wavelength per rotary pair, for the curve and its table. Pure. */
import type { ModelSpec, RopeScaling } from "../../engine/api.ts";
import { ropeBase, ropeTable } from "../../engine/position/scaling.ts";

export interface CurveData {
  /** Pair index 0 .. rotaryDim / 2 - 1. */
  pairs: number[];
  /** Tokens of one full turn of each pair under the model's own rotation. */
  own: number[];
  /** The same under the chosen scaling, at the length asked for. */
  chosen: number[];
  trainedTokens: number;
  promptTokens: number;
  attentionFactor: number;
  /** Pairs that make less than one turn in the trained length under the model's own rotation. */
  unfinishedPairs: number;
}

/** `lengthTokens` is the request the scaling is evaluated for: dynamic NTK and LongRoPE depend on it. */
export function curveData(spec: ModelSpec, chosen: RopeScaling, lengthTokens: number): CurveData {
  const base = ropeBase(spec);
  const ownTable = ropeTable(spec.rope, base, spec.maxPositionEmbeddings);
  const chosenTable = ropeTable(chosen, base, lengthTokens);
  const own = Array.from(ownTable.invFreq, wavelength);
  return {
    pairs: own.map((_, pair) => pair),
    own,
    chosen: Array.from(chosenTable.invFreq, wavelength),
    trainedTokens: spec.maxPositionEmbeddings,
    promptTokens: lengthTokens,
    attentionFactor: chosenTable.attentionFactor,
    unfinishedPairs: own.filter((tokens) => tokens > spec.maxPositionEmbeddings).length,
  };
}

/** Tokens until the pair has turned once. */
function wavelength(inverseFrequency: number): number {
  return (2 * Math.PI) / inverseFrequency;
}
