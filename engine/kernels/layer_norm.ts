import { kernel } from "../gpu/shader.ts";
import source from "./layer_norm.wgsl";

export const layerNorm = kernel({
  name: "layer_norm",
  source,
  params: { first: "u32", columns4: "u32", eps: "f32", hasBias: "u32" },
  buffers: { x: "read", weight: "read", bias: "read", y: "read_write" },
});
