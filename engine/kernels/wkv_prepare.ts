import { kernel } from "../gpu/shader.ts";
import source from "./wkv_prepare.wgsl";

export const wkvPrepare = kernel({
  name: "wkv_prepare",
  source,
  consts: ["HEAD_DIM4"],
  params: { rows: "u32", heads: "u32" },
  buffers: {
    decay: "read_write",
    key: "read_write",
    rate: "read_write",
    removal: "read_write",
    removalKey: "read",
    keyRate: "read",
  },
});
