import { kernel } from "../gpu/shader.ts";
import source from "./attn_merge.wgsl";

export const attnMerge = kernel({
  name: "attn_merge",
  source,
  consts: ["HEAD_DIM4"],
  params: { splits: "u32", rows: "u32" },
  buffers: { partOut: "read", partLse: "read", out: "read_write", lse: "read_write" },
});
