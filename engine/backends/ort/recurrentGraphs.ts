/**
 * The products of recurrent models as ONNX graphs; what goes from token to token is done between them, in plain loops. C tokens of the
 * chunk, E hidden size, I inner width, other letters as in reference/.
 */
import type { Mamba2Spec, MambaSpec, RecurrentSpec, Rwkv7Spec } from "../../api.ts";
import type { OnnxGraph } from "../../formats/onnxModel.ts";
import { convWidth, type Mix } from "../../recurrent/weights.ts";
import { GraphBuilder } from "./graphBuilder.ts";
import { linear, rmsNorm, type Linear, type LinearWeight, type Norm } from "./layerGraphs.ts";

type Vector = Float32Array<ArrayBuffer>;

/** In: x [C, E]. Out: rows [C, width], the input projection of the normed x. */
export function inGraph(spec: MambaSpec | Mamba2Spec, norm: Vector, projection: Linear): OnnxGraph {
  const b = new GraphBuilder("in");
  const normed = rmsNorm(b, b.input("x", ["C", spec.hiddenSize]), norm, spec.normEps);
  const width =
    spec.kind === "mamba" ? 2 * spec.innerSize : 2 * innerWidth(spec) + (convWidth(spec) - innerWidth(spec)) + spec.headCount;
  b.output("rows", linear(b, normed, projection), ["C", width]);
  return b.graph();
}

/** In: u [C, I] behind the convolution. Out: step [C, I] before its softplus, b and c [C, N]. */
export function selectGraph(spec: MambaSpec, selection: LinearWeight, timeStep: Linear): OnnxGraph {
  const { innerSize: I, timeStepRank: R, stateSize: N } = spec;
  const b = new GraphBuilder("select");
  const selected = linear(b, b.input("u", ["C", I]), { weight: selection });
  b.output("step", linear(b, b.slice(selected, 1, 0, R), timeStep), ["C", I]);
  b.output("b", b.slice(selected, 1, R, R + N), ["C", N]);
  b.output("c", b.slice(selected, 1, R + N, R + 2 * N), ["C", N]);
  return b.graph();
}

/** In: x [C, E] as it entered the layer, y [C, I]. Out: next [C, E] = x + the output projection of y. */
export function outGraph(spec: MambaSpec | Mamba2Spec, projection: Linear): OnnxGraph {
  const b = new GraphBuilder("out");
  const x = b.input("x", ["C", spec.hiddenSize]);
  const y = b.input("y", ["C", innerWidth(spec)]);
  b.output("next", b.op("Add", [x, linear(b, y, projection)]), ["C", spec.hiddenSize]);
  return b.graph();
}

export interface LowRankWeights {
  down: LinearWeight;
  up: Linear;
}

export interface TimeMixWeights {
  norm: Norm;
  mixes: Readonly<Record<Mix, Vector>>;
  receptance: LinearWeight;
  key: LinearWeight;
  value: LinearWeight;
  decay: LowRankWeights;
  rate: LowRankWeights;
  valueMix?: LowRankWeights;
  gate: LowRankWeights;
}

/**
 * In: x [C, E], previous [1, E]: the normed input of the token before. Out: normed [C, E], and what the recurrence starts from, each
 * [C, E]: receptance, key, value, gate; decay and rate before their sigmoid; share (not of layer 0), behind it.
 */
export function timeMixGraph(spec: Rwkv7Spec, weights: TimeMixWeights): OnnxGraph {
  const E = spec.hiddenSize;
  const b = new GraphBuilder("time mix");
  const normed = layerNorm(b, spec, b.input("x", ["C", E]), weights.norm);
  const shift = shiftOf(b, normed, b.input("previous", [1, E]));
  const mixed = (mix: Mix): string => shifted(b, normed, shift, weights.mixes[mix]);
  const out = (name: string, value: string): void => b.output(name, value, ["C", E]);
  const product = (x: string, weight: LinearWeight): string => linear(b, x, { weight });
  out("normed", normed);
  out("receptance", product(mixed("r"), weights.receptance));
  out("decay", lowRank(b, mixed("w"), weights.decay, "Tanh"));
  out("key", product(mixed("k"), weights.key));
  const valueInput = mixed("v");
  out("value", product(valueInput, weights.value));
  if (weights.valueMix !== undefined) out("share", b.op("Sigmoid", [lowRank(b, valueInput, weights.valueMix)]));
  out("rate", lowRank(b, mixed("a"), weights.rate));
  out("gate", lowRank(b, mixed("g"), weights.gate, "Sigmoid"));
  return b.graph();
}

export interface ChannelMixWeights {
  output: LinearWeight;
  norm: Norm;
  mix: Vector;
  key: LinearWeight;
  value: LinearWeight;
}

/** In: x [C, E] as it entered the layer, y [C, E] behind the recurrence, previous [1, E]. Out: normed and next, both [C, E]. */
export function channelMixGraph(spec: Rwkv7Spec, weights: ChannelMixWeights): OnnxGraph {
  const E = spec.hiddenSize;
  const b = new GraphBuilder("channel mix");
  const x = b.op("Add", [b.input("x", ["C", E]), linear(b, b.input("y", ["C", E]), { weight: weights.output })]);
  const normed = layerNorm(b, spec, x, weights.norm);
  const mixed = shifted(b, normed, shiftOf(b, normed, b.input("previous", [1, E])), weights.mix);
  const positive = b.op("Relu", [linear(b, mixed, { weight: weights.key })]);
  const added = linear(b, b.op("Mul", [positive, positive]), { weight: weights.value });
  b.output("normed", normed, ["C", E]);
  b.output("next", b.op("Add", [x, added]), ["C", E]);
  return b.graph();
}

/** In: states [C, E], normed. Out: logits [C, rows] of the vocabulary slice that `head` holds. */
export function stateHeadGraph(spec: RecurrentSpec, head: LinearWeight): OnnxGraph {
  const b = new GraphBuilder("head");
  b.output("logits", linear(b, b.input("states", ["C", spec.hiddenSize]), { weight: head }), ["C", head.rows]);
  return b.graph();
}

function innerWidth(spec: MambaSpec | Mamba2Spec): number {
  return spec.kind === "mamba" ? spec.innerSize : spec.headCount * spec.headDim;
}

function layerNorm(b: GraphBuilder, spec: Rwkv7Spec, x: string, { weight, bias }: Norm): string {
  const inputs = [x, b.constant([weight.length], weight), ...(bias ? [b.constant([bias.length], bias)] : [])];
  return b.op("LayerNormalization", inputs, { epsilon: { float: spec.normEps } });
}

/** What each row would have to be moved by to become the row before. */
function shiftOf(b: GraphBuilder, x: string, previous: string): string {
  return b.op("Sub", [b.concat(0, previous, b.slice(x, 0, 0, -1)), x]);
}

function shifted(b: GraphBuilder, x: string, shift: string, mix: Vector): string {
  return b.op("Add", [x, b.op("Mul", [shift, b.constant([mix.length], mix)])]);
}

function lowRank(b: GraphBuilder, x: string, { down, up }: LowRankWeights, activation?: "Tanh" | "Sigmoid"): string {
  const low = linear(b, x, { weight: down });
  return linear(b, activation === undefined ? low : b.op(activation, [low]), up);
}
