/**
 * The decoder as ONNX graphs. C is the tokens of a chunk, n those of a block of cached keys, E hidden size, H query heads,
 * G KV heads, R = H / G, D head dimension. One layer is `project` (norm, q, k, v), any number of `attend` (one per block of keys, the same
 * graph for every layer), then `finish` (output projection, MLP); rotation is done between them. Attention state is (normalised output,
 * log-sum-exp), so that the order of blocks is free and no buffer is larger than C x n per head.
 */
import type { DecoderSpec } from "../../api.ts";
import { MICROSOFT_DOMAIN, type OnnxGraph } from "../../formats/onnxModel.ts";
import { alibiSlopes } from "../../position/alibi.ts";
import { bitsOf, BLOCK, type BlockWeight } from "./blockWeights.ts";
import { GraphBuilder } from "./graphBuilder.ts";

/** A weight matrix [rows, columns] applied as x Wᵀ: f32, or blocks of 32 codes with a scale each. */
export type LinearWeight = { kind: "f32"; rows: number; columns: number; data: Float32Array<ArrayBuffer> } | BlockWeight;

export interface Linear {
  weight: LinearWeight;
  /** [rows] */
  bias?: Float32Array<ArrayBuffer>;
}

/** Weight (the family's offset in it) and bias [E] of a norm. */
export interface Norm {
  weight: Float32Array<ArrayBuffer>;
  bias?: Float32Array<ArrayBuffer>;
}

export interface ProjectWeights {
  norm: Norm;
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
  attentionPostNorm?: Norm;
  norm: Norm;
  /** MLP matrices [F, E], [F, E], [E, F]; a plain MLP has no gate. */
  gate?: Linear;
  up: Linear;
  down: Linear;
  mlpPostNorm?: Norm;
}

/** A score that is as good as -∞ and stays a number when it is added to another. */
export const MASKED = -1e30;

/**
 * In: x [C, E], previousKey [1, G, D] (key shift only: the raw key before the chunk).
 * Out: q [C, H, D], k and v [C, G, D] before rotation, rawKey [C, G, D] (key shift only), normed [C, E] (only where the residual is that).
 */
export function projectGraph(spec: DecoderSpec, weights: ProjectWeights): OnnxGraph {
  const { headCount, kvHeadCount, headDim, hiddenSize, normEps, qkvClip } = spec;
  const b = new GraphBuilder("project");
  const normed = norm(b, spec, b.input("x", ["C", hiddenSize]), weights.norm);
  const clipped = (value: string): string =>
    qkvClip === undefined ? value : b.op("Clip", [value, b.scalar(-qkvClip), b.scalar(qkvClip)]);
  const heads = (matrix: Linear, count: number): string => b.reshape(clipped(linear(b, normed, matrix)), 0, count, headDim);

  let query = heads(weights.q, headCount);
  if (weights.qNorm) query = rmsNorm(b, query, weights.qNorm, normEps);
  let key = heads(weights.k, kvHeadCount);
  if (weights.keyShift) {
    const previousKey = b.input("previousKey", [1, kvHeadCount, headDim]);
    b.output("rawKey", key, ["C", kvHeadCount, headDim]);
    key = shiftKeys(b, key, previousKey, weights.keyShift, [kvHeadCount, headDim]);
  }
  if (weights.kNorm) key = rmsNorm(b, key, weights.kNorm, normEps);
  if (spec.residualAfterNorm) b.output("normed", normed, ["C", hiddenSize]);
  b.output("q", query, ["C", headCount, headDim]);
  b.output("k", key, ["C", kvHeadCount, headDim]);
  b.output("v", heads(weights.v, kvHeadCount), ["C", kvHeadCount, headDim]);
  return b.graph();
}

/**
 * In: q [H, C, D] (rotated and scaled), k and v [G, n, D], the state o [H, C, D], lse [H, C, 1] so far; distance [C, n] (ALiBi only: query
 * minus key position) and, where `isMasked`, mask [C, n] of 0 and MASKED. Out: the state with these keys, oNext and lseNext.
 */
