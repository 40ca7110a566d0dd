import { kernel } from "../gpu/shader.ts";
import source from "./ssd_steps.wgsl";

export const ssdSteps = kernel({
  name: "ssd_steps",
  source,
  params: { tokens: "u32", heads: "u32", xRow: "u32", xColumn: "u32", block: "u32", low: "f32", high: "f32" },
  buffers: { x: "read", bias: "read", decayLog: "read", steps: "read_write" },
});
