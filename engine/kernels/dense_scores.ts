import { kernel } from "../gpu/shader.ts";
import type { RowFormat } from "../kv-cache/format.ts";
import source from "./dense_scores.wgsl";
import { keySource } from "./cachedRows.ts";

/** The kernel for keys in this format. */
export const denseScores = (format: RowFormat) =>
  kernel({
    name: "dense_scores",
    source: keySource(format) + source,
    consts: ["HEAD_DIM4", "GROUP", "PAGE_TOKENS", "KEY_ROW"],
    params: {
      tokens: "u32",
      keyCount: "u32",
      kvHeads: "u32",
      row4: "u32",
      placesAt: "u32",
      rangesAt: "u32",
      scale: "f32",
      softcap: "f32",
    },
    buffers: { rotated: "read", keys: "read", scores: "read_write", lists: "read", slopes: "read" },
  });
