import { kernel } from "../gpu/shader.ts";
import type { RowFormats } from "../kv-cache/format.ts";
import { rowConsts, rowSource } from "./cachedRows.ts";
import source from "./kv_error.wgsl";

/** The kernel for keys and values in these formats. */
export const kvError = (formats: RowFormats) =>
  kernel({
    name: "kv_error",
    source: rowSource(formats) + source,
    consts: ["HEAD_DIM4", "BLOCK_TOKENS", "PAGE_TOKENS", ...rowConsts],
    params: { tokens: "u32", qHeads: "u32", kvHeads: "u32", row4: "u32", slotsAt: "u32", layer: "u32" },
    buffers: { rotated: "read", keys: "read", values: "read", lists: "read", qkv: "read", sums: "read_write" },
  });
