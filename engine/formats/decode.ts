/** Bytes of a tensor, in any of its formats, as f32 numbers. */
import type { TensorFormat } from "../api.ts";
import {
  decodeAffine4,
  decodeAffine8,
  decodeIq4Nl,
  decodeMxfp4,
  decodeQ4_0,
  decodeQ4_1,
  decodeQ5_0,
  decodeQ5_1,
  decodeQ8_0,
} from "./blocks.ts";
import { decodeBf16Bytes, decodeF16Bytes, decodeF32Bytes, decodeF64Bytes, decodeF8E4M3, decodeF8E5M2 } from "./floats.ts";
import { decodeIq4Xs, decodeQ2K, decodeQ3K, decodeQ4K, decodeQ5K, decodeQ6K } from "./superblocks.ts";

/** Decodes whole blocks `bytes` into `values`, which has as many numbers as they hold. */
export type Decoder = (bytes: Uint8Array, values: Float32Array) => void;

/** What a format decodes with; integers beyond 2^24 and f64 are rounded to the nearest f32. */
export function decoderOf(format: TensorFormat): Decoder {
  return DECODERS[format];
}

const DECODERS: Readonly<Record<TensorFormat, Decoder>> = {
  f64: decodeF64Bytes,
  f32: decodeF32Bytes,
  f16: decodeF16Bytes,
  bf16: decodeBf16Bytes,
  f8_e4m3: byTable(decodeF8E4M3),
  f8_e5m2: byTable(decodeF8E5M2),
  i64: integers((buffer) => new BigInt64Array(buffer)),
  i32: integers((buffer) => new Int32Array(buffer)),
  i16: integers((buffer) => new Int16Array(buffer)),
  i8: integers((buffer) => new Int8Array(buffer)),
  u64: integers((buffer) => new BigUint64Array(buffer)),
  u32: integers((buffer) => new Uint32Array(buffer)),
  u16: integers((buffer) => new Uint16Array(buffer)),
  u8: integers((buffer) => new Uint8Array(buffer)),
  bool: integers((buffer) => new Uint8Array(buffer)),
  ...{ q8_0: decodeQ8_0, q4_0: decodeQ4_0, q4_1: decodeQ4_1, q5_0: decodeQ5_0, q5_1: decodeQ5_1 },
  ...{ q2_k: decodeQ2K, q3_k: decodeQ3K, q4_k: decodeQ4K, q5_k: decodeQ5K, q6_k: decodeQ6K },
  ...{ iq4_nl: decodeIq4Nl, iq4_xs: decodeIq4Xs, mxfp4: decodeMxfp4 },
  ...{ affine4: decodeAffine4, affine8: decodeAffine8 },
};

/** Formats of one byte: all 256 values, made when the first tensor of the format is read. */
function byTable(decode: (bits: number) => number): Decoder {
  let table: Float32Array | undefined;
  return (bytes, values) => {
    table ??= Float32Array.from({ length: 256 }, (_, bits) => decode(bits));
    for (let i = 0; i < values.length; i++) values[i] = table[bytes[i]];
  };
}

/** The machine's byte order is the file's on every platform that VS Code runs on. */
function integers(view: (buffer: ArrayBuffer) => ArrayLike<number> | ArrayLike<bigint>): Decoder {
  return (bytes, values) => {
    const numbers = view(bytes.slice().buffer);
    for (let i = 0; i < values.length; i++) values[i] = Number(numbers[i]);
  };
}
