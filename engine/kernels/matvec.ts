import { kernel } from "../gpu/shader.ts";
import source from "./matvec.wgsl";

export const matvec = kernel({
  name: "matvec",
  source,
  params: { columns4: "u32", rowStart: "u32", rows: "u32", paddedRows: "u32", hasBias: "u32", accumulate: "u32" },
  buffers: { x: "read", w: "read", bias: "read", y: "read_write" },
});
