/**
 * The recurrences in plain loops: the specification of their kernels, and what the WebAssembly backend runs. Every function goes on from
 * the state it is given and leaves the state behind its last token in it. T tokens of the call.
 */
import type { Reals } from "../position/rope.ts";
import { type Alloc, dot, sigmoid } from "./ops.ts";

/** ln(1 + e^x), without overflow. */
export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** Columns [from, to) of x [T, width]. */
export function columns(alloc: Alloc, x: Reals, width: number, from: number, to: number): Reals {
  const count = to - from;
  const y = alloc((x.length / width) * count);
  for (let start = 0; start < y.length; start += count) {
    const row = (start / count) * width + from;
    for (let i = 0; i < count; i++) y[start + i] = x[row + i];
  }
  return y;
}

/**
 * Causal depthwise convolution: y[t, c] = bias[c] + Σ_j weight[c, j] x[t - K + 1 + j, c]. x [T, C], weight [C, K], bias [C]; `tail`
 * [K - 1, C] holds the inputs before the first, oldest first.
 */
export function causalConv(alloc: Alloc, x: Reals, weight: Reals, bias: Reals | undefined, tail: Reals, channels: number): Reals {
  const taps = weight.length / channels;
  const before = taps - 1;
  const tokens = x.length / channels;
  const y = alloc(x.length);
  const input = (token: number, channel: number): number =>
    token < 0 ? tail[(before + token) * channels + channel] : x[token * channels + channel];
  for (let token = 0; token < tokens; token++) {
    for (let channel = 0; channel < channels; channel++) {
      let sum = bias?.[channel] ?? 0;
      for (let tap = 0; tap < taps; tap++) sum += weight[channel * taps + tap] * input(token - before + tap, channel);
      y[token * channels + channel] = sum;
    }
  }
  // Ascending, so that where a call is shorter than the tail, what moves is still the old one.
  for (let row = 0; row < before; row++) {
    for (let channel = 0; channel < channels; channel++) tail[row * channels + channel] = input(tokens - before + row, channel);
  }
  return y;
}

/** In place: x · sigmoid(x). */
export function siluInPlace(x: Reals): void {
  for (let i = 0; i < x.length; i++) x[i] = x[i] * sigmoid(x[i]);
}

/** Inputs of Mamba's scan over I channels of N states each. */
export interface SelectiveScan {
  /** [T, I], behind convolution and activation. */
  u: Reals;
  /** Time steps [T, I], behind the softplus. */
  step: Reals;
  /** [T, N] each. */
  b: Reals;
  c: Reals;
  /** A = -exp(decayLog), [I, N]. */
  decayLog: Reals;
  /** D [I]. */
  skip: Reals;
}

/**
 * S[i, n] <- exp(step_i A_in) S[i, n] + step_i b_n u_i; y_i = Σ_n S[i, n] c_n + D_i u_i -> [T, I]. State [I, N]. (arXiv 2312.00752:
 * the decay is the exact zero-order hold, the input its Euler step.)
 */
export function selectiveScan(alloc: Alloc, { u, step, b, c, decayLog, skip }: SelectiveScan, state: Reals): Reals {
  const channels = skip.length;
  const size = decayLog.length / channels;
  const decay = Float64Array.from(decayLog, (log) => -Math.exp(log));
  const y = alloc(u.length);
  for (let token = 0; token < u.length / channels; token++) {
    for (let channel = 0; channel < channels; channel++) {
      const at = token * channels + channel;
      let sum = skip[channel] * u[at];
      for (let n = 0; n < size; n++) {
        const cell = channel * size + n;
        state[cell] = Math.exp(step[at] * decay[cell]) * state[cell] + step[at] * b[token * size + n] * u[at];
        sum += state[cell] * c[token * size + n];
      }
      y[at] = sum;
    }
  }
  return y;
}

/** Inputs of Mamba-2's scan: H heads of width P in G groups of states of size N. */
export interface SsdScan {
  /** [T, H, P] */
  x: Reals;
  /** Time steps [T, H], behind softplus and clamp. */
  step: Reals;
  /** [T, G, N] each; the heads of a group are neighbours. */
  b: Reals;
  c: Reals;
  /** A = -exp(decayLog), [H]. */
  decayLog: Reals;
  /** D [H]. */
  skip: Reals;
}

