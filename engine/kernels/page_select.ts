import { kernel } from "../gpu/shader.ts";
import source from "./page_select.wgsl";

export const pageSelect = kernel({
  name: "page_select",
  source,
  params: {
    pages: "u32",
    count: "u32",
    scoreStride: "u32",
    slabs: "u32",
    bordersAt: "u32",
    tablesAt: "u32",
    pairsAt: "u32",
    kvHeads: "u32",
  },
  buffers: { scores: "read", lists: "read_write" },
});
