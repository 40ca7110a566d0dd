import { kernel } from "../gpu/shader.ts";
import type { RowFormat } from "../kv-cache/format.ts";
import source from "./attn_pool.wgsl";
import { chosenPages } from "./chosenPages.ts";
import { keySource, pageListParams } from "./cachedRows.ts";
import pageList from "./page_list.wgsl";

/** The kernel for keys in this format. */
export const attnPool = (format: RowFormat) =>
  kernel({
    name: "attn_pool",
    source: keySource(format) + pageList + chosenPages.source + source,
    consts: ["UNIT", "HEAD_DIM4", "BLOCK_TOKENS", "PAGE_TOKENS", "KEY_ROW"],
    params: {
      start: "u32",
      rowStart: "u32",
      rowEnd: "u32",
      rows: "u32",
      columns: "u32",
      samples: "u32",
      heads: "u32",
      head: "u32",
      kvHeads: "u32",
      kvHead: "u32",
      scale: "f32",
      softcap: "f32",
      slope: "f32",
      pagesAt: "u32",
      ...chosenPages.params,
      ...pageListParams,
    },
    buffers: {
      queries: "read",
      keys: "read",
      lse: "read",
      lists: "read",
      edges: "read",
      weights: "read",
      cells: "read_write",
    },
  });
