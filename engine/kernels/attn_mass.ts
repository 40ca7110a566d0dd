import { kernel } from "../gpu/shader.ts";
import source from "./attn_mass.wgsl";
import { pageListParams } from "./cachedRows.ts";
import pageList from "./page_list.wgsl";

export const attnMass = kernel({
  name: "attn_mass",
  source: pageList + source,
  consts: ["BLOCK_TOKENS", "PAGE_TOKENS"],
  params: {
    start: "u32",
    samples: "u32",
    sampleAt: "u32",
    firstHead: "u32",
    firstKey: "u32",
    stride: "u32",
    outAt: "u32",
    outStride: "u32",
    kvHeads: "u32",
    ...pageListParams,
  },
  buffers: { scores: "read", lse: "read_write", kept: "read_write", lists: "read" },
});
