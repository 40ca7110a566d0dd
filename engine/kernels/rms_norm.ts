import { kernel } from "../gpu/shader.ts";
import source from "./rms_norm.wgsl";

export const rmsNorm = kernel({
  name: "rms_norm",
  source,
  params: { first: "u32", columns4: "u32", eps: "f32", accumulate: "u32" },
  buffers: { x: "read", weight: "read", y: "read_write" },
});
