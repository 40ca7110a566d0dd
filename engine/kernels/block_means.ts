import { kernel } from "../gpu/shader.ts";
import source from "./block_means.wgsl";

export const blockMeansKernel = kernel({
  name: "block_means",
  source,
  consts: ["HEAD_DIM4", "BLOCK_TOKENS"],
  params: { start: "u32", tokens: "u32", heads: "u32", row4: "u32" },
  buffers: { rotated: "read", means: "read_write" },
});
