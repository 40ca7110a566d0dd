import { kernel } from "../gpu/shader.ts";
import type { RowFormats } from "../kv-cache/format.ts";
import source from "./attn_decode.wgsl";
import { pageListParams, rowConsts, rowSource } from "./cachedRows.ts";
import pageList from "./page_list.wgsl";

/** The kernel for keys and values in these formats. */
export const attnDecode = (formats: RowFormats) =>
  kernel({
    name: "attn_decode",
    source: rowSource(formats) + pageList + source,
    consts: ["HEAD_DIM4", "GROUP", "ITEMS", "BLOCK_TOKENS", "PAGE_TOKENS", ...rowConsts],
    params: {
      start: "u32",
      unit: "u32",
      splitVisits: "u32",
      firstSplit: "u32",
      kvHeads: "u32",
      scale: "f32",
      softcap: "f32",
      ...pageListParams,
    },
    buffers: {
      rotated: "read",
      keys: "read",
      values: "read",
      lists: "read",
      slopes: "read",
      partOut: "read_write",
      partLse: "read_write",
    },
  });
