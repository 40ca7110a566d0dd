import { kernel } from "../gpu/shader.ts";
import source from "./hadamard.wgsl";

export const hadamard = kernel({
  name: "hadamard",
  source,
  consts: ["HEAD_DIM4", "BLOCK4"],
  params: { row4: "u32", heads: "u32" },
  buffers: { rows: "read_write" },
});

/** Heads that one workgroup turns. */
export function hadamardHeads(headDim: number): number {
  return Math.floor(256 / headDim);
}
