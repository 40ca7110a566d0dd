import { kernel } from "../gpu/shader.ts";
import source from "./rope_apply.wgsl";

export const ropeApply = kernel({
  name: "rope_apply",
  source,
  consts: ["HEAD_DIM"],
  params: { rotatedHeads: "u32", row: "u32", pairs: "u32" },
  buffers: { qkv: "read_write", angles: "read" },
});
