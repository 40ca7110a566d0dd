/** What stands in front of a kernel that reads the cache: one small file for the format of keys, one for that of values. */
import type { KvFormat } from "../attention/api.ts";
import { rowWords, type RowFormat, type RowFormats } from "../kv-cache/format.ts";
import keyF16 from "./key_f16.wgsl";
import keyF32 from "./key_f32.wgsl";
import keyQ4 from "./key_q4.wgsl";
import keyQ8 from "./key_q8.wgsl";
import keyTile8 from "./key_tile8.wgsl";
import putF16 from "./put_f16.wgsl";
import putF32 from "./put_f32.wgsl";
import putQ4 from "./put_q4.wgsl";
import putQ8 from "./put_q8.wgsl";
import valueF16 from "./value_f16.wgsl";
import valueF32 from "./value_f32.wgsl";
import valueQ4 from "./value_q4.wgsl";
import valueQ8 from "./value_q8.wgsl";
import valueTile8 from "./value_tile8.wgsl";

const keySources: Readonly<Record<RowFormat, string>> = { f32: keyF32, f16: keyF16, q8: keyQ8, q4: keyQ4, tile8: keyTile8 };
const valueSources: Readonly<Record<RowFormat, string>> = {
  ...{ f32: valueF32, f16: valueF16, q8: valueQ8, q4: valueQ4, tile8: valueTile8 },
};
/** Puts a piece of a row into the cache; stands in front of kv_put.wgsl. */
export const putSources: Readonly<Record<KvFormat, string>> = { f32: putF32, f16: putF16, q8: putQ8, q4: putQ4 };

/** `keyAt` and `valueAt`. */
export function rowSource({ keys, values }: RowFormats): string {
  return keySources[keys] + valueSources[values];
}

/** `keyAt` alone. */
export function keySource(format: RowFormat): string {
  return keySources[format];
}

/** `valueAt` alone. */
export function valueSource(format: RowFormat): string {
  return valueSources[format];
}

export const rowConsts = ["KEY_ROW", "VALUE_ROW"] as const;

/** Words of a row of keys and of values, scales of tiles not counted. */
export function rowConstsOf({ keys, values }: RowFormats, headDim: number): Record<(typeof rowConsts)[number], number> {
  return { KEY_ROW: Math.floor(rowWords(keys, headDim)), VALUE_ROW: Math.floor(rowWords(values, headDim)) };
}

/** Parameters of page_list.wgsl, as attention/pageLists.ts gives them. */
export const pageListParams = {
  listHeads: "u32",
  rangesAt: "u32",
  tilesAt: "u32",
  pairsAt: "u32",
  columnsAt: "u32",
  columnStride: "u32",
  diagonalsAt: "u32",
  diagonalStride: "u32",
  blocksAt: "u32",
  blockStride: "u32",
  blockWords: "u32",
} as const;
