/**
 * How a row of cached keys or values (one head of one token, D channels) lies in memory. The kernels kv_put_*.wgsl write and key_*.wgsl,
 * value_*.wgsl read the same; here are the sizes and the rounding, for the reference and the planner.
 *
 * | format | row of D channels                                                                   |
 * | ------ | ----------------------------------------------------------------------------------- |
 * | f32    | D numbers                                                                           |
 * | f16    | D halves                                                                            |
 * | q8     | D codes of 8 bits, then one half per group of 32 channels: largest magnitude / 127  |
 * | q4     | D codes of 4 bits, then the same: number of largest magnitude / -8, as q4_0 of ggml |
 * | tile8  | D codes of 8 bits; behind the rows of a page and head, one f32 per tile of          |
 * |        | BLOCK_TOKENS rows: largest magnitude / 127 (reference/flash3.ts rounds so)          |
 */
import { BLOCK_TOKENS, type AttentionChoice, type KvFormat, type KvFormats } from "../attention/api.ts";
import { decodeF16, encodeF16 } from "../formats/floats.ts";

/** Channels that share a scale. */
export const GROUP_CHANNELS = 32;
const LARGEST_HALF = 65504;

/** How rows can lie: as one chooses, or in the tiles that flash3 brings along. */
export type RowFormat = KvFormat | "tile8";

export interface RowFormats {
  keys: RowFormat;
  values: RowFormat;
}

/** How a policy caches where `asked` was chosen. */
export function cachedFormats(asked: KvFormats, { policy }: AttentionChoice): RowFormats {
  return policy.kind === "flash3" ? { keys: "tile8", values: "tile8" } : asked;
}

/** 32-bit words of a row; of a tile's row, with its share of the scale. */
export function rowWords(format: RowFormat, headDim: number): number {
  const scales = Math.ceil(Math.ceil(headDim / GROUP_CHANNELS) / 2);
  switch (format) {
    case "f32":
      return headDim;
    case "f16":
      return headDim / 2;
    case "q8":
      return headDim / 4 + scales;
    case "q4":
      return Math.ceil(headDim / 8) + scales;
    case "tile8":
      return headDim / 4 + 1 / BLOCK_TOKENS;
  }
}

/** Numbers as they come back from the cache; `row` is any number of groups of one head. */
export function roundRow(format: KvFormat, row: Float32Array): Float32Array<ArrayBuffer> {
  if (format === "f32") return Float32Array.from(row);
  if (format === "f16") return Float32Array.from(row, half);
  const rounded = new Float32Array(row.length);
  for (let start = 0; start < row.length; start += GROUP_CHANNELS) {
    const group = row.subarray(start, start + GROUP_CHANNELS);
    rounded.set(format === "q8" ? roundedBytes(group) : roundedNibbles(group), start);
  }
  return rounded;
}

function roundedBytes(group: Float32Array): Float32Array {
  const scale = half(group.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127);
  return group.map((value) => (scale === 0 ? 0 : scale * clamp(nearest(value / scale), -127, 127)));
}

function roundedNibbles(group: Float32Array): Float32Array {
  const extreme = group.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
  const scale = half(extreme / -8);
  return group.map((value) => (scale === 0 ? 0 : scale * (clamp(Math.floor(value / scale + 8.5), 0, 15) - 8)));
}

/** The nearest half, those out of its range at its ends. */
function half(value: number): number {
  return decodeF16(encodeF16(clamp(value, -LARGEST_HALF, LARGEST_HALF)));
}

/** Halves go to the even neighbour, as WGSL's round() has it. */
export function nearest(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return Math.round(value);
  return down % 2 === 0 ? down : down + 1;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
