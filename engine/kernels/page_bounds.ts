import { kernel } from "../gpu/shader.ts";
import type { RowFormat } from "../kv-cache/format.ts";
import { keySource } from "./cachedRows.ts";
import source from "./page_bounds.wgsl";

/** The kernel for keys in this format. */
export const pageBounds = (format: RowFormat) =>
  kernel({
    name: "page_bounds",
    source: keySource(format) + source,
    consts: ["HEAD_DIM4", "UNIT", "PAGE_TOKENS", "KEY_ROW"],
    params: { firstPage: "u32", end: "u32", stride: "u32", kvHeads: "u32" },
    buffers: { bounds: "read_write", keys: "read" },
  });
