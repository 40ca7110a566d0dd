import { kernel } from "../gpu/shader.ts";
import source from "./wkv_scan.wgsl";

export const wkvScan = kernel({
  name: "wkv_scan",
  source,
  consts: ["HEAD_DIM"],
  params: { tokens: "u32", heads: "u32" },
  buffers: {
    receptance: "read",
    decay: "read",
    key: "read",
    value: "read",
    removal: "read",
    removalRate: "read",
    state: "read_write",
    y: "read_write",
  },
});
