import { kernel } from "../gpu/shader.ts";
import source from "./tile8_put.wgsl";

export const tile8Put = kernel({
  name: "tile8_put",
  source,
  consts: ["HEAD_DIM4", "BLOCK_TOKENS", "PAGE_TOKENS"],
  params: { heads: "u32", row4: "u32", start4: "u32", slotsAt: "u32", start: "u32", tokens: "u32" },
  buffers: { source: "read", lists: "read", open: "read", cache: "read_write" },
});
