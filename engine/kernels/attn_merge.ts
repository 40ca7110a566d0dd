import { kernel } from "../gpu/shader.ts";
import source from "./attn_merge.wgsl";

/** Workgroups of one row of the grid. */
export const MERGE_ACROSS = 1024;

export const attnMerge = kernel({
  name: "attn_merge",
  source,
  consts: ["HEAD_DIM4", "ACROSS"],
  params: { splits: "u32", rows: "u32", lseStart: "u32" },
  buffers: { partOut: "read", partLse: "read", out: "read_write", lse: "read_write" },
});
