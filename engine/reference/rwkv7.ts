/** A whole RWKV-7 in plain loops. E hidden size, H heads of width P (H P = E), F width of the channel mix, T tokens. */
import type { Rwkv7Spec } from "../api.ts";
import type { Reals } from "../position/rope.ts";
import type { WkvState } from "../recurrent/state.ts";
import { outerNames, rwkv7Names, type LowRankNames, type Mix } from "../recurrent/weights.ts";
import { addInPlace, dot, embed, layerNorm, linear, sigmoid } from "./ops.ts";
import { headNorm, normalizeHeads, tokenShift, wkvDecay, wkvScan } from "./recurrentOps.ts";
import { toolsOf, type RecurrentModel } from "./recurrentModel.ts";

type Model = RecurrentModel<Rwkv7Spec>;

/** Runs `ids` behind what `states` (one per layer) remember, and returns the final normed states [T, E]. */
export function rwkv7Forward(model: Model, ids: ArrayLike<number>, states: readonly WkvState[]): Reals {
  const { spec, tensor } = model;
  const { hiddenSize: E, intermediateSize: F } = spec;
  const { alloc, norm } = toolsOf(model);
  const outer = outerNames(spec);
  /** Values of layer 0, [T, E]. */
  let firstValues: Reals | undefined;

  let x = embed(alloc, tensor(outer.embedding), ids, E, spec.embeddingMultiplier); // [T, E]
  for (const [layer, state] of states.entries()) {
    const names = rwkv7Names(layer);
    if (names.embeddingNorm !== undefined) x = norm(x, names.embeddingNorm); // [T, E]
    const h = norm(x, names.attentionNorm); // [T, E]
    const mixed = timeMix(model, layer, h, state, firstValues);
    firstValues ??= mixed.values;
    addInPlace(x, mixed.output); // [T, E]

    const m = norm(x, names.mlpNorm); // [T, E]
    const shifted = tokenShift(alloc, m, state.mlpInput, tensor(names.mlpMix)); // [T, E]
    keepLast(state.mlpInput, m);
    const key = linear(alloc, shifted, tensor(names.mlpKey), undefined, E).map((value) => Math.max(value, 0) ** 2); // [T, F]
    addInPlace(x, linear(alloc, key, tensor(names.mlpValue), undefined, F)); // [T, E]
  }
  const { weight, bias } = outer.finalNorm;
  return layerNorm(alloc, x, tensor(weight), bias === undefined ? undefined : tensor(bias), spec.normEps); // [T, E]
}

/** The time mix of one layer over h [T, E]: its output and its own values, both [T, E]. */
function timeMix(model: Model, layer: number, h: Reals, state: WkvState, firstValues: Reals | undefined) {
  const { spec, tensor } = model;
  const { hiddenSize: E, headCount: H, headDim: P } = spec;
  const { alloc } = toolsOf(model);
  const names = rwkv7Names(layer);
  const mixed = (kind: Mix): Reals => tokenShift(alloc, h, state.attentionInput, tensor(names.mix(kind)));
  const project = (input: Reals, matrix: string): Reals => linear(alloc, input, tensor(matrix), undefined, E);

  const receptance = project(mixed("r"), names.receptance); // [T, E], as all below
  const decay = lowRank(model, mixed("w"), names.decay, Math.tanh).map(wkvDecay);
  const key = project(mixed("k"), names.key);
  const valueInput = mixed("v");
  const value = project(valueInput, names.value);
  if (firstValues !== undefined && names.valueMix !== undefined) {
    const share = lowRank(model, valueInput, names.valueMix).map(sigmoid);
    for (let i = 0; i < value.length; i++) value[i] = value[i] + (firstValues[i] - value[i]) * share[i];
  }
  const rate = lowRank(model, mixed("a"), names.rate).map(sigmoid);
  const gate = lowRank(model, mixed("g"), names.gate, sigmoid);
  keepLast(state.attentionInput, h);

  const removalKey = tensor(names.removalKey);
  const keyRate = tensor(names.keyRate);
  const removal = key.map((each, i) => each * removalKey[i % E]);
  normalizeHeads(removal, P);
  for (let i = 0; i < key.length; i++) key[i] = key[i] * (1 + (rate[i] - 1) * keyRate[i % E]);
  const wkv = { receptance, decay, key, value, removal, rate };
  const y = wkvScan(alloc, wkv, H, P, state.wkv);
  const { weight, bias } = names.headNorm;
  const normed = headNorm(alloc, y, tensor(weight), tensor(bias ?? weight), P, P * spec.normEps);
  addBonus(normed, wkv, tensor(names.bonus), P);
  for (let i = 0; i < normed.length; i++) normed[i] = normed[i] * gate[i];
  return { output: project(normed, names.output), values: value };
}

/** up(act(down x)) + bias for x [T, E] -> [T, E]. */
function lowRank(model: Model, x: Reals, names: LowRankNames, act: (value: number) => number = (value) => value): Reals {
  const { spec, tensor } = model;
  const { alloc } = toolsOf(model);
  const down = linear(alloc, x, tensor(names.down), undefined, spec.hiddenSize).map(act); // [T, rank]
  const bias = names.up.bias === undefined ? undefined : tensor(names.up.bias);
  return linear(alloc, down, tensor(names.up.weight), bias, tensor(names.up.weight).length / spec.hiddenSize);
}

/** What the current token adds to itself: y += (Σ_j r_j k_j bonus_j) v, head by head. */
export function addBonus(y: Reals, wkv: { receptance: Reals; key: Reals; value: Reals }, bonus: Reals, headDim: number): void {
  const weighted = wkv.receptance.map((value, i) => value * bonus[i % bonus.length]);
  for (let start = 0; start < y.length; start += headDim) {
    const share = dot(weighted, start, wkv.key, start, headDim);
    for (let i = start; i < start + headDim; i++) y[i] = y[i] + share * wkv.value[i];
  }
}

function keepLast(previous: Reals, x: Reals): void {
  previous.set(x.subarray(x.length - previous.length));
}
