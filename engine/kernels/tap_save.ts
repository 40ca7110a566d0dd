import { kernel } from "../gpu/shader.ts";
import source from "./tap_save.wgsl";

export const tapSave = kernel({
  name: "tap_save",
  source,
  consts: ["HEAD_DIM4"],
  params: { row4: "u32", heads: "u32", saveLse: "u32" },
  buffers: { rotated: "read", lseOf: "read", samples: "read", queries: "read_write", savedLse: "read_write" },
});
