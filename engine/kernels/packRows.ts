/**
 * Rows of a file's tensor -> the units and words of kernels/matrix*.wgsl. Codes and scales only move; scales are multiplied out where the
 * device's format has no place for both factors, which is exact in f32.
 */
import type { TensorFormat } from "../api.ts";
import { E2M1_DOUBLED, IQ4_VALUES } from "../formats/blocks.ts";
import { decoderOf } from "../formats/decode.ts";
import { decodeF8E4M3, decodeF8E5M2, encodeF16 } from "../formats/floats.ts";
import { bytesOf } from "../formats/layouts.ts";
import { blocksOf, matrixBytes, matrixFormatOf, matrixLayouts, PANEL_ROWS, type MatrixFormat } from "./matrixFormats.ts";
import {
  putBytes,
  putFifths,
  putNibbles,
  putPair,
  putScale,
  UNIT,
  valuesOf,
  WORD,
  wordAt,
  type PackedRow,
  type RowPacker,
} from "./packedRow.ts";
import { packQ2K, packQ3K, packQ4K, packQ5K, packQ6K, packIq4Xs } from "./packSuperblocks.ts";

/** Rows that are packed piece by piece, in memory that is used again. */
export interface RowStaging {
  /** Whole panels with room for `rows` rows of zeros, valid until the next call. */
  open(format: MatrixFormat, rows: number, columns: number): PackedPanels;
}

export interface PackedPanels {
  readonly codes: Uint32Array<ArrayBuffer>;
  readonly scales: Uint32Array<ArrayBuffer>;
  /** Puts whole rows of a tensor format, as the file has them, to row `first` of the panels and behind it. */
  put(format: TensorFormat, bytes: Uint8Array, first: number): void;
}

export function openRowStaging(): RowStaging {
  let codeRoom = new Uint32Array(0);
  let scaleRoom = new Uint32Array(0);
  return {
    open(format, rows, columns) {
      const size = matrixBytes(format, rows, columns);
      codeRoom = cleared(codeRoom, size.codes / 4);
      scaleRoom = cleared(scaleRoom, size.scales / 4);
      const codes = codeRoom.subarray(0, size.codes / 4);
      const scales = scaleRoom.subarray(0, size.scales / 4);
      return { codes, scales, put: putInto(codes, scales, format, columns) };
    },
  };
}

function cleared(room: Uint32Array<ArrayBuffer>, length: number): Uint32Array<ArrayBuffer> {
  return room.length < length ? new Uint32Array(length) : room.fill(0, 0, length);
}

function putInto(codes: Uint32Array, scales: Uint32Array, deviceFormat: MatrixFormat, columns: number): PackedPanels["put"] {
  const { units, words } = matrixLayouts[deviceFormat];
  const blocks = blocksOf(columns);
  const panelUnits = units(blocks) * UNIT;
  const panelWords = words(blocks) * WORD;
  const row: PackedRow = { codes, scales, unit: 0, word: 0 };
  return (format, bytes, first) => {
    if (matrixFormatOf[format] !== deviceFormat) throw new RangeError(`rows of ${format} do not go into ${deviceFormat}`);
    const pack = packers[format];
    const rowBytes = bytesOf(format, columns);
    for (let from = 0, index = first; from < bytes.length; from += rowBytes, index++) {
      const panel = Math.floor(index / PANEL_ROWS);
      row.unit = panel * panelUnits + (index % PANEL_ROWS) * 4;
      row.word = panel * panelWords + (index % PANEL_ROWS);
      pack(bytes, from, columns, row);
    }
  };
}

const packers: Readonly<Record<TensorFormat, RowPacker>> = {
  f32: packWords,
  ...{ f16: packHalves, bf16: packHalves },
  ...{ f8_e4m3: bytesAsHalves(decodeF8E4M3), f8_e5m2: bytesAsHalves(decodeF8E5M2) },
  ...{ f64: decoded("f64"), i64: decoded("i64"), i32: decoded("i32"), i16: decoded("i16"), i8: decoded("i8") },
  ...{ u64: decoded("u64"), u32: decoded("u32"), u16: decoded("u16"), u8: decoded("u8"), bool: decoded("bool") },
  ...{ q8_0: packQ8_0, q4_0: packQ4_0, q5_0: packQ5_0, q4_1: packQ4_1, q5_1: packQ5_1, iq4_nl: packIq4Nl },
  ...{ q2_k: packQ2K, q3_k: packQ3K, q4_k: packQ4K, q5_k: packQ5K, q6_k: packQ6K, iq4_xs: packIq4Xs },
  ...{ mxfp4: packMxfp4, affine4: packAffine4, affine8: packAffine8 },
};

