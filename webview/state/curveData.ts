/** Wavelength per rotary pair, for the curve and its table; and the distances that re-indexing shows. Pure. */
import type { DecoderSpec, RopeScaling } from "../../engine/api.ts";
import { positionPlan } from "../../engine/position/bands.ts";
import { isReindexing, localTable, ownFrequencies, ropeBase, ropeTable, trainedLength } from "../../engine/position/scaling.ts";

export interface CurveData {
  /** Pair index 0 .. rotaryDim / 2 - 1, of whichever rotation has more. */
  pairs: number[];
  /** Tokens of one full turn of each pair under the model's own rotation; Infinity for a pair that never turns. */
  own: number[];
  /** The same under the chosen scaling, at the length asked for. */
  chosen: number[];
  /** The same in window layers, where they have a rotation of their own that no setting changes. */
  local: number[] | undefined;
  trainedTokens: number;
  promptTokens: number;
  attentionFactor: number;
  /** Pairs that make less than one turn in the trained length under the model's own rotation. */
  unfinishedPairs: number;
  /** Pairs that are not rotated at all under the chosen scaling. */
  stillPairs: number;
}

/** `lengthTokens` is the request the scaling is evaluated for: dynamic NTK and LongRoPE depend on it. Re-indexing leaves frequencies alone. */
export function curveData(spec: DecoderSpec, chosen: RopeScaling, lengthTokens: number): CurveData {
  const base = ropeBase(spec);
  const own = wavelengths(ropeTable(ownFrequencies(spec), base, spec.maxPositionEmbeddings).invFreq);
  const chosenTable = ropeTable(isReindexing(chosen) ? ownFrequencies(spec) : chosen, base, lengthTokens);
  const local = localTable(spec);
  const trainedTokens = trainedLength(spec);
  const count = Math.max(own.length, local?.invFreq.length ?? 0);
  return {
    pairs: Array.from({ length: count }, (_, pair) => pair),
    own,
    chosen: wavelengths(chosenTable.invFreq),
    local: local && wavelengths(local.invFreq),
    trainedTokens,
    promptTokens: lengthTokens,
    attentionFactor: chosenTable.attentionFactor,
    unfinishedPairs: own.filter((tokens) => tokens > trainedTokens && tokens < Infinity).length,
    stillPairs: chosenTable.invFreq.filter((frequency) => frequency === 0).length,
  };
}

/** A distance between two tokens, and the one that the model sees in its place. */
export interface ShownDistance {
  tokens: number;
  shown: number;
}

/** What the last token of a request sees of keys 1, 2, 4 … tokens back; undefined where every distance is itself. */
export function shownDistances(spec: DecoderSpec, chosen: RopeScaling, lengthTokens: number): ShownDistance[] | undefined {
  if (!isReindexing(chosen)) return undefined;
  const plan = positionPlan(chosen, spec, lengthTokens);
  const query = lengthTokens - 1;
  const shown = (distance: number): number => {
    const key = query - distance;
    const band = plan.bands.find((candidate) => candidate.keys(query)[0] <= key && key < candidate.keys(query)[1]);
    const copy = plan.copies[band?.copy ?? 0];
    return band === undefined || copy === undefined ? distance : band.queryPosition(query) - copy(key);
  };
  const distances: number[] = [];
  for (let distance = 1; distance < query; distance *= 2) distances.push(distance);
  return [...distances, query].map((tokens) => ({ tokens, shown: shown(tokens) }));
}

/** Tokens until each pair has turned once. */
function wavelengths(inverseFrequencies: Float64Array): number[] {
  return Array.from(inverseFrequencies, (frequency) => (2 * Math.PI) / frequency);
}