export interface SsdShape {
  headCount: number;
  headDim: number;
  groupCount: number;
  stateSize: number;
}

/** S <- exp(step A) S + step x bᵀ; y = S c + D x -> [T, H, P], head by head. State [H, P, N]. (arXiv 2405.21060) */
export function ssdScan(alloc: Alloc, { x, step, b, c, decayLog, skip }: SsdScan, shape: SsdShape, state: Reals): Reals {
  const { headCount: H, headDim: P, groupCount: G, stateSize: N } = shape;
  const y = alloc(x.length);
  for (let token = 0; token < step.length / H; token++) {
    for (let head = 0; head < H; head++) {
      const group = (token * G + Math.floor((head * G) / H)) * N;
      const stepHere = step[token * H + head];
      const keep = Math.exp(-Math.exp(decayLog[head]) * stepHere);
      for (let p = 0; p < P; p++) {
        const at = (token * H + head) * P + p;
        const row = (head * P + p) * N;
        let sum = skip[head] * x[at];
        for (let n = 0; n < N; n++) {
          state[row + n] = keep * state[row + n] + stepHere * x[at] * b[group + n];
          sum += state[row + n] * c[group + n];
        }
        y[at] = sum;
      }
    }
  }
  return y;
}

/**
 * The same in chunks of Q tokens, as products of matrices. With s_i the sum of step A over the chunk's tokens up to i:
 * y_i = Σ_{j ≤ i} (c_i · b_j) exp(s_i - s_j) step_j x_j + exp(s_i) S c_i + D x_i, then S <- exp(s_Q) S + Σ_j exp(s_Q - s_j) step_j x_j b_jᵀ.
 * Only differences of sums are ever raised, because exp(-s_j) alone overflows.
 */
export function ssdChunked(alloc: Alloc, scan: SsdScan, shape: SsdShape, chunkTokens: number, state: Reals): Reals {
  const y = alloc(scan.x.length);
  const tokens = scan.step.length / shape.headCount;
  for (let start = 0; start < tokens; start += chunkTokens) {
    for (let head = 0; head < shape.headCount; head++) {
      ssdChunk(scan, shape, { head, start, end: Math.min(start + chunkTokens, tokens) }, state, y);
    }
  }
  return y;
}

function ssdChunk(
  { x, step, b, c, decayLog, skip }: SsdScan,
  { headCount: H, headDim: P, groupCount: G, stateSize: N }: SsdShape,
  { head, start, end }: { head: number; start: number; end: number },
  state: Reals,
  y: Reals,
): void {
  const group = (token: number): number => (token * G + Math.floor((head * G) / H)) * N;
  const sums = new Float64Array(end - start);
  let running = 0;
  for (let token = start; token < end; token++) {
    running -= Math.exp(decayLog[head]) * step[token * H + head];
    sums[token - start] = running;
  }
  for (let p = 0; p < P; p++) {
    const row = (head * P + p) * N;
    for (let i = start; i < end; i++) {
      const at = (i * H + head) * P + p;
      let sum = skip[head] * x[at] + Math.exp(sums[i - start]) * dot(c, group(i), state, row, N);
      for (let j = start; j <= i; j++) {
        const decay = Math.exp(sums[i - start] - sums[j - start]);
        sum += dot(c, group(i), b, group(j), N) * decay * step[j * H + head] * x[(j * H + head) * P + p];
      }
      y[at] = sum;
    }
    for (let n = 0; n < N; n++) {
      let value = Math.exp(running) * state[row + n];
      for (let j = start; j < end; j++) {
        const weight = Math.exp(running - sums[j - start]) * step[j * H + head];
        value += weight * x[(j * H + head) * P + p] * b[group(j) + n];
      }
      state[row + n] = value;
    }
  }
}

