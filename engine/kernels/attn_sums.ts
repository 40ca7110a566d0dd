import { kernel } from "../gpu/shader.ts";
import source from "./attn_sums.wgsl";

export const attnSums = kernel({
  name: "attn_sums",
  source,
  params: { heads: "u32", samples: "u32", stride: "u32", firstKey: "u32", firstPosition: "u32" },
  buffers: { scores: "read", lse: "read", sums: "read_write" },
});
