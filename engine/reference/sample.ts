/**
 * The choice of the next token. The kernels do the same, with the same uniform number, so that a run repeats on every backend:
 *
 * 1. Tokens outside `allowed` are removed before anything else. None left is an error.
 * 2. Temperature 0: the largest logit; among equals the lowest index.
 * 3. Otherwise weights w_i = exp((l_i - max l) / temperature), ordered by falling logit, equals by rising index.
 * 4. Nucleus: the shortest prefix of that order whose weights reach topP times the sum of all; at least one token.
 * 5. With u in [0, 1): the first token of the prefix whose running sum of weights exceeds u times the prefix's sum.
 */
import type { Sampling, TokenMask } from "../api.ts";
import { EngineError } from "../errors.ts";
import { checkMask } from "./checks.ts";

/** Index of the next token for logits [V]; `uniform` is in [0, 1) and is used only above temperature 0. */
export function sampleLogits(logits: Float32Array, sampling: Sampling, allowed: TokenMask | undefined, uniform: number): number {
  checkSampling(sampling);
  const candidates = allowedTokens(logits.length, allowed);
  if (sampling.temperature === 0)
    return candidates.reduce((best, token) => (logits[token] > logits[best] ? token : best), candidates[0]);

  candidates.sort((a, b) => logits[b] - logits[a] || a - b);
  const largest = logits[candidates[0]];
  const weights = Float64Array.from(candidates, (token) => Math.exp((logits[token] - largest) / sampling.temperature));
  const kept = nucleus(weights, sampling.topP);
  const target = uniform * sum(weights, kept);
  let running = 0;
  for (let rank = 0; rank < kept; rank++) {
    running += weights[rank];
    if (running > target) return candidates[rank];
  }
  return candidates[kept - 1];
}

/** The uniform number in [0, 1) of one position under one seed: an integer hash (lowbias32 twice), so that nothing needs a state. */
export function uniformAt(seed: number, position: number): number {
  return mix(mix(seed >>> 0) ^ (position >>> 0)) / 4294967296;
}

/** Throws `bad-argument` for a temperature or nucleus that cannot be sampled with. */
export function checkSampling(sampling: Sampling): void {
  const { temperature, topP, seed } = sampling;
  if (!Number.isFinite(temperature) || temperature < 0) {
    throw new EngineError(
      "bad-argument",
      `temperature ${temperature} is not a number of at least 0`,
      "use 0 for greedy, 0.7 for varied answers",
    );
  }
  if (!(topP > 0 && topP <= 1))
    throw new EngineError("bad-argument", `topP ${topP} is not in (0, 1]`, "use 1 to keep all tokens, or 0.9");
  if (!Number.isSafeInteger(seed))
    throw new EngineError("bad-argument", `seed ${seed} is not an integer`, "use any whole number");
}

/** True where bit `token` is set. */
export function isAllowed(mask: TokenMask, token: number): boolean {
  return ((mask[token >>> 5] >>> (token & 31)) & 1) === 1;
}

function allowedTokens(vocabSize: number, allowed: TokenMask | undefined): number[] {
  if (allowed !== undefined) checkMask(allowed, vocabSize);
  const tokens: number[] = [];
  for (let token = 0; token < vocabSize; token++) if (allowed === undefined || isAllowed(allowed, token)) tokens.push(token);
  return tokens;
}

/** How many of the falling weights it takes to reach topP of their sum. */
function nucleus(weights: Float64Array, topP: number): number {
  const wanted = topP * sum(weights, weights.length);
  let running = 0;
  for (let rank = 0; rank < weights.length; rank++) {
    running += weights[rank];
    if (running >= wanted) return rank + 1;
  }
  return weights.length;
}

function sum(values: Float64Array, count: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += values[i];
  return total;
}

function mix(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}
