import { kernel } from "../gpu/shader.ts";
import source from "./attn_steps.wgsl";

export const attnSteps = kernel({
  name: "attn_steps",
  source,
  consts: ["BLOCK_TOKENS"],
  params: { heads: "u32", samples: "u32", stride: "u32", firstKey: "u32", firstPosition: "u32", queryBlocks: "u32" },
  buffers: { scores: "read", lse: "read", steps: "read", seen: "read_write" },
});
