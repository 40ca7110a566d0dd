import { kernel } from "../gpu/shader.ts";
import type { RowFormats } from "../kv-cache/format.ts";
import source from "./attn_prefill.wgsl";
import { pageListParams, rowConsts, rowSource } from "./cachedRows.ts";
import pageList from "./page_list.wgsl";

/** The kernel for keys and values in these formats. */
export const attnPrefill = (formats: RowFormats) =>
  kernel({
    name: "attn_prefill",
    source: rowSource(formats) + pageList + source,
    consts: ["HEAD_DIM4", "GROUP", "BLOCK_TOKENS", "PAGE_TOKENS", ...rowConsts],
    params: {
      tokens: "u32",
      start: "u32",
      kvHeads: "u32",
      row4: "u32",
      carry: "u32",
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
      lseBefore: "read",
      out: "read_write",
      lse: "read_write",
    },
  });
