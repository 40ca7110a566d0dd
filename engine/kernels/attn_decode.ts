import { kernel } from "../gpu/shader.ts";
import source from "./attn_decode.wgsl";

export const attnDecode = kernel({
  name: "attn_decode",
  source,
  consts: ["HEAD_DIM4", "GROUP", "ITEMS", "PAGE_TOKENS"],
  params: { keys: "u32", keysPerSplit: "u32", kvHeads: "u32", scale: "f32" },
  buffers: { qkv: "read", keys: "read", values: "read", pages: "read", partOut: "read_write", partLse: "read_write" },
});
