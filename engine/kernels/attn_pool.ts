import { kernel } from "../gpu/shader.ts";
import source from "./attn_pool.wgsl";

export const attnPool = kernel({
  name: "attn_pool",
  source,
  consts: ["HEAD_DIM4", "PAGE_TOKENS"],
  params: {
    rowStart: "u32",
    rowEnd: "u32",
    rows: "u32",
    columns: "u32",
    heads: "u32",
    head: "u32",
    kvHeads: "u32",
    kvHead: "u32",
    scale: "f32",
    softcap: "f32",
    slope: "f32",
  },
  buffers: {
    queries: "read",
    lse: "read",
    keys: "read",
    pages: "read",
    ranges: "read",
    edges: "read",
    weights: "read",
    cells: "read_write",
  },
});
