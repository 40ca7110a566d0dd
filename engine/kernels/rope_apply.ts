import { kernel } from "../gpu/shader.ts";
import source from "./rope_apply.wgsl";

export const ropeApply = kernel({
  name: "rope_apply",
  source,
  consts: ["HEAD_DIM"],
  params: { row: "u32", qHeads: "u32", heads: "u32", pairs: "u32" },
  buffers: { qkv: "read", angles: "read", rotated: "read_write" },
});
