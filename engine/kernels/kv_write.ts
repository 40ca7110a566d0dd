import { kernel } from "../gpu/shader.ts";
import source from "./kv_write.wgsl";

export const kvWrite = kernel({
  name: "kv_write",
  source,
  consts: ["HEAD_DIM4", "PAGE_TOKENS"],
  params: {
    start: "u32",
    qHeads: "u32",
    kvHeads: "u32",
    rotatedRow4: "u32",
    saveQueries: "u32",
    writeKeys: "u32",
    writeValues: "u32",
  },
  buffers: {
    rotated: "read",
    qkv: "read",
    pages: "read",
    keys: "read_write",
    values: "read_write",
    queries: "read_write",
  },
});
