import { kernel } from "../gpu/shader.ts";
import source from "./gated_norm.wgsl";

export const gatedNorm = kernel({
  name: "gated_norm",
  source,
  params: { width: "u32", groupWidth: "u32", zRow: "u32", eps: "f32" },
  buffers: { y: "read_write", z: "read", weight: "read" },
});
