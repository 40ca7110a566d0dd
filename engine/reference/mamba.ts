/** A whole Mamba in plain loops. E hidden size, I inner width, N state size, K taps, R rank of the time step, T tokens. */
import type { MambaSpec } from "../api.ts";
import type { Reals } from "../position/rope.ts";
import type { ScanState } from "../recurrent/state.ts";
import { mambaNames, outerNames } from "../recurrent/weights.ts";
import { addInPlace, embed, linear, rmsNorm } from "./ops.ts";
import { causalConv, columns, selectiveScan, siluInPlace, softplus } from "./recurrentOps.ts";
import { toolsOf, type RecurrentModel } from "./recurrentModel.ts";

/** Runs `ids` behind what `states` (one per layer) remember, and returns the final normed states [T, E]. */
export function mambaForward(model: RecurrentModel<MambaSpec>, ids: ArrayLike<number>, states: readonly ScanState[]): Reals {
  const { spec, tensor } = model;
  const { hiddenSize: E, innerSize: I, stateSize: N, timeStepRank: R, normEps: eps } = spec;
  const { alloc, project, optional } = toolsOf(model);
  const outer = outerNames(spec);

  const x = embed(alloc, tensor(outer.embedding), ids, E, spec.embeddingMultiplier); // [T, E]
  for (const [layer, state] of states.entries()) {
    const names = mambaNames(spec, layer);
    const h = rmsNorm(alloc, x, tensor(names.norm), eps); // [T, E]
    const uz = project(h, names.inProjection, E); // [T, 2I]
    const z = columns(alloc, uz, 2 * I, I, 2 * I); // [T, I]
    const { weight, bias } = names.convolution;
    const u = causalConv(alloc, columns(alloc, uz, 2 * I, 0, I), tensor(weight), optional(bias), state.tail, I); // [T, I]
    siluInPlace(u);
    const selected = linear(alloc, u, tensor(names.selection), undefined, I); // [T, R + 2N]
    const width = R + 2 * N;
    const step = project(columns(alloc, selected, width, 0, R), names.timeStep, R).map(softplus); // [T, I]
    const b = columns(alloc, selected, width, R, R + N); // [T, N]
    const c = columns(alloc, selected, width, R + N, width); // [T, N]
    const scan = { u, step, b, c, decayLog: tensor(names.decayLog), skip: tensor(names.skip) };
    const y = selectiveScan(alloc, scan, state.scan); // [T, I]
    siluInPlace(z);
    const gated = y.map((value, i) => value * z[i]); // [T, I]
    addInPlace(x, project(gated, names.outProjection, I)); // [T, E]
  }
  return rmsNorm(alloc, x, tensor(outer.finalNorm.weight), eps); // [T, E]
}
