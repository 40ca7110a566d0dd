import { kernel } from "../gpu/shader.ts";
import source from "./embed.wgsl";

export const embed = kernel({
  name: "embed",
  source,
  params: { columns4: "u32", rowStart: "u32", rows: "u32", paddedRows: "u32", scale: "f32" },
  buffers: { ids: "read", table: "read", x: "read_write" },
});