function packWords(bytes: Uint8Array, from: number, columns: number, { codes, unit }: PackedRow): void {
  for (let i = 0; i < columns; i++) codes[unit + (i >> 2) * UNIT + (i & 3)] = wordAt(bytes, from + 4 * i);
}

function packHalves(bytes: Uint8Array, from: number, columns: number, { codes, unit }: PackedRow): void {
  for (let i = 0; i < columns; i++) putHalf(codes, unit, i, bytes[from + 2 * i] | (bytes[from + 2 * i + 1] << 8));
}

/** Number `i` of a row in units of eight. */
function putHalf(codes: Uint32Array, unit: number, i: number, bits: number): void {
  codes[unit + (i >> 3) * UNIT + ((i >> 1) & 3)] |= bits << (16 * (i & 1));
}

/** Formats of one byte, all of whose values are binary16 numbers. */
function bytesAsHalves(decode: (bits: number) => number): RowPacker {
  let table: Uint16Array | undefined;
  return (bytes, from, columns, { codes, unit }) => {
    table ??= Uint16Array.from({ length: 256 }, (_, bits) => encodeF16(decode(bits)));
    for (let i = 0; i < columns; i++) putHalf(codes, unit, i, table[bytes[from + i]]);
  };
}

/** Formats that become f32. */
function decoded(format: TensorFormat): RowPacker {
  return (bytes, from, columns, row) => {
    const values = new Float32Array(columns);
    decoderOf(format)(bytes.subarray(from, from + bytesOf(format, columns)), values);
    packWords(new Uint8Array(values.buffer), 0, columns, row);
  };
}

function packQ8_0(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  for (let block = 0; block < blocksOf(columns); block++) {
    const at = from + 34 * block;
    putScale(row, block, bytes[at] | (bytes[at + 1] << 8));
    putBytes(row, block, bytes, at + 2);
  }
}

function packQ4_0(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  for (let block = 0; block < blocksOf(columns); block++) {
    const at = from + 18 * block;
    putScale(row, block, bytes[at] | (bytes[at + 1] << 8));
    putNibbles(row, block, bytes, at + 2);
  }
}

function packQ5_0(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  const blocks = blocksOf(columns);
  for (let block = 0; block < blocks; block++) {
    const at = from + 22 * block;
    putScale(row, block, bytes[at] | (bytes[at + 1] << 8));
    putFifths(row, blocks, block, wordAt(bytes, at + 2));
    putNibbles(row, block, bytes, at + 6);
  }
}

function packQ4_1(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  for (let block = 0; block < blocksOf(columns); block++) {
    const at = from + 20 * block;
    row.scales[row.word + block * WORD] = wordAt(bytes, at);
    putNibbles(row, block, bytes, at + 4);
  }
}

function packQ5_1(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  const blocks = blocksOf(columns);
  for (let block = 0; block < blocks; block++) {
    const at = from + 24 * block;
    row.scales[row.word + block * WORD] = wordAt(bytes, at);
    putFifths(row, blocks, block, wordAt(bytes, at + 4));
    putNibbles(row, block, bytes, at + 8);
  }
}

/** Its 16 values are small integers, so that it is Q8_0 in fewer bits. */
function packIq4Nl(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  for (let block = 0; block < blocksOf(columns); block++) {
    const at = from + 18 * block;
    putScale(row, block, bytes[at] | (bytes[at + 1] << 8));
    putBytes(row, block, valuesOf(bytes, at + 2, IQ4_VALUES, 0), 0);
  }
}

/** 2^(e - 128) times twice a value of e2m1, which is a whole number from -12 to 12. */
function packMxfp4(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  for (let block = 0; block < blocksOf(columns); block++) {
    const at = from + 17 * block;
    const scale = 2 ** (bytes[at] - 128);
    putPair(row, block, scale, -12 * scale);
    putBytes(row, block, valuesOf(bytes, at + 1, E2M1_DOUBLED, 12), 0);
  }
}

function packAffine4(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  for (let block = 0; block < blocksOf(columns); block++) {
    const at = from + 24 * block;
    row.scales[row.word + 2 * block * WORD] = wordAt(bytes, at);
    row.scales[row.word + (2 * block + 1) * WORD] = wordAt(bytes, at + 4);
    putNibbles(row, block, bytes, at + 8);
  }
}

function packAffine8(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  for (let block = 0; block < blocksOf(columns); block++) {
    const at = from + 40 * block;
    row.scales[row.word + 2 * block * WORD] = wordAt(bytes, at);
    row.scales[row.word + (2 * block + 1) * WORD] = wordAt(bytes, at + 4);
    putBytes(row, block, bytes, at + 8);
  }
}
