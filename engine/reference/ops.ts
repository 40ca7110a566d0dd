/**
 * Every operation of the decoder in plain loops: the specification the kernels are compared with. Sums are float64; results are rounded to
 * the arrays they are stored in (f32, or float64 for checks at 1e-9).
 */
import type { DecoderSpec } from "../api.ts";
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

/** x / sqrt(mean x² + eps) · (offset + weight) over rows of weight.length -> like x. */
export function rmsNorm(alloc: Alloc, x: Reals, weight: Reals, eps: number, offset = 0): Reals {
  const width = weight.length;
  const y = alloc(x.length);
  for (let start = 0; start < x.length; start += width) {
    const scale = 1 / Math.sqrt(dot(x, start, x, start, width) / width + eps);
    for (let i = 0; i < width; i++) y[start + i] = x[start + i] * scale * (offset + weight[i]);
  }
  return y;
}

/** (x - mean) / sqrt(variance + eps) · weight + bias over rows of weight.length -> like x. */
export function layerNorm(alloc: Alloc, x: Reals, weight: Reals, bias: Reals | undefined, eps: number): Reals {
  const width = weight.length;
  const y = alloc(x.length);
  for (let start = 0; start < x.length; start += width) {
    let mean = 0;
    for (let i = 0; i < width; i++) mean += x[start + i] / width;
    let variance = 0;
    for (let i = 0; i < width; i++) variance += (x[start + i] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < width; i++) y[start + i] = (x[start + i] - mean) * scale * weight[i] + (bias?.[i] ?? 0);
  }
  return y;
}

/** The activation of an MLP. */
export function activate(kind: DecoderSpec["activation"], x: number): number {
  switch (kind) {
    case "silu":
      return x * sigmoid(x);
    case "gelu":
      return 0.5 * x * (1 + erf(x / Math.SQRT2));
    case "gelu_tanh":
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }
}

/** act(gate) · up elementwise; without a gate, act(up). */
export function gateMultiply(alloc: Alloc, kind: DecoderSpec["activation"], gate: Reals | undefined, up: Reals): Reals {
  const y = alloc(up.length);
  for (let i = 0; i < y.length; i++) y[i] = gate === undefined ? activate(kind, up[i]) : activate(kind, gate[i]) * up[i];
  return y;
}

/** In place: cap · tanh(x / cap). */
export function softcapInPlace(x: Reals, cap: number | undefined): void {
  if (cap !== undefined) for (let i = 0; i < x.length; i++) x[i] = cap * Math.tanh(x[i] / cap);
}

/** In place: x clamped to [-limit, limit]. */
export function clampInPlace(x: Reals, limit: number | undefined): void {
  if (limit !== undefined) for (let i = 0; i < x.length; i++) x[i] = Math.max(-limit, Math.min(limit, x[i]));
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

/** The same where the raw key in front of each one is given: raw and before [T, G, D]. */
export function keyMix(alloc: Alloc, raw: Reals, before: Reals, gate: Reals): Reals {
  const y = alloc(raw.length);
  for (let i = 0; i < raw.length; i++) {
    const g = sigmoid(gate[i % gate.length]);
    y[i] = (1 - g) * raw[i] + g * before[i];
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

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/**
 * The error function: its power series below 2.5, else the continued fraction of its complement (Abramowitz and Stegun 7.1.5 and 7.1.14);
 * both to within 1e-13.
 */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
      if (z === 0) break;
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-z * z) / (Math.sqrt(Math.PI) * fraction));
}

export function dot(a: Reals, aStart: number, b: Reals, bStart: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += a[aStart + i] * b[bStart + i];
  return sum;
}
