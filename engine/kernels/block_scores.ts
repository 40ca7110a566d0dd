import type { KvFormat } from "../attention/api.ts";
import { kernel } from "../gpu/shader.ts";
import source from "./block_scores.wgsl";
import { keySource, pageListParams } from "./cachedRows.ts";
import pageList from "./page_list.wgsl";

/** The kernel for keys in this format. */
export const blockScoresKernel = (format: KvFormat) =>
  kernel({
    name: "block_scores",
    source: keySource(format) + pageList + source,
    consts: ["HEAD_DIM4", "GROUP", "BLOCK_TOKENS", "PAGE_TOKENS", "KEY_ROW"],
    params: {
      start: "u32",
      length: "u32",
      firstVisit: "u32",
      firstBlock: "u32",
      keyBlocks: "u32",
      queryBlocks: "u32",
      outAt: "u32",
      kvHeads: "u32",
      scale: "f32",
      ...pageListParams,
    },
    buffers: { means: "read", keys: "read", scores: "read_write", lists: "read" },
  });
