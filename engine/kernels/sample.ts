import { kernel } from "../gpu/shader.ts";
import source from "./sample.wgsl";

export const sample = kernel({
  name: "sample",
  source,
  params: { tokens: "u32", useMask: "u32", temperature: "f32", topP: "f32", uniform01: "f32" },
  buffers: { logits: "read", allowed: "read", result: "read_write" },
});
