/**
 * Every operation of the decoder in plain loops: the specification the kernels are compared with. Sums are float64; results are rounded to
 * the arrays they are stored in (f32, or float64 for checks at 1e-9).
 */
import type { Reals } from "../position/rope.ts";

/** Makes the arrays a forward pass works in. */
export type Alloc = (length: number) => Reals;

export const alloc32: Alloc = (length) => new Float32Array(length);
export const alloc64: Alloc = (length) => new Float64Array(length);

/** Rows of the table [V, E] for `ids`, times `multiplier` -> [T, E]. */
export function embed(alloc: Alloc, table: Reals, ids: ArrayLike<number>, width: number, multiplier: number): Reals {
  const x = alloc(ids.length * width);
  for (let token = 0; token < ids.length; token++) {
    const row = ids[token] * width;
    for (let i = 0; i < width; i++) x[token * width + i] = table[row + i] * multiplier;
  }
  return x;
}

/** x [T, in] times W [out, in] transposed, plus bias [out] -> [T, out]. */
export function linear(alloc: Alloc, x: Reals, weight: Reals, bias: Reals | undefined, inner: number): Reals {
  const tokens = x.length / inner;
  const outer = weight.length / inner;
  const y = alloc(tokens * outer);
  for (let token = 0; token < tokens; token++) {
    for (let row = 0; row < outer; row++) {
      y[token * outer + row] = dot(x, token * inner, weight, row * inner, inner) + (bias?.[row] ?? 0);
    }
  }
  return y;
}

/** x / sqrt(mean x² + eps) · weight over rows of weight.length -> like x. */
export function rmsNorm(alloc: Alloc, x: Reals, weight: Reals, eps: number): Reals {
  const width = weight.length;
  const y = alloc(x.length);
  for (let start = 0; start < x.length; start += width) {
    const scale = 1 / Math.sqrt(dot(x, start, x, start, width) / width + eps);
    for (let i = 0; i < width; i++) y[start + i] = x[start + i] * scale * weight[i];
  }
  return y;
}

/** silu(gate) · up, elementwise. */
export function siluMultiply(alloc: Alloc, gate: Reals, up: Reals): Reals {
  const y = alloc(gate.length);
  for (let i = 0; i < y.length; i++) y[i] = gate[i] * sigmoid(gate[i]) * up[i];
  return y;
}

/** x += y. */
export function addInPlace(x: Reals, y: Reals): void {
  for (let i = 0; i < x.length; i++) x[i] = x[i] + y[i];
}

/**
 * Key shift: k_t <- (1 - g) k_t + g k_{t-1}, g = sigmoid(gate) per KV head and channel. raw [T, G·D], previous [G·D] the raw key before
 * the first (zeros at position 0), gate [G·D] before the sigmoid -> [T, G·D].
 */
export function keyShift(alloc: Alloc, raw: Reals, previous: Reals, gate: Reals): Reals {
  const width = gate.length;
  const y = alloc(raw.length);
  for (let i = 0; i < raw.length; i++) {
    const before = i < width ? previous[i] : raw[i - width];
    const g = sigmoid(gate[i % width]);
    y[i] = (1 - g) * raw[i] + g * before;
  }
  return y;
}

/** In place over [start, start + count): exp(x - max) / sum. */
export function softmax(x: Reals, start = 0, count = x.length): void {
  let largest = -Infinity;
  for (let i = start; i < start + count; i++) largest = Math.max(largest, x[i]);
  let sum = 0;
  for (let i = start; i < start + count; i++) sum += Math.exp(x[i] - largest);
  for (let i = start; i < start + count; i++) x[i] = Math.exp(x[i] - largest) / sum;
}

/** Heads of an attention: H query heads in groups of H / G share one of G key and value heads. */
export interface Heads {
  headCount: number;
  kvHeadCount: number;
  headDim: number;
}

/**
 * Causal attention with grouped heads: q [T, H, D] at positions start .. start + T - 1 against k, v [S, G, D] -> [T, H, D].
 * Scale is D^-1/2; query head h reads KV head floor(h G / H); only keys up to the query's own position are touched.
 */
export function attention(alloc: Alloc, q: Reals, k: Reals, v: Reals, heads: Heads, start: number): Reals {
  const { headCount, kvHeadCount, headDim } = heads;
  const out = alloc(q.length);
  const tokens = q.length / (headCount * headDim);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < headCount; head++) {
      const weights = attentionRow(q, k, heads, token, head, start + token);
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

/** Softmax weights [position + 1] of one query (row `token` of q) of one head over the keys it sees, in float64. */
export function attentionRow(q: Reals, k: Reals, heads: Heads, token: number, head: number, position: number): Float64Array {
  const { headCount, kvHeadCount, headDim } = heads;
  const kvHead = Math.floor((head * kvHeadCount) / headCount);
  const row = new Float64Array(position + 1);
  const scale = 1 / Math.sqrt(headDim);
  const query = (token * headCount + head) * headDim;
  for (let key = 0; key <= position; key++) row[key] = dot(q, query, k, (key * kvHeadCount + kvHead) * headDim, headDim) * scale;
  softmax(row);
  return row;
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function dot(a: Reals, aStart: number, b: Reals, bStart: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += a[aStart + i] * b[bStart + i];
  return sum;
}