/** RMSNorm of y · silu(z) in groups of `groupWidth`, times the weight [width]: the gate comes first. y, z [T, width] -> like y. */
export function gatedRmsNorm(alloc: Alloc, y: Reals, z: Reals, weight: Reals, groupWidth: number, eps: number): Reals {
  const normed = alloc(y.length);
  for (let start = 0; start < y.length; start += groupWidth) {
    let squares = 0;
    for (let i = start; i < start + groupWidth; i++) {
      normed[i] = y[i] * z[i] * sigmoid(z[i]);
      squares += normed[i] ** 2;
    }
    const scale = 1 / Math.sqrt(squares / groupWidth + eps);
    for (let i = start; i < start + groupWidth; i++) normed[i] *= scale * weight[i % weight.length];
  }
  return normed;
}

/**
 * Token shift: x_t + (x_{t-1} - x_t) · mix. x [T, E], mix [E], `previous` [E] the row before the first -> [T, E]. The caller replaces
 * `previous` when everything that shifts has read it.
 */
export function tokenShift(alloc: Alloc, x: Reals, previous: Reals, mix: Reals): Reals {
  const width = mix.length;
  const y = alloc(x.length);
  for (let i = 0; i < x.length; i++) {
    const before = i < width ? previous[i] : x[i - width];
    y[i] = x[i] + (before - x[i]) * mix[i % width];
  }
  return y;
}

/** exp(-1/2): the smallest decay of RWKV-7 is exp of minus this. */
const DECAY_RATE = Math.exp(-0.5);

/** RWKV-7's decay exp(-e^-½ σ(x)) of raw values, in (0.5452, 1); the same as exp(-exp(-softplus(-x) - ½)). */
export function wkvDecay(raw: number): number {
  return Math.exp(-DECAY_RATE * sigmoid(raw));
}

/** Rows of `headDim` numbers divided by their length, at least 1e-12, in place. (flash-linear-attention with fuse_norm adds 1e-6 under the root.) */
export function normalizeHeads(x: Reals, headDim: number): void {
  for (let start = 0; start < x.length; start += headDim) {
    let squares = 0;
    for (let i = start; i < start + headDim; i++) squares += x[i] ** 2;
    const length = Math.max(Math.sqrt(squares), 1e-12);
    for (let i = start; i < start + headDim; i++) x[i] /= length;
  }
}

/** Inputs of RWKV-7's recurrence, each [T, H, P]. */
export interface Wkv {
  receptance: Reals;
  decay: Reals;
  key: Reals;
  value: Reals;
  /** κ, of length one per head: the key whose value is taken out. */
  removal: Reals;
  /** How much of it, in (0, 1). */
  rate: Reals;
}

/** S <- S diag(w) - (S κ)(κ · a)ᵀ + v kᵀ; y = S r -> [T, H, P], head by head. State [H, P values, P keys]. (arXiv 2503.14456) */
export function wkvScan(alloc: Alloc, wkv: Wkv, headCount: number, headDim: number, state: Reals): Reals {
  const { receptance, decay, key, value, removal, rate } = wkv;
  const y = alloc(value.length);
  for (let start = 0; start < value.length; start += headDim) {
    const head = (start / headDim) % headCount;
    for (let i = 0; i < headDim; i++) {
      const row = (head * headDim + i) * headDim;
      const removed = dot(state, row, removal, start, headDim);
      let sum = 0;
      for (let j = 0; j < headDim; j++) {
        const at = start + j;
        state[row + j] = state[row + j] * decay[at] - removed * removal[at] * rate[at] + value[start + i] * key[at];
        sum += state[row + j] * receptance[at];
      }
      y[start + i] = sum;
    }
  }
  return y;
}

/** LayerNorm of each head's P numbers, times weight [H, P] plus bias [H, P]. x [T, H, P] -> like x. */
export function headNorm(alloc: Alloc, x: Reals, weight: Reals, bias: Reals, headDim: number, eps: number): Reals {
  const y = alloc(x.length);
  for (let start = 0; start < x.length; start += headDim) {
    let mean = 0;
    for (let i = start; i < start + headDim; i++) mean += x[i] / headDim;
    let variance = 0;
    for (let i = start; i < start + headDim; i++) variance += (x[i] - mean) ** 2 / headDim;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = start; i < start + headDim; i++) {
      y[i] = (x[i] - mean) * scale * weight[i % weight.length] + bias[i % bias.length];
    }
  }
  return y;
}
