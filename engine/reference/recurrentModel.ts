/** A recurrent model in plain loops: its tensors, its precision, and what every family computes with. */
import type { RecurrentSpec } from "../api.ts";
import type { Reals } from "../position/rope.ts";
import { outerNames, type Affine } from "../recurrent/weights.ts";
import type { Precision } from "./cache.ts";
import type { TensorOf } from "./decoder.ts";
import { alloc32, alloc64, layerNorm, linear, type Alloc } from "./ops.ts";

export interface RecurrentModel<Spec extends RecurrentSpec = RecurrentSpec> {
  spec: Spec;
  tensor: TensorOf;
  precision: Precision;
}

/** What every family computes with. */
export function toolsOf({ spec, tensor, precision }: RecurrentModel) {
  const alloc: Alloc = precision === "f64" ? alloc64 : alloc32;
  const optional = (name: string | undefined): Reals | undefined => (name === undefined ? undefined : tensor(name));
  return {
    alloc,
    optional,
    /** x [T, inner] -> [T, rows] */
    project: (x: Reals, { weight, bias }: Affine, inner: number): Reals =>
      linear(alloc, x, tensor(weight), optional(bias), inner),
    /** LayerNorm of x [T, E]. */
    norm: (x: Reals, { weight, bias }: Affine): Reals => layerNorm(alloc, x, tensor(weight), optional(bias), spec.normEps),
  };
}

/** Final states [T, E] -> logits [T, V]. */
export function recurrentLogits(model: RecurrentModel, states: Reals): Reals {
  const { spec, tensor } = model;
  return linear(toolsOf(model).alloc, states, tensor(outerNames(spec).head), undefined, spec.hiddenSize);
}
