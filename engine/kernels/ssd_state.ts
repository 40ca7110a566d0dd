import { kernel } from "../gpu/shader.ts";
import source from "./ssd_state.wgsl";

export const ssdState = kernel({
  name: "ssd_state",
  source,
  consts: ["HEAD_DIM", "STATES4"],
  params: { tokens: "u32", heads: "u32", headsPerGroup: "u32", row4: "u32", b4: "u32", block: "u32" },
  buffers: { mixed: "read", steps: "read", state: "read_write", before: "read_write" },
});
