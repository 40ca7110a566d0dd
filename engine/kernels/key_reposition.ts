import { kernel } from "../gpu/shader.ts";
import source from "./key_reposition.wgsl";

export const keyReposition = kernel({
  name: "key_reposition",
  source,
  consts: ["HEAD_DIM", "PAGE_TOKENS"],
  params: { slotsAt: "u32", kvHeads: "u32", pairs: "u32" },
  buffers: { keys: "read_write", lists: "read", angles: "read" },
});
