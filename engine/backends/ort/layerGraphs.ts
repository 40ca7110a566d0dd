/**
 * The decoder as ONNX graphs. C is the tokens of a chunk, n those of a block of cached keys, E hidden size, H query heads,
 * G KV heads, R = H / G, D head dimension, r rotary dimension. One layer is `project` (norm, q, k, v, rotation, attention
 * inside the chunk), any number of `attend` (one per block of older keys, the same graph for every layer), then `finish`
 * (output projection, MLP). Attention state is (normalised output, log-sum-exp), so that the order of blocks is free and
 * no buffer is larger than C x n per head.
 */
import type { ModelSpec } from "../../api.ts";
import { MICROSOFT_DOMAIN, type OnnxGraph } from "../../formats/onnxModel.ts";
import { Q8_BLOCK } from "../../formats/q8.ts";
import { GraphBuilder } from "./graphBuilder.ts";

/** A weight matrix [rows, columns] applied as x Wᵀ: f32, or blocks of 32 codes (unsigned, 128 is zero) with a scale each. */
export type LinearWeight =
  | { kind: "f32"; rows: number; columns: number; data: Float32Array<ArrayBuffer> }
  | {
      kind: "q8_0";
      rows: number;
      columns: number;
      /** [rows, columns / 32, 32] */
      codes: Uint8Array<ArrayBuffer>;
      /** [rows, columns / 32] */
      scales: Float32Array<ArrayBuffer>;
    };

export interface Linear {
  weight: LinearWeight;
  /** [rows] */
  bias?: Float32Array<ArrayBuffer>;
}

export interface ProjectWeights {
  norm: Float32Array<ArrayBuffer>;
  q: Linear;
  k: Linear;
  v: Linear;
  /** [D] each, where the model norms its queries and keys. */
  qNorm?: Float32Array<ArrayBuffer>;
  kNorm?: Float32Array<ArrayBuffer>;
  /** [G, D] before the sigmoid, where the model shifts its keys. */
  keyShift?: Float32Array<ArrayBuffer>;
}

export interface FinishWeights {
  out: Linear;
  norm: Float32Array<ArrayBuffer>;
  /** MLP matrices [F, E], [F, E], [E, F]. */
  gate: Linear;
  up: Linear;
  down: Linear;
}

/**
 * In: x [C, E], cos and sin [C, r/2], previousKey [1, G, D] (key shift only: the raw key before the chunk).
 * Out: q [H, C, D] rotated and divided by √D, k and v [G, C, D], rawKey [C, G, D] (key shift only), and the attention of the
 * chunk's queries on its own keys, o [H, C, D] and lse [H, C, 1].
 */
export function projectGraph(spec: ModelSpec, weights: ProjectWeights): OnnxGraph {
  const { headCount, kvHeadCount, headDim, rotaryDim, hiddenSize, rmsNormEps } = spec;
  const b = new GraphBuilder("project");
  const x = b.input("x", ["C", hiddenSize]);
  const cos = b.input("cos", ["C", rotaryDim / 2]);
  const sin = b.input("sin", ["C", rotaryDim / 2]);
  const normed = rmsNorm(b, x, weights.norm, rmsNormEps);

  const rotated = (heads: string) => rotateHalf(b, b.transpose(heads, 1, 0, 2), cos, sin, rotaryDim, headDim);
  let query = b.reshape(linear(b, normed, weights.q), 0, headCount, headDim);
  if (weights.qNorm) query = rmsNorm(b, query, weights.qNorm, rmsNormEps);
  const q = b.op("Mul", [rotated(query), b.scalar(1 / Math.sqrt(headDim))]);

  let key = b.reshape(linear(b, normed, weights.k), 0, kvHeadCount, headDim);
  if (weights.keyShift) {
    const previousKey = b.input("previousKey", [1, kvHeadCount, headDim]);
    b.output("rawKey", key, ["C", kvHeadCount, headDim]);
    key = shiftKeys(b, key, previousKey, weights.keyShift, [kvHeadCount, headDim]);
  }
  if (weights.kNorm) key = rmsNorm(b, key, weights.kNorm, rmsNormEps);
  const k = rotated(key);
  const v = b.transpose(b.reshape(linear(b, normed, weights.v), 0, kvHeadCount, headDim), 1, 0, 2);

  const chunk = b.op("Shape", [x], { start: { int: 0 }, end: { int: 1 } });
  const state = attention(b, spec, q, k, v, futureMask(b, chunk));
  b.output("q", q, [headCount, "C", headDim]);
  b.output("k", k, [kvHeadCount, "C", headDim]);
  b.output("v", v, [kvHeadCount, "C", headDim]);
  b.output("o", state.output, [headCount, "C", headDim]);
  b.output("lse", state.lse, [headCount, "C", 1]);
  return b.graph();
}