export function attendGraph(spec: DecoderSpec, isMasked: boolean): OnnxGraph {
  const { headCount, kvHeadCount, headDim, attentionSoftcap, alibi } = spec;
  const b = new GraphBuilder(isMasked ? "attend masked" : "attend");
  const q = b.input("q", [headCount, "C", headDim]);
  const k = b.input("k", [kvHeadCount, "n", headDim]);
  const v = b.input("v", [kvHeadCount, "n", headDim]);
  const o = b.input("o", [headCount, "C", headDim]);
  const lse = b.input("lse", [headCount, "C", 1]);
  // The R query heads of a KV head lie side by side, so a group is one matrix of R·C rows.
  let scores = b.op("MatMul", [b.reshape(q, kvHeadCount, -1, headDim), b.transpose(k, 0, 2, 1)]);
  scores = softcap(b, scores, attentionSoftcap);
  if (isMasked || alibi !== undefined) {
    let perHead = b.reshape(scores, headCount, -1, 0);
    if (alibi !== undefined) {
      const slopes = b.constant([headCount, 1, 1], Float32Array.from(alibiSlopes(headCount, alibi.maxBias)));
      perHead = b.op("Sub", [perHead, b.op("Mul", [slopes, b.input("distance", ["C", "n"])])]);
    }
    if (isMasked) perHead = b.op("Add", [perHead, b.input("mask", ["C", "n"])]);
    scores = b.op("Reshape", [perHead, b.op("Shape", [scores])]);
  }
  const last = b.integers(-1);
  const largest = b.op("ReduceMax", [scores, last]);
  const shares = b.op("Exp", [b.op("Sub", [scores, largest])]);
  const sum = b.op("ReduceSum", [shares, last]);
  const output = b.reshape(b.op("Div", [b.op("MatMul", [shares, v]), sum]), headCount, -1, headDim);
  const blockLse = b.reshape(b.op("Add", [largest, b.op("Log", [sum])]), headCount, -1, 1);

  const top = b.op("Max", [lse, blockLse]);
  const oldShare = b.op("Exp", [b.op("Sub", [lse, top])]);
  const newShare = b.op("Exp", [b.op("Sub", [blockLse, top])]);
  const total = b.op("Add", [oldShare, newShare]);
  const mixed = b.op("Add", [b.op("Mul", [o, oldShare]), b.op("Mul", [output, newShare])]);
  b.output("oNext", b.op("Div", [mixed, total]), [headCount, "C", headDim]);
  b.output("lseNext", b.op("Add", [top, b.op("Log", [total])]), [headCount, "C", 1]);
  return b.graph();
}

/** In: x [C, E], the residual as attention is added to it, o [H, C, D]. Out: y [C, E], the residual stream behind the layer. */
export function finishGraph(spec: DecoderSpec, weights: FinishWeights): OnnxGraph {
  const { headCount, headDim, hiddenSize } = spec;
  const b = new GraphBuilder("finish");
  const x = b.input("x", ["C", hiddenSize]);
  const o = b.input("o", [headCount, "C", headDim]);
  const heads = b.reshape(b.transpose(o, 1, 0, 2), 0, headCount * headDim);
  const postNormed = (value: string, weight: Norm | undefined): string => (weight ? norm(b, spec, value, weight) : value);
  const attended = b.op("Add", [x, postNormed(linear(b, heads, weights.out), weights.attentionPostNorm)]);
  const normed = norm(b, spec, attended, weights.norm);
  const up = linear(b, normed, weights.up);
  const active = weights.gate ? b.op("Mul", [activation(b, spec, linear(b, normed, weights.gate)), up]) : activation(b, spec, up);
  const mlp = postNormed(linear(b, active, weights.down), weights.mlpPostNorm);
  b.output("y", b.op("Add", [spec.residualAfterNorm ? normed : attended, mlp]), ["C", hiddenSize]);
  return b.graph();
}

/** In: x [C, E] behind the last layer. Out: logits [C, rows] of the vocabulary slice that `head` holds. */
export function headGraph(spec: DecoderSpec, finalNorm: Norm, head: LinearWeight): OnnxGraph {
  const b = new GraphBuilder("head");
  const x = b.input("x", ["C", spec.hiddenSize]);
  const logits = linear(b, norm(b, spec, x, finalNorm), { weight: head });
  b.output("logits", softcap(b, logits, spec.finalSoftcap), ["C", head.rows]);
  return b.graph();
}

