/** The streaming forms of softmax attention that the kernels use, in plain loops: one query against blocks of keys. */

/** State after some blocks: running maximum, denominator and unnormalised output [D]. science: arXiv 1805.02867. */
export interface OnlineState {
  maximum: number;
  denominator: number;
  output: Float64Array;
}

/** Result of one block of keys alone: normalised output [D] and log-sum-exp of its scores. */
export interface Partial {
  output: Float64Array;
  logSumExp: number;
}

export function emptyState(width: number): OnlineState {
  return { maximum: -Infinity, denominator: 0, output: new Float64Array(width) };
}

/** The state after one more block: scores [n] (already scaled, -Infinity where masked), values [n, D]. A wholly masked block changes nothing. */
export function onlineStep(state: OnlineState, scores: ArrayLike<number>, values: ArrayLike<number>): OnlineState {
  let maximum = state.maximum;
  for (let key = 0; key < scores.length; key++) maximum = Math.max(maximum, scores[key]);
  if (maximum === -Infinity) return state;
  const carry = Math.exp(state.maximum - maximum);
  const width = state.output.length;
  const output = state.output.map((sum) => sum * carry);
  let denominator = state.denominator * carry;
  for (let key = 0; key < scores.length; key++) {
    const weight = Math.exp(scores[key] - maximum);
    denominator += weight;
    for (let i = 0; i < width; i++) output[i] += weight * values[key * width + i];
  }
  return { maximum, denominator, output };
}

/** A logit that takes part in the denominator only (an attention sink). */
export function withSink(state: OnlineState, sink: number): OnlineState {
  const width = state.output.length;
  return onlineStep(state, [sink], new Float64Array(width));
}

/** Output and log-sum-exp; zeros and -Infinity where no key was visible. */
export function finish(state: OnlineState): Partial {
  if (state.denominator === 0) return { output: new Float64Array(state.output.length), logSumExp: -Infinity };
  return { output: state.output.map((sum) => sum / state.denominator), logSumExp: state.maximum + Math.log(state.denominator) };
}

/** Partial results over disjoint keys as one (split-K): weights exp(lse - max lse); associative, and a part without keys weighs nothing. */
export function mergePartials(partials: readonly Partial[]): Partial {
  const largest = Math.max(...partials.map((partial) => partial.logSumExp));
  const output = new Float64Array(partials[0]?.output.length ?? 0);
  if (largest === -Infinity) return { output, logSumExp: -Infinity };
  let total = 0;
  for (const partial of partials) {
    const weight = Math.exp(partial.logSumExp - largest);
    total += weight;
    for (let i = 0; i < output.length; i++) output[i] += weight * partial.output[i];
  }
  return { output: output.map((sum) => sum / total), logSumExp: largest + Math.log(total) };
}
