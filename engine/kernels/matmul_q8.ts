import { kernel } from "../gpu/shader.ts";
import source from "./matmul_q8.wgsl";

export const matmulQ8 = kernel({
  name: "matmul_q8",
  source,
  params: {
    tokens: "u32",
    columns4: "u32",
    rowStart: "u32",
    rows: "u32",
    paddedRows: "u32",
    yRow: "u32",
    hasBias: "u32",
    accumulate: "u32",
  },
  buffers: { x: "read", w: "read", scales: "read", bias: "read", y: "read_write" },
});
