import { kernel } from "../gpu/shader.ts";
import source from "./ssd_output.wgsl";

/** Longest block: one invocation of a workgroup for each of its tokens. */
export const SSD_BLOCK = 64;

export const ssdOutput = kernel({
  name: "ssd_output",
  source,
  consts: ["HEAD_DIM", "STATES4"],
  params: { tokens: "u32", heads: "u32", headsPerGroup: "u32", row4: "u32", c4: "u32", block: "u32" },
  buffers: { mixed: "read", steps: "read", scores: "read", before: "read", skip: "read", y: "read_write" },
});
