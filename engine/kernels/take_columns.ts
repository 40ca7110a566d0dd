import { kernel } from "../gpu/shader.ts";
import source from "./take_columns.wgsl";

export const takeColumns = kernel({
  name: "take_columns",
  source,
  params: { xRow: "u32", count: "u32", yRow: "u32" },
  buffers: { x: "read", y: "read_write" },
});
