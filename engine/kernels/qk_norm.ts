import { kernel } from "../gpu/shader.ts";
import source from "./qk_norm.wgsl";

export const qkNorm = kernel({
  name: "qk_norm",
  source,
  consts: ["HEAD_DIM4"],
  params: { tokens: "u32", qHeads: "u32", kvHeads: "u32", eps: "f32" },
  buffers: { qkv: "read_write", qWeight: "read", kWeight: "read" },
});
