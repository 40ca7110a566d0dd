import { kernel } from "../gpu/shader.ts";
import source from "./matvec.wgsl";

export const matvec = kernel({
  name: "matvec",
  source,
  params: { columns4: "u32", rowStart: "u32", rows: "u32", paddedRows: "u32", allRows: "u32", splits: "u32" },
  buffers: { x: "read", w: "read", parts: "read_write" },
});
