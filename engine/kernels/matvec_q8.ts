import { kernel } from "../gpu/shader.ts";
import source from "./matvec_q8.wgsl";

export const matvecQ8 = kernel({
  name: "matvec_q8",
  source,
  params: { columns4: "u32", rowStart: "u32", rows: "u32", paddedRows: "u32", allRows: "u32", splits: "u32" },
  buffers: { x: "read", w: "read", scales: "read", parts: "read_write" },
});
