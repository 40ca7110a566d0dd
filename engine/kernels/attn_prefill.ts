import { kernel } from "../gpu/shader.ts";
import source from "./attn_prefill.wgsl";

export const attnPrefill = kernel({
  name: "attn_prefill",
  source,
  consts: ["HEAD_DIM4", "GROUP", "PAGE_TOKENS"],
  params: {
    tokens: "u32",
    start: "u32",
    kvHeads: "u32",
    row4: "u32",
    outStart4: "u32",
    lseStart: "u32",
    scale: "f32",
    softcap: "f32",
  },
  buffers: {
    rotated: "read",
    keys: "read",
    values: "read",
    pages: "read",
    ranges: "read",
    slopes: "read",
    out: "read_write",
    lse: "read_write",
  },
});
