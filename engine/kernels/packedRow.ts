/** One row of a matrix in panels: where its units and words lie (kernels/matrix.wgsl), and how blocks of 32 codes are put there. */
import { PANEL_ROWS } from "./matrixFormats.ts";

/** Words from one unit of a row to its next, and from one word of scales to the next. */
export const UNIT = PANEL_ROWS * 4;
export const WORD = PANEL_ROWS;

/** Where a row goes: `unit` is the place of its first unit's first word, `word` that of its first word of scales. All is zero before. */
export interface PackedRow {
  readonly codes: Uint32Array;
  readonly scales: Uint32Array;
  unit: number;
  word: number;
}

/** Packs the row of `columns` numbers that begins at byte `from`. */
export type RowPacker = (bytes: Uint8Array, from: number, columns: number, row: PackedRow) => void;

/** Four bytes, lowest first. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/** The binary16 scale of a block, two to a word. */
export function putScale({ scales, word }: PackedRow, block: number, bits: number): void {
  scales[word + (block >> 1) * WORD] |= bits << (16 * (block & 1));
}

const float = new Float32Array(2);
const floatBits = new Uint32Array(float.buffer);

/** Scale and offset number `index` of the row as f32. */
export function putPair({ scales, word }: PackedRow, index: number, scale: number, offset: number): void {
  float[0] = scale;
  float[1] = offset;
  scales[word + 2 * index * WORD] = floatBits[0];
  scales[word + (2 * index + 1) * WORD] = floatBits[1];
}

/** 16 bytes of nibbles: low ones are codes 0 .. 15 of the block, high ones 16 .. 31. */
export function putNibbles({ codes, unit }: PackedRow, block: number, bytes: Uint8Array, from: number): void {
  const to = unit + block * UNIT;
  for (let i = 0; i < 4; i++) codes[to + i] = wordAt(bytes, from + 4 * i);
}

/** 32 bytes, in two units. */
export function putBytes({ codes, unit }: PackedRow, block: number, bytes: Uint8Array, from: number): void {
  const to = unit + 2 * block * UNIT;
  for (let i = 0; i < 8; i++) codes[to + (i >> 2) * UNIT + (i & 3)] = wordAt(bytes, from + 4 * i);
}

/** Fifth bits of a block, bit i that of code i: bit j of nibble n goes to bit 8 j + n, beside the byte of code 4 n + j. */
export function putFifths(row: PackedRow, blocks: number, block: number, bits: number): void {
  let word = 0;
  for (let n = 0; n < 8; n++) {
    const nibble = bits >>> (4 * n);
    word |= ((nibble & 1) | ((nibble & 2) << 7) | ((nibble & 4) << 14) | ((nibble & 8) << 21)) << n;
  }
  putFifthsWord(row, blocks, block, word);
}

/** The same in the device's order; the words of four blocks are a unit behind all units of codes. */
export function putFifthsWord({ codes, unit }: PackedRow, blocks: number, block: number, word: number): void {
  codes[unit + (blocks + (block >> 2)) * UNIT + (block & 3)] = word;
}

const looked = new Uint8Array(32);

/** The 32 values of 16 bytes of nibbles plus `shift`, as bytes; overwritten by the next call. */
export function valuesOf(bytes: Uint8Array, from: number, values: Int8Array, shift: number): Uint8Array {
  for (let i = 0; i < 16; i++) {
    looked[i] = values[bytes[from + i] & 15] + shift;
    looked[i + 16] = values[bytes[from + i] >> 4] + shift;
  }
  return looked;
}
