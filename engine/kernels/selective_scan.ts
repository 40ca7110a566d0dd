import { kernel } from "../gpu/shader.ts";
import source from "./selective_scan.wgsl";

export const selectiveScan = kernel({
  name: "selective_scan",
  source,
  consts: ["STATES"],
  params: { tokens: "u32", channels: "u32", rank: "u32" },
  buffers: {
    u: "read",
    step: "read",
    selected: "read",
    uz: "read",
    decayLog: "read",
    skip: "read",
    state: "read_write",
    y: "read_write",
  },
});
