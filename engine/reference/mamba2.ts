/** A whole Mamba-2 in plain loops. E hidden size, H heads of width P, I = H P, G groups of states of size N, C = I + 2 G N, T tokens. */
import type { Mamba2Spec } from "../api.ts";
import type { Reals } from "../position/rope.ts";
import type { ScanState } from "../recurrent/state.ts";
import { convWidth, mamba2Names, outerNames } from "../recurrent/weights.ts";
import { addInPlace, embed, rmsNorm } from "./ops.ts";
import { causalConv, columns, gatedRmsNorm, siluInPlace, softplus, ssdChunked, ssdScan } from "./recurrentOps.ts";
import { toolsOf, type RecurrentModel } from "./recurrentModel.ts";

/**
 * Runs `ids` behind what `states` (one per layer) remember, and returns the final normed states [T, E]. A single token goes through the
 * recurrence, several through the chunked form, as in transformers; both clamp the time step, which there only the chunked form does,
 * so that decoding equals recomputing.
 */
export function mamba2Forward(model: RecurrentModel<Mamba2Spec>, ids: ArrayLike<number>, states: readonly ScanState[]): Reals {
  const { spec, tensor } = model;
  const { hiddenSize: E, headCount: H, headDim: P, groupCount: G, stateSize: N, normEps: eps } = spec;
  const { alloc, project, optional } = toolsOf(model);
  const [low, high] = spec.timeStepLimit;
  const outer = outerNames(spec);
  const I = H * P;
  const C = convWidth(spec);

  const x = embed(alloc, tensor(outer.embedding), ids, E, spec.embeddingMultiplier); // [T, E]
  for (const [layer, state] of states.entries()) {
    const names = mamba2Names(spec, layer);
    const h = rmsNorm(alloc, x, tensor(names.norm), eps); // [T, E]
    const rows = project(h, names.inProjection, E); // [T, I + C + H]
    const width = I + C + H;
    const z = columns(alloc, rows, width, 0, I); // [T, I]
    const { weight, bias } = names.convolution;
    const convInput = columns(alloc, rows, width, I, I + C); // [T, C]
    const mixed = causalConv(alloc, convInput, tensor(weight), optional(bias), state.tail, C); // [T, C]
    siluInPlace(mixed);
    const stepBias = tensor(names.timeStepBias);
    const step = columns(alloc, rows, width, I + C, width).map((raw, i) =>
      Math.min(high, Math.max(low, softplus(raw + stepBias[i % H]))),
    ); // [T, H]
    const scan = {
      x: columns(alloc, mixed, C, 0, I), // [T, H, P]
      step,
      b: columns(alloc, mixed, C, I, I + G * N), // [T, G, N]
      c: columns(alloc, mixed, C, I + G * N, C), // [T, G, N]
      decayLog: tensor(names.decayLog),
      skip: tensor(names.skip),
    };
    const y =
      ids.length === 1 ? ssdScan(alloc, scan, spec, state.scan) : ssdChunked(alloc, scan, spec, spec.chunkSize, state.scan); // [T, H, P]
    const normed = gatedRmsNorm(alloc, y, z, tensor(names.gatedNorm), I / spec.normGroupCount, eps); // [T, I]
    addInPlace(x, project(normed, names.outProjection, I)); // [T, E]
  }
  return rmsNorm(alloc, x, tensor(outer.finalNorm.weight), eps); // [T, E]
}
