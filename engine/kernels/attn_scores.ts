import type { KvFormat } from "../attention/api.ts";
import { kernel } from "../gpu/shader.ts";
import source from "./attn_scores.wgsl";
import { keySource, pageListParams } from "./cachedRows.ts";
import pageList from "./page_list.wgsl";

/** The kernel for keys in this format. */
export const attnScores = (format: KvFormat) =>
  kernel({
    name: "attn_scores",
    source: keySource(format) + pageList + source,
    consts: ["HEAD_DIM4", "GROUP", "BLOCK_TOKENS", "PAGE_TOKENS", "KEY_ROW"],
    params: {
      start: "u32",
      samples: "u32",
      sampleAt: "u32",
      firstVisit: "u32",
      firstHead: "u32",
      firstKey: "u32",
      stride: "u32",
      fills: "u32",
      row4: "u32",
      kvHeads: "u32",
      scale: "f32",
      softcap: "f32",
      ...pageListParams,
    },
    buffers: { rotated: "read", keys: "read", slopes: "read", lists: "read", scores: "read_write" },
  });
