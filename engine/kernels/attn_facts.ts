import type { RowFormat } from "../kv-cache/format.ts";
import { kernel } from "../gpu/shader.ts";
import source from "./attn_facts.wgsl";
import { chosenPages } from "./chosenPages.ts";
import { keySource, pageListParams } from "./cachedRows.ts";
import pageList from "./page_list.wgsl";

/** The kernel for keys in this format. */
export const attnFacts = (format: RowFormat) =>
  kernel({
    name: "attn_facts",
    source: keySource(format) + pageList + chosenPages.source + source,
    consts: ["UNIT", "HEAD_DIM4", "BLOCK_TOKENS", "PAGE_TOKENS", "KEY_ROW", "SINK_KEYS", "BUCKETS"],
    params: {
      start: "u32",
      firstSample: "u32",
      heads: "u32",
      kvHeads: "u32",
      scale: "f32",
      softcap: "f32",
      pagesAt: "u32",
      ...chosenPages.params,
      ...pageListParams,
    },
    buffers: {
      queries: "read",
      keys: "read",
      lse: "read",
      lists: "read",
      samples: "read",
      slopes: "read",
      sums: "read_write",
    },
  });
