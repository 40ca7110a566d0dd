import { kernel } from "../gpu/shader.ts";
import source from "./embed_q8.wgsl";

export const embedQ8 = kernel({
  name: "embed_q8",
  source,
  params: { columns4: "u32", rowStart: "u32", rows: "u32", paddedRows: "u32", scale: "f32" },
  buffers: { ids: "read", table: "read", scales: "read", x: "read_write" },
});