/**
 * In: q [g, m, D] (rotated and scaled), k [g, n, D], lse [g, m, 1], bias [g, m, n] (ALiBi only: what scores lose). Out: p [g, m, n], the
 * softmax of each query over all its keys, at these keys. The mask is the reader's: entries of keys it does not see mean nothing.
 */
export function probabilityGraph(spec: DecoderSpec): OnnxGraph {
  const b = new GraphBuilder("probability");
  const q = b.input("q", ["g", "m", spec.headDim]);
  const k = b.input("k", ["g", "n", spec.headDim]);
  const lse = b.input("lse", ["g", "m", 1]);
  let scores = softcap(b, b.op("MatMul", [q, b.transpose(k, 0, 2, 1)]), spec.attentionSoftcap);
  if (spec.alibi !== undefined) scores = b.op("Sub", [scores, b.input("bias", ["g", "m", "n"])]);
  b.output("p", b.op("Exp", [b.op("Sub", [scores, lse])]), ["g", "m", "n"]);
  return b.graph();
}

function softcap(b: GraphBuilder, value: string, cap: number | undefined): string {
  if (cap === undefined) return value;
  return b.op("Mul", [b.op("Tanh", [b.op("Div", [value, b.scalar(cap)])]), b.scalar(cap)]);
}

function activation(b: GraphBuilder, spec: DecoderSpec, x: string): string {
  switch (spec.activation) {
    case "silu":
      return b.op("Mul", [x, b.op("Sigmoid", [x])]);
    case "gelu":
      return halved(b, x, b.op("Erf", [b.op("Mul", [x, b.scalar(Math.SQRT1_2)])]));
    case "gelu_tanh": {
      const cube = b.op("Mul", [b.op("Mul", [x, x]), b.op("Mul", [x, b.scalar(0.044715)])]);
      return halved(b, x, b.op("Tanh", [b.op("Mul", [b.op("Add", [x, cube]), b.scalar(Math.sqrt(2 / Math.PI))])]));
    }
  }
}

/** x (1 + y) / 2 */
function halved(b: GraphBuilder, x: string, y: string): string {
  return b.op("Mul", [b.op("Mul", [x, b.scalar(0.5)]), b.op("Add", [y, b.scalar(1)])]);
}

function norm(b: GraphBuilder, spec: DecoderSpec, x: string, { weight, bias }: Norm): string {
  if (spec.norm === "rms") return rmsNorm(b, x, weight, spec.normEps);
  const inputs = [x, b.constant([weight.length], weight), ...(bias ? [b.constant([bias.length], bias)] : [])];
  return b.op("LayerNormalization", inputs, { epsilon: { float: spec.normEps } });
}

export function rmsNorm(b: GraphBuilder, x: string, weight: Float32Array<ArrayBuffer>, eps: number): string {
  const meanSquare = b.op("ReduceMean", [b.op("Mul", [x, x]), b.integers(-1)]);
  const root = b.op("Sqrt", [b.op("Add", [meanSquare, b.scalar(eps)])]);
  return b.op("Mul", [b.op("Div", [x, root]), b.constant([weight.length], weight)]);
}

/** x Wᵀ + bias for x [C, columns]. */
export function linear(b: GraphBuilder, x: string, { weight, bias }: Linear): string {
  const biasName = bias && b.constant([weight.rows], bias);
  if (weight.kind === "f32") {
    const inputs = [x, b.constant([weight.rows, weight.columns], weight.data), ...(biasName === undefined ? [] : [biasName])];
    return b.op("Gemm", inputs, { transB: { int: 1 } });
  }
  const blocks = weight.columns / BLOCK;
  const bits = bitsOf[weight.kind];
  const codes = b.constant([weight.rows, blocks, 4 * bits], weight.codes);
  const scales = b.constant([weight.rows * blocks], weight.scales);
  const attributes = {
    K: { int: weight.columns },
    N: { int: weight.rows },
    bits: { int: bits },
    block_size: { int: BLOCK },
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
