import { kernel } from "../gpu/shader.ts";
import source from "./ssd_step.wgsl";

export const ssdStep = kernel({
  name: "ssd_step",
  source,
  consts: ["HEAD_DIM", "STATES4"],
  params: { heads: "u32", headsPerGroup: "u32", b4: "u32", c4: "u32" },
  buffers: { mixed: "read", steps: "read", skip: "read", state: "read_write", y: "read_write" },
});
