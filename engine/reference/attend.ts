/** Softmax attention in plain loops, with everything a decoder may want of it: bands, windows, patterns, softcap and ALiBi. */
import type { Band, DecoderSpec } from "../api.ts";
import type { Pattern } from "../attention/api.ts";
import { alibiSlopes } from "../position/alibi.ts";
import type { Reals } from "../position/rope.ts";
import { dot, softmax, type Alloc } from "./ops.ts";
import { visibleKeys } from "./pattern.ts";

/** What a layer scores: queries [T, H, D] rotated for each band, keys [S, G, D] of each copy, and which keys belong to which band. */
export interface ScoredLayer {
  queries: readonly Reals[];
  keys: readonly Reals[];
  bands: readonly Band[];
  /** What leaves out keys of the bands, for the query at a position; absent or undefined leaves out none. */
  patternAt?: (position: number) => Pattern | undefined;
}

export type AttentionSpec = Pick<
  DecoderSpec,
  "headCount" | "kvHeadCount" | "headDim" | "attentionScale" | "attentionSoftcap" | "alibi"
>;

/**
 * Causal attention with grouped heads: the queries at positions start .. start + T - 1 against keys and values v [S, G, D] -> [T, H, D].
 * Query head h reads KV head floor(h G / H); a key outside the query's bands, or left out by the pattern, is never touched.
 */
export function attention(alloc: Alloc, layer: ScoredLayer, v: Reals, spec: AttentionSpec, start: number): Reals {
  const { headCount, kvHeadCount, headDim } = spec;
  const tokens = (layer.queries[0]?.length ?? 0) / (headCount * headDim);
  const out = alloc(tokens * headCount * headDim);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < headCount; head++) {
      const weights = attentionRow(layer, spec, token, head, start + token);
      const kvHead = Math.floor((head * kvHeadCount) / headCount);
      const target = (token * headCount + head) * headDim;
      for (let i = 0; i < headDim; i++) {
        let sum = 0;
        for (let key = 0; key < weights.length; key++) sum += weights[key] * v[(key * kvHeadCount + kvHead) * headDim + i];
        out[target + i] = sum;
      }
    }
  }
  return out;
}

/** Softmax weights [position + 1] of one query (row `token`) of one head, in float64; 0 for keys that it does not see. */
export function attentionRow(
  layer: ScoredLayer,
  spec: AttentionSpec,
  token: number,
  head: number,
  position: number,
): Float64Array {
  const { headCount, kvHeadCount, headDim, attentionScale, attentionSoftcap, alibi } = spec;
  const kvHead = Math.floor((head * kvHeadCount) / headCount);
  const slope = alibi === undefined ? 0 : alibiSlopes(headCount, alibi.maxBias)[head];
  const row = new Float64Array(position + 1).fill(-Infinity);
  const query = (token * headCount + head) * headDim;
  const pattern = layer.patternAt?.(position);
  const isVisible = pattern === undefined ? undefined : visibleKeys(pattern, head, position);
  for (const [index, band] of layer.bands.entries()) {
    const queries = layer.queries[index];
    const keys = layer.keys[band.copy];
    if (queries === undefined || keys === undefined) throw new RangeError(`band ${index} has no queries or keys`);
    const [from, to] = band.keys(position);
    // Models with linear biases have one copy of their keys, which stand at their own positions.
    const distanceFrom = band.queryPosition(position);
    for (let key = from; key < to; key++) {
      if (isVisible?.(key) === false) continue;
      let score = dot(queries, query, keys, (key * kvHeadCount + kvHead) * headDim, headDim) * attentionScale;
      if (attentionSoftcap !== undefined) score = attentionSoftcap * Math.tanh(score / attentionSoftcap);
      row[key] = score - slope * (distanceFrom - key);
    }
  }
  softmax(row);
  return row;
}
