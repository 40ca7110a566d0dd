import { kernel } from "../gpu/shader.ts";
import source from "./keep_row.wgsl";

export const keepRow = kernel({
  name: "keep_row",
  source,
  params: { columns4: "u32", row: "u32" },
  buffers: { x: "read", kept: "read_write" },
});
