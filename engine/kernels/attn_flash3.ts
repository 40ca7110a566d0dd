import { kernel } from "../gpu/shader.ts";
import flash3F32 from "./attn_flash3_f32.wgsl";
import floats from "./attn_flash3_floats.wgsl";
import integers from "./attn_flash3_integers.wgsl";
import flash3Tile8 from "./attn_flash3_tile8.wgsl";
import source from "./attn_flash3.wgsl";
import { pageListParams, rowConsts, rowSource } from "./cachedRows.ts";
import pageList from "./page_list.wgsl";

/** Keys and values as they are cached, and how they are multiplied with queries; integers need 8 bits. */
export type Flash3Kernel = { format: "f32"; products: "floats" } | { format: "tile8"; products: "floats" | "integers" };

/** Widest head whose tiles fit the least workgroup memory that there is, by the format of the tiles. */
export const FLASH3_HEAD_DIM: Readonly<Record<Flash3Kernel["format"], number>> = { f32: 64, tile8: 256 };

export const attnFlash3 = ({ format, products }: Flash3Kernel) =>
  kernel({
    name: "attn_flash3",
    source:
      rowSource({ keys: format, values: format }) +
      (format === "f32" ? flash3F32 : flash3Tile8) +
      (products === "floats" ? floats : integers) +
      pageList +
      source,
    consts: ["HEAD_DIM4", "GROUP", "PIPELINED", "BLOCK_TOKENS", "PAGE_TOKENS", ...rowConsts],
    params: {
      tokens: "u32",
      start: "u32",
      kvHeads: "u32",
      row4: "u32",
      carry: "u32",
      scale: "f32",
      softcap: "f32",
      ...pageListParams,
    },
    buffers: {
      queries: "read",
      keys: "read",
      values: "read",
      lists: "read",
      slopes: "read",
      lseBefore: "read",
      out: "read_write",
      lse: "read_write",
    },
  });
