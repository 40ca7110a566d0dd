import { kernel } from "../gpu/shader.ts";
import source from "./quantize_rows.wgsl";

export const quantizeRows = kernel({
  name: "quantize_rows",
  source,
  consts: ["NORM"],
  params: { blocks: "u32", eps: "f32" },
  buffers: { x: "read", gain: "read", codes: "read_write", scales: "read_write" },
});