/** In: q [H, C, D], k and v [G, n, D], all older than the chunk, and the state o, lse so far. Out: the state with them, oNext and lseNext. */
export function attendGraph(spec: ModelSpec): OnnxGraph {
  const { headCount, kvHeadCount, headDim } = spec;
  const b = new GraphBuilder("attend");
  const q = b.input("q", [headCount, "C", headDim]);
  const k = b.input("k", [kvHeadCount, "n", headDim]);
  const v = b.input("v", [kvHeadCount, "n", headDim]);
  const o = b.input("o", [headCount, "C", headDim]);
  const lse = b.input("lse", [headCount, "C", 1]);
  const block = attention(b, spec, q, k, v, undefined);
  const top = b.op("Max", [lse, block.lse]);
  const oldShare = b.op("Exp", [b.op("Sub", [lse, top])]);
  const newShare = b.op("Exp", [b.op("Sub", [block.lse, top])]);
  const total = b.op("Add", [oldShare, newShare]);
  const mixed = b.op("Add", [b.op("Mul", [o, oldShare]), b.op("Mul", [block.output, newShare])]);
  b.output("oNext", b.op("Div", [mixed, total]), [headCount, "C", headDim]);
  b.output("lseNext", b.op("Add", [top, b.op("Log", [total])]), [headCount, "C", 1]);
  return b.graph();
}

/** In: x [C, E] as it entered the layer, o [H, C, D]. Out: y [C, E], the residual stream behind the layer. */
export function finishGraph(spec: ModelSpec, weights: FinishWeights): OnnxGraph {
  const { headCount, headDim, hiddenSize, rmsNormEps } = spec;
  const b = new GraphBuilder("finish");
  const x = b.input("x", ["C", hiddenSize]);
  const o = b.input("o", [headCount, "C", headDim]);
  const heads = b.reshape(b.transpose(o, 1, 0, 2), 0, headCount * headDim);
  const attended = b.op("Add", [x, linear(b, heads, weights.out)]);
  const normed = rmsNorm(b, attended, weights.norm, rmsNormEps);
  const gate = linear(b, normed, weights.gate);
  const gated = b.op("Mul", [b.op("Mul", [gate, b.op("Sigmoid", [gate])]), linear(b, normed, weights.up)]);
  b.output("y", b.op("Add", [attended, linear(b, gated, weights.down)]), ["C", hiddenSize]);
  return b.graph();
}

/** In: x [C, E] behind the last layer. Out: logits [C, rows] of the vocabulary slice that `head` holds. */
export function headGraph(spec: ModelSpec, norm: Float32Array<ArrayBuffer>, head: LinearWeight): OnnxGraph {
  const b = new GraphBuilder("head");
  const x = b.input("x", ["C", spec.hiddenSize]);
  b.output("logits", linear(b, rmsNorm(b, x, norm, spec.rmsNormEps), { weight: head }), ["C", head.rows]);
  return b.graph();
}

/**
 * In: q [g, m, D] (divided by √D), k [g, n, D], lse [g, m, 1]. Out: p [g, m, n], the softmax of each query over all its keys,
 * at these keys. The causal mask is the reader's: entries of keys behind their query mean nothing.
 */
export function probabilityGraph(spec: ModelSpec): OnnxGraph {
  const b = new GraphBuilder("probability");
  const q = b.input("q", ["g", "m", spec.headDim]);
  const k = b.input("k", ["g", "n", spec.headDim]);
  const lse = b.input("lse", ["g", "m", 1]);
  const scores = b.op("MatMul", [q, b.transpose(k, 0, 2, 1)]);
  b.output("p", b.op("Exp", [b.op("Sub", [scores, lse])]), ["g", "m", "n"]);
  return b.graph();
}

