import { kernel } from "../gpu/shader.ts";
import source from "./matvec_q8.wgsl";

export const matvecQ8 = kernel({
  name: "matvec_q8",
  source,
  params: { columns4: "u32", rowStart: "u32", rows: "u32", paddedRows: "u32", hasBias: "u32", accumulate: "u32" },
  buffers: { x: "read", w: "read", scales: "read", bias: "read", y: "read_write" },
});
