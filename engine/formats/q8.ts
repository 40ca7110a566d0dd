/** Q8_0: blocks of 32 signed bytes with one f16 scale, as in ggml; the block runs along the columns of a row-major matrix. */
import { encodeF16, decodeF16 } from "./floats.ts";

export const Q8_BLOCK = 32;

export interface Q8Matrix {
  /** [rows, columns] in -127 .. 127. */
  values: Int8Array<ArrayBuffer>;
  /** [rows, columns / 32]; every scale is exactly an f16. */
  scales: Float32Array<ArrayBuffer>;
}

/** Rows that do not divide into blocks stay in f32. */
export function canQuantizeQ8(columns: number): boolean {
  return columns > 0 && columns % Q8_BLOCK === 0;
}

/** Scale = max |x| / 127 of each block, rounded to f16; values are rounded against the rounded scale, so that no error is hidden. */
export function quantizeQ8(matrix: Float32Array, columns: number): Q8Matrix {
  if (!canQuantizeQ8(columns) || matrix.length % columns !== 0) {
    throw new RangeError(`cannot divide ${matrix.length} values with ${columns} columns into blocks of ${Q8_BLOCK}`);
  }
  const values = new Int8Array(matrix.length);
  const scales = new Float32Array(matrix.length / Q8_BLOCK);
  for (let block = 0; block < scales.length; block++) {
    const start = block * Q8_BLOCK;
    let largest = 0;
    for (let i = start; i < start + Q8_BLOCK; i++) largest = Math.max(largest, Math.abs(matrix[i]));
    const scale = decodeF16(encodeF16(largest / 127));
    scales[block] = scale;
    if (scale === 0) continue;
    const steps = 1 / scale;
    for (let i = start; i < start + Q8_BLOCK; i++) {
      // The rounded scale may be a little smaller than max / 127.
      const step = nearest(matrix[i] * steps);
      values[i] = step > 127 ? 127 : step < -127 ? -127 : step;
    }
  }
  return { values, scales };
}

/** The nearest whole number, halves away from zero as ggml rounds: faster than Math.round. */
export function nearest(value: number): number {
  return (value < 0 ? value - 0.5 : value + 0.5) | 0;
}

export function dequantizeQ8(matrix: Q8Matrix): Float32Array<ArrayBuffer> {
  const values = new Float32Array(matrix.values.length);
  for (let i = 0; i < values.length; i++) values[i] = matrix.values[i] * matrix.scales[Math.floor(i / Q8_BLOCK)];
  return values;
}

/** The matrix as a file holds it: per block the f16 scale, then 32 signed bytes. */
export function q8Bytes({ values, scales }: Q8Matrix): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(scales.length * 34);
  for (let block = 0, at = 0; block < scales.length; block++) {
    const half = encodeF16(scales[block]);
    bytes[at++] = half & 255;
    bytes[at++] = half >> 8;
    for (let i = block * Q8_BLOCK; i < (block + 1) * Q8_BLOCK; i++) bytes[at++] = values[i] & 255;
  }
  return bytes;
}
