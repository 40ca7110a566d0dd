/** Q8_0 and Q4_0 rows -> the codes and scales of onnxruntime's MatMulNBits: unsigned codes, lowest first, whose middle is zero. */
import { f16Values } from "../../formats/floats.ts";
import { LAYOUTS } from "../../formats/layouts.ts";

export const BLOCK = 32;

/** A matrix [rows, columns] in blocks of 32 along the row: value = scale (code - 2^(bits - 1)). */
export interface BlockWeight {
  kind: "q8_0" | "q4_0";
  rows: number;
  columns: number;
  /** [rows, columns / 32, 4 bits]; of two codes in a byte the first is the low one. */
  codes: Uint8Array<ArrayBuffer>;
  /** [rows, columns / 32] */
  scales: Float32Array<ArrayBuffer>;
}

export const bitsOf: Readonly<Record<BlockWeight["kind"], 4 | 8>> = { q8_0: 8, q4_0: 4 };

export function openBlockWeight(kind: BlockWeight["kind"], rows: number, columns: number): BlockWeight {
  const blocks = (rows * columns) / BLOCK;
  return { kind, rows, columns, codes: new Uint8Array(blocks * 4 * bitsOf[kind]), scales: new Float32Array(blocks) };
}

/** Takes whole rows, as a file holds them, for row `first` and those behind it. */
export function putRows({ kind, columns, codes, scales }: BlockWeight, first: number, bytes: Uint8Array): void {
  const halves = f16Values();
  const { bytes: blockBytes } = LAYOUTS[kind];
  let block = (first * columns) / BLOCK;
  for (let at = 0; at < bytes.length; at += blockBytes, block++) {
    scales[block] = halves[bytes[at] | (bytes[at + 1] << 8)];
    const to = block * 4 * bitsOf[kind];
    if (kind === "q8_0") {
      for (let i = 0; i < BLOCK; i++) codes[to + i] = bytes[at + 2 + i] ^ 128;
      continue;
    }
    // The file pairs code i with code i + 16; here neighbours share a byte.
    for (let i = 0; i < 8; i++) {
      const [first2, second2] = [bytes[at + 2 + 2 * i], bytes[at + 3 + 2 * i]];
      codes[to + i] = (first2 & 15) | ((second2 & 15) << 4);
      codes[to + 8 + i] = (first2 >> 4) | (second2 & 240);
    }
  }
}

/** Number `index` of the matrix. */
export function numberAt({ kind, codes, scales }: BlockWeight, index: number): number {
  const scale = scales[Math.floor(index / BLOCK)];
  if (kind === "q8_0") return (codes[index] - 128) * scale;
  return (((codes[index >> 1] >> (4 * (index & 1))) & 15) - 8) * scale;
}

/** Rows [start, end) on the same memory. */
export function blockRows({ kind, columns, codes, scales }: BlockWeight, start: number, end: number): BlockWeight {
  const blocks = columns / BLOCK;
  const rowBytes = blocks * 4 * bitsOf[kind];
  return {
    kind,
    rows: end - start,
    columns,
    codes: codes.subarray(start * rowBytes, end * rowBytes),
    scales: scales.subarray(start * blocks, end * blocks),
  };
}

/** Bytes of a matrix in memory. */
export function blockBytes(kind: BlockWeight["kind"], numbers: number): number {
  return (numbers / BLOCK) * (4 * bitsOf[kind] + 4);
}
