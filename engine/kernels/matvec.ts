import { kernel, type ParamType, type ShaderFeature } from "../gpu/shader.ts";
import { inputSource } from "./matmul.ts";
import { matrixConsts, matrixLayouts, type MatrixFormat } from "./matrixFormats.ts";
import source from "./matvec.wgsl";
import floats from "./matvec_floats.wgsl";
import gains from "./matvec_gains.wgsl";
import gainsAny from "./matvec_gains_any.wgsl";
import integers from "./matvec_integers.wgsl";
import shared from "./matvec_sum.wgsl";
import none from "./matvec_sum_none.wgsl";
import subgroups from "./matvec_sum_subgroups.wgsl";

/** How the parts of a sum are added: in workgroup memory, within subgroups first, or not at all; and invocations of a workgroup. */
export const matvecSums = {
  shared: { source: shared, lanes: 256, features: [] },
  subgroups: { source: subgroups, lanes: 256, features: ["subgroups"] },
  none: { source: none, lanes: 64, features: [] },
} as const satisfies Record<string, { source: string; lanes: number; features: readonly ShaderFeature[] }>;
export type MatvecSum = keyof typeof matvecSums;

/** Value of the constant ACTIVATION. */
export const activationCodes = { none: 0, silu: 1, gelu_tanh: 2 } as const;
export type MatvecActivation = keyof typeof activationCodes;

const consts = [...matrixConsts, "LANES", "NORM", "GATED", "ACTIVATION"] as const;
const params = {
  columns: "u32",
  blocks: "u32",
  rowStart: "u32",
  rows: "u32",
  groupRows: "u32",
  hasBias: "u32",
  accumulate: "u32",
  eps: "f32",
} as const satisfies Record<string, ParamType>;

export function matvec(format: MatrixFormat, sum: MatvecSum, wholeBlocks: boolean) {
  const x = inputSource(wholeBlocks) + (wholeBlocks ? gains : gainsAny);
  return kernel({
    name: `matvec_${sum}_${format}`,
    source: matrixLayouts[format].source + x + floats + source + matvecSums[sum].source,
    features: matvecSums[sum].features,
    consts,
    params,
    buffers: { codes: "read", scales: "read", x: "read", bias: "read", y: "read_write", gain: "read" },
  });
}

/** The same by products of integers; x is what quantize_rows makes of it. */
export function matvecIntegers(format: MatrixFormat, sum: MatvecSum) {
  return kernel({
    name: `matvec_integers_${sum}_${format}`,
    source: matrixLayouts[format].source + integers + source + matvecSums[sum].source,
    features: matvecSums[sum].features,
    consts,
    params,
    buffers: { codes: "read", scales: "read", xCodes: "read", bias: "read", y: "read_write", xScales: "read" },
  });
}
