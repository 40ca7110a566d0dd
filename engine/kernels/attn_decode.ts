import { kernel } from "../gpu/shader.ts";
import source from "./attn_decode.wgsl";

export const attnDecode = kernel({
  name: "attn_decode",
  source,
  consts: ["HEAD_DIM4", "GROUP", "ITEMS", "PAGE_TOKENS"],
  params: {
    position: "u32",
    firstKey: "u32",
    keyEnd: "u32",
    keysPerSplit: "u32",
    firstSplit: "u32",
    kvHeads: "u32",
    scale: "f32",
    softcap: "f32",
  },
  buffers: {
    rotated: "read",
    keys: "read",
    values: "read",
    pages: "read",
    slopes: "read",
    partOut: "read_write",
    partLse: "read_write",
  },
});
