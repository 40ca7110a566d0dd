/** What stands in front of a kernel that reads the cache: one small file for the format of keys, one for that of values. */
import type { KvFormat, KvFormats } from "../attention/api.ts";
import { rowWords } from "../kv-cache/format.ts";
import keyF16 from "./key_f16.wgsl";
import keyF32 from "./key_f32.wgsl";
import keyQ4 from "./key_q4.wgsl";
import keyQ8 from "./key_q8.wgsl";
import putF16 from "./put_f16.wgsl";
import putF32 from "./put_f32.wgsl";
import putQ4 from "./put_q4.wgsl";
import putQ8 from "./put_q8.wgsl";
import valueF16 from "./value_f16.wgsl";
import valueF32 from "./value_f32.wgsl";
import valueQ4 from "./value_q4.wgsl";
import valueQ8 from "./value_q8.wgsl";

const keySources: Readonly<Record<KvFormat, string>> = { f32: keyF32, f16: keyF16, q8: keyQ8, q4: keyQ4 };
const valueSources: Readonly<Record<KvFormat, string>> = { f32: valueF32, f16: valueF16, q8: valueQ8, q4: valueQ4 };
/** Puts a piece of a row into the cache; stands in front of kv_put.wgsl. */
export const putSources: Readonly<Record<KvFormat, string>> = { f32: putF32, f16: putF16, q8: putQ8, q4: putQ4 };

/** `keyAt` and `valueAt`. */
export function rowSource({ keys, values }: KvFormats): string {
  return keySources[keys] + valueSources[values];
}

/** `keyAt` alone. */
export function keySource(format: KvFormat): string {
  return keySources[format];
}

export const rowConsts = ["KEY_ROW", "VALUE_ROW"] as const;

/** Words of a row of keys and of values. */
export function rowConstsOf({ keys, values }: KvFormats, headDim: number): Record<(typeof rowConsts)[number], number> {
  return { KEY_ROW: rowWords(keys, headDim), VALUE_ROW: rowWords(values, headDim) };
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
