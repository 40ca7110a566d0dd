/**
 * What flash3 computes, in plain loops: a Hadamard turn of queries and keys, rounding to 8 bits with one scale per tile and head, and attention
 * with what is left. science: arXiv 2407.08608, section 3.3.
 */
import { BLOCK_TOKENS } from "../attention/api.ts";
import { decodeF16, encodeF16 } from "../formats/floats.ts";
import { nearest } from "../kv-cache/format.ts";
import type { Reals } from "../position/rope.ts";
import { attention, type AttentionSpec, type ScoredLayer } from "./attend.ts";
import type { Alloc } from "./ops.ts";

/** 1 or -1 for each channel: a fixed choice, bits of a hash of its number. */
export function hadamardSign(channel: number): 1 | -1 {
  let mixed = Math.imul(channel + 1, 0x9e3779b9);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
  return ((mixed >>> 16) & 1) === 1 ? -1 : 1;
}

/**
 * x [rows, headDim] times M = diag(signs) H / sqrt(block): H is the Hadamard matrix of the largest power of two that divides headDim, along the
 * diagonal. Products of two turned rows are those of the rows themselves.
 */
export function hadamardRows(alloc: Alloc, x: Reals, headDim: number): Reals {
  const block = headDim & -headDim;
  const turned = alloc(x.length);
  for (let start = 0; start < x.length; start += block) {
    const signed = Array.from({ length: block }, (_, i) => x[start + i] * hadamardSign((start + i) % headDim));
    for (let out = 0; out < block; out++) {
      let sum = 0;
      // Entry (i, j) of a Hadamard matrix is the parity of the bits that i and j share.
      for (let i = 0; i < block; i++) sum += parity(out & i) === 1 ? -signed[i] : signed[i];
      turned[start + out] = sum / Math.sqrt(block);
    }
  }
  return turned;
}

/** x [tokens, heads, headDim] as it comes back from tiles of BLOCK_TOKENS tokens of one head: code · scale, scale = largest magnitude / 127. */
export function roundTiles(x: Reals, heads: number, headDim: number): Float32Array<ArrayBuffer> {
  const width = heads * headDim;
  const tokens = x.length / width;
  const rounded = new Float32Array(x.length);
  for (let first = 0; first < tokens; first += BLOCK_TOKENS) {
    const end = Math.min(tokens, first + BLOCK_TOKENS);
    for (let head = 0; head < heads; head++) {
      const eachCell = (visit: (cell: number) => void): void => {
        for (let token = first; token < end; token++) for (let i = 0; i < headDim; i++) visit(token * width + head * headDim + i);
      };
      let largest = 0;
      eachCell((cell) => (largest = Math.max(largest, Math.abs(x[cell]))));
      const scale = Math.fround(largest / 127);
      eachCell((cell) => (rounded[cell] = scale === 0 ? 0 : scale * Math.max(-127, Math.min(127, nearest(x[cell] / scale)))));
    }
  }
  return rounded;
}

/** Which of its ingredients change numbers. */
export interface Flash3Rounding {
  eightBits: boolean;
  hadamard: boolean;
  /** Queries are rounded in tiles too, counted from the first of the chunk. */
  integers: boolean;
  /** Queries are rounded to binary16. */
  halves?: boolean;
}

/**
 * Attention of a chunk, as `attention()`, where keys and values [S, G, D] end with the chunk: they are rounded with what is there then.
 */
export function flash3Attention(
  alloc: Alloc,
  layer: ScoredLayer,
  values: Reals,
  spec: AttentionSpec,
  start: number,
  { eightBits, hadamard, integers, halves = false }: Flash3Rounding,
): Reals {
  const { headCount, kvHeadCount, headDim } = spec;
  const turn = (rows: Reals): Reals => (hadamard ? hadamardRows(alloc, rows, headDim) : rows);
  const tiles = (rows: Reals, heads: number): Reals => (eightBits ? roundTiles(rows, heads, headDim) : rows);
  const asked = (rows: Reals): Reals => {
    if (integers) return roundTiles(turn(rows), headCount, headDim);
    return halves ? Float32Array.from(turn(rows), (value) => decodeF16(encodeF16(value))) : turn(rows);
  };
  const seen = {
    ...layer,
    queries: layer.queries.map(asked),
    keys: layer.keys.map((rows) => tiles(turn(rows), kvHeadCount)),
  };
  return attention(alloc, seen, tiles(values, kvHeadCount), spec, start);
}

function parity(bits: number): number {
  let ones = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) ones++;
  return ones % 2;
}
