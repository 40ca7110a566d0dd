/** Numbers and bytes per block of every tensor format; a plain number is a block of one. */
import type { TensorFormat } from "../api.ts";

export interface BlockLayout {
  /** Numbers a block holds, along the row. */
  readonly numbers: number;
  readonly bytes: number;
}

/**
 * The ggml formats as in ggml-common.h. `affine4` and `affine8` hold what AWQ, GPTQ and MatMulNBits pack: f32 scale, f32 offset, then
 * 16 bytes of nibbles (low: weight i, high: weight i + 16) or 32 bytes; a weight is scale * code + offset.
 */
export const LAYOUTS: Readonly<Record<TensorFormat, BlockLayout>> = {
  ...{ f64: plain(8), f32: plain(4), f16: plain(2), bf16: plain(2), f8_e4m3: plain(1), f8_e5m2: plain(1) },
  ...{ i64: plain(8), i32: plain(4), i16: plain(2), i8: plain(1), u64: plain(8), u32: plain(4), u16: plain(2), u8: plain(1) },
  bool: plain(1),
  q8_0: { numbers: 32, bytes: 34 },
  q4_0: { numbers: 32, bytes: 18 },
  q4_1: { numbers: 32, bytes: 20 },
  q5_0: { numbers: 32, bytes: 22 },
  q5_1: { numbers: 32, bytes: 24 },
  q2_k: { numbers: 256, bytes: 84 },
  q3_k: { numbers: 256, bytes: 110 },
  q4_k: { numbers: 256, bytes: 144 },
  q5_k: { numbers: 256, bytes: 176 },
  q6_k: { numbers: 256, bytes: 210 },
  iq4_nl: { numbers: 32, bytes: 18 },
  iq4_xs: { numbers: 256, bytes: 136 },
  mxfp4: { numbers: 32, bytes: 17 },
  affine4: { numbers: 32, bytes: 24 },
  affine8: { numbers: 32, bytes: 40 },
};

/** Bytes of `numbers` numbers, which must be whole blocks. */
export function bytesOf(format: TensorFormat, numbers: number): number {
  const block = LAYOUTS[format];
  if (numbers % block.numbers !== 0) throw new RangeError(`${numbers} numbers are no whole blocks of ${format}`);
  return (numbers / block.numbers) * block.bytes;
}

function plain(bytes: number): BlockLayout {
  return { numbers: 1, bytes };
}
