import { kernel } from "../gpu/shader.ts";
import type { RowFormat } from "../kv-cache/format.ts";
import source from "./dense_values.wgsl";
import { valueSource } from "./cachedRows.ts";

/** The kernel for values in this format. */
export const denseValues = (format: RowFormat) =>
  kernel({
    name: "dense_values",
    source: valueSource(format) + source,
    consts: ["HEAD_DIM4", "GROUP", "PAGE_TOKENS", "VALUE_ROW"],
    params: { tokens: "u32", keyCount: "u32", kvHeads: "u32", placesAt: "u32", carry: "u32" },
    buffers: { weights: "read", out: "read_write", values: "read", lists: "read" },
  });