/** Softmax attention of q [H, C, D] on k, v [G, n, D]: output [H, C, D] and log-sum-exp [H, C, 1]; `mask` [C, n] is added to the scores. */
function attention(b: GraphBuilder, spec: ModelSpec, q: string, k: string, v: string, mask: string | undefined) {
  const { headCount, kvHeadCount, headDim } = spec;
  // The R query heads of a KV head lie side by side, so a group is one matrix of R·C rows.
  let scores = b.op("MatMul", [b.reshape(q, kvHeadCount, -1, headDim), b.transpose(k, 0, 2, 1)]);
  if (mask !== undefined) {
    const perHead = b.op("Add", [b.reshape(scores, headCount, -1, 0), mask]);
    scores = b.op("Reshape", [perHead, b.op("Shape", [scores])]);
  }
  const last = b.integers(-1);
  const top = b.op("ReduceMax", [scores, last]);
  const shares = b.op("Exp", [b.op("Sub", [scores, top])]);
  const total = b.op("ReduceSum", [shares, last]);
  const output = b.op("Div", [b.op("MatMul", [shares, v]), total]);
  const lse = b.op("Add", [top, b.op("Log", [total])]);
  return { output: b.reshape(output, headCount, -1, headDim), lse: b.reshape(lse, headCount, -1, 1) };
}

/** [C, C]: 0 where key <= query, -∞ above the diagonal. `chunk` is [C] as a vector of one integer. */
function futureMask(b: GraphBuilder, chunk: string): string {
  const value = { tensor: { name: "value", dims: [1], data: Float32Array.of(-Infinity) } };
  const full = b.op("ConstantOfShape", [b.concat(0, chunk, chunk)], { value });
  return b.op("Trilu", [full, b.constant([], BigInt64Array.of(1n))], { upper: { int: 1 } });
}

function rmsNorm(b: GraphBuilder, x: string, weight: Float32Array<ArrayBuffer>, eps: number): string {
  const meanSquare = b.op("ReduceMean", [b.op("Mul", [x, x]), b.integers(-1)]);
  const root = b.op("Sqrt", [b.op("Add", [meanSquare, b.scalar(eps)])]);
  return b.op("Mul", [b.op("Div", [x, root]), b.constant([weight.length], weight)]);
}

/** x Wᵀ + bias for x [C, columns]. */
function linear(b: GraphBuilder, x: string, { weight, bias }: Linear): string {
  const biasName = bias && b.constant([weight.rows], bias);
  if (weight.kind === "f32") {
    const inputs = [x, b.constant([weight.rows, weight.columns], weight.data), ...(biasName === undefined ? [] : [biasName])];
    return b.op("Gemm", inputs, { transB: { int: 1 } });
  }
  const blocks = weight.columns / Q8_BLOCK;
  const codes = b.constant([weight.rows, blocks, Q8_BLOCK], weight.codes);
  const scales = b.constant([weight.rows * blocks], weight.scales);
  const attributes = {
    K: { int: weight.columns },
    N: { int: weight.rows },
    bits: { int: 8 },
    block_size: { int: Q8_BLOCK },
  };
  const product = b.op("MatMulNBits", [x, codes, scales], attributes, MICROSOFT_DOMAIN);
  return biasName === undefined ? product : b.op("Add", [product, biasName]);
}

/** k_t <- (1-g) k_t + g k_{t-1} on raw keys [C, G, D], g = sigmoid(shift). */
function shiftKeys(b: GraphBuilder, key: string, previous: string, shift: Float32Array<ArrayBuffer>, dims: number[]): string {
  const gate = shift.map((value) => 1 / (1 + Math.exp(-value)));
  const before = b.concat(0, previous, b.slice(key, 0, 0, -1));
  const kept = b.op("Mul", [
    key,
    b.constant(
      dims,
      gate.map((value) => 1 - value),
    ),
  ]);
  return b.op("Add", [kept, b.op("Mul", [before, b.constant(dims, gate)])]);
}

/** RoPE in the rotate-half layout on the first r of D channels; x [heads, C, D], cos and sin [C, r/2]. */
function rotateHalf(b: GraphBuilder, x: string, cos: string, sin: string, rotaryDim: number, headDim: number): string {
  const half = rotaryDim / 2;
  const low = b.slice(x, 2, 0, half);
  const high = b.slice(x, 2, half, rotaryDim);
  const parts = [
    b.op("Sub", [b.op("Mul", [low, cos]), b.op("Mul", [high, sin])]),
    b.op("Add", [b.op("Mul", [high, cos]), b.op("Mul", [low, sin])]),
  ];
  if (rotaryDim < headDim) parts.push(b.slice(x, 2, rotaryDim, headDim));
  return b.concat(2, ...parts);
}
