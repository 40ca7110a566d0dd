/** Q4_0: blocks of 32 codes of four bits with one f16 scale, as in ggml; the block runs along the columns of a row-major matrix. */
import { decodeF16, encodeF16 } from "./floats.ts";
import { nearest } from "./q8.ts";

export const Q4_BLOCK = 32;

export interface Q4Matrix {
  /** [rows, columns] in 0 .. 15; a weight is scale (code - 8). */
  codes: Uint8Array<ArrayBuffer>;
  /** [rows, columns / 32]; every scale is exactly an f16. */
  scales: Float32Array<ArrayBuffer>;
}

/**
 * Scale = value of largest magnitude / -8, rounded to f16, so that this value has code 0 and the other sign reaches to 7 steps; values
 * are rounded against the rounded scale.
 */
export function quantizeQ4(matrix: Float32Array, columns: number): Q4Matrix {
  if (columns <= 0 || columns % Q4_BLOCK !== 0 || matrix.length % columns !== 0) {
    throw new RangeError(`cannot divide ${matrix.length} values with ${columns} columns into blocks of ${Q4_BLOCK}`);
  }
  const codes = new Uint8Array(matrix.length);
  const scales = new Float32Array(matrix.length / Q4_BLOCK);
  for (let block = 0; block < scales.length; block++) {
    const start = block * Q4_BLOCK;
    let largest = 0;
    for (let i = start; i < start + Q4_BLOCK; i++) if (Math.abs(matrix[i]) > Math.abs(largest)) largest = matrix[i];
    const scale = largest === 0 ? 0 : decodeF16(encodeF16(largest / -8));
    scales[block] = scale;
    const steps = scale === 0 ? 0 : 1 / scale;
    for (let i = start; i < start + Q4_BLOCK; i++) {
      const code = nearest(matrix[i] * steps) + 8;
      codes[i] = code < 0 ? 0 : code > 15 ? 15 : code;
    }
  }
  return { codes, scales };
}

export function dequantizeQ4(matrix: Q4Matrix): Float32Array<ArrayBuffer> {
  const values = new Float32Array(matrix.codes.length);
  for (let i = 0; i < values.length; i++) values[i] = (matrix.codes[i] - 8) * matrix.scales[Math.floor(i / Q4_BLOCK)];
  return values;
}

/** The matrix as a file holds it: per block the f16 scale, then 16 bytes (low nibble: weight i, high nibble: weight i + 16). */
export function q4Bytes({ codes, scales }: Q4Matrix): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(scales.length * 18);
  for (let block = 0, at = 0; block < scales.length; block++) {
    const half = encodeF16(scales[block]);
    bytes[at++] = half & 255;
    bytes[at++] = half >> 8;
    const start = block * Q4_BLOCK;
    for (let i = start; i < start + 16; i++) bytes[at++] = codes[i] | (codes[i + 16] << 4);
  }
  return bytes;
}
