/** Rows of superblocks of 256 weights (formats/superblocks.ts describes them) -> units and words of the device. */
import { IQ4_VALUES } from "../formats/blocks.ts";
import { f16Values } from "../formats/floats.ts";
import { blocksOf } from "./matrixFormats.ts";
import { putBytes, putFifthsWord, putPair, UNIT, valuesOf, WORD, wordAt, type PackedRow } from "./packedRow.ts";

/** d s q - dmin m with two bits of q and four of s and m per 16 weights -> affine4_16. */
export function packQ2K(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  const halves = f16Values();
  for (let part = 0; part < columns / 16; part++) {
    const at = from + 84 * (part >> 4);
    const sub = part & 15;
    const d = halves[bytes[at + 80] | (bytes[at + 81] << 8)];
    const dmin = halves[bytes[at + 82] | (bytes[at + 83] << 8)];
    putPair(row, part, d * (bytes[at + sub] & 15), -dmin * (bytes[at + sub] >> 4));
    const codes = at + 16 + 32 * (sub >> 3) + 16 * (sub & 1);
    for (let i = 0; i < 4; i++) orCodes(row, part, i, (wordAt(bytes, codes + 4 * i) >>> (sub & 6)) & 0x03030303);
  }
}

/** d (s - 32) (q - 4) with three bits of q and six of s per 16 weights -> affine4_16. */
export function packQ3K(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  const halves = f16Values();
  for (let part = 0; part < columns / 16; part++) {
    const at = from + 110 * (part >> 4);
    const sub = part & 15;
    const low = (bytes[at + 96 + (sub & 7)] >> (sub < 8 ? 0 : 4)) & 15;
    const high = (bytes[at + 104 + (sub & 3)] >> (2 * (sub >> 2))) & 3;
    const scale = halves[bytes[at + 108] | (bytes[at + 109] << 8)] * ((low | (high << 4)) - 32);
    putPair(row, part, scale, -4 * scale);
    const codes = at + 32 + 32 * (sub >> 3) + 16 * (sub & 1);
    const thirds = at + 16 * (sub & 1);
    for (let i = 0; i < 4; i++) {
      const two = (wordAt(bytes, codes + 4 * i) >>> (sub & 6)) & 0x03030303;
      const third = (wordAt(bytes, thirds + 4 * i) >>> (sub >> 1)) & 0x01010101;
      orCodes(row, part, i, two | (third << 2));
    }
  }
}

/** Codes 4 i .. 4 i + 3 of a half block, as nibbles of bytes. */
function orCodes({ codes, unit }: PackedRow, part: number, i: number, four: number): void {
  codes[unit + (part >> 1) * UNIT + i] |= four << (4 * (part & 1));
}

export function packQ4K(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  for (let superblock = 0; superblock < columns / 256; superblock++) {
    const at = from + 144 * superblock;
    putScalesAndMinima(bytes, at, superblock, row);
    putNibblesOfPairs(bytes, at + 16, superblock, row);
  }
}

export function packQ5K(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  const blocks = blocksOf(columns);
  for (let superblock = 0; superblock < columns / 256; superblock++) {
    const at = from + 176 * superblock;
    putScalesAndMinima(bytes, at, superblock, row);
    putNibblesOfPairs(bytes, at + 48, superblock, row);
    for (let sub = 0; sub < 8; sub++) {
      let word = 0;
      for (let i = 0; i < 8; i++) word |= ((wordAt(bytes, at + 16 + 4 * i) >>> sub) & 0x01010101) << i;
      putFifthsWord(row, blocks, 8 * superblock + sub, word);
    }
  }
}

/** Two blocks share 32 bytes in the file, one the low nibbles and one the high; here they have 16 bytes each. */
function putNibblesOfPairs(bytes: Uint8Array, from: number, superblock: number, { codes, unit }: PackedRow): void {
  for (let pair = 0; pair < 4; pair++) {
    const to = unit + (8 * superblock + 2 * pair) * UNIT;
    for (let i = 0; i < 4; i++) {
      const first = wordAt(bytes, from + 32 * pair + 4 * i);
      const second = wordAt(bytes, from + 32 * pair + 16 + 4 * i);
      codes[to + i] = (first & 0x0f0f0f0f) | ((second & 0x0f0f0f0f) << 4);
      codes[to + UNIT + i] = ((first >>> 4) & 0x0f0f0f0f) | (second & 0xf0f0f0f0);
    }
  }
}

/** d and dmin as they are; low nibbles of the eight scales, of the eight minima, and the two high bits of each. */
function putScalesAndMinima(bytes: Uint8Array, from: number, superblock: number, { scales, word }: PackedRow): void {
  const to = word + 4 * superblock * WORD;
  scales[to] = wordAt(bytes, from);
  for (let sub = 0; sub < 8; sub++) {
    const [low, high] = [bytes[from + 4 + (sub & 3)], bytes[from + 8 + (sub & 3)]];
    const shared = bytes[from + 12 + (sub & 3)];
    const scale = sub < 4 ? low & 63 : (shared & 15) | ((low >> 6) << 4);
    const min = sub < 4 ? high & 63 : (shared >> 4) | ((high >> 6) << 4);
    scales[to + WORD] |= (scale & 15) << (4 * sub);
    scales[to + 2 * WORD] |= (min & 15) << (4 * sub);
    scales[to + 3 * WORD] |= ((scale >> 4) << (2 * sub)) | ((min >> 4) << (16 + 2 * sub));
  }
}

export function packQ6K(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  const blocks = blocksOf(columns);
  for (let part = 0; part < columns / 16; part++) {
    const at = from + 210 * (part >> 4);
    const sub = part & 15;
    // Half of the superblock, quarter of the half, and half of the quarter's 32 weights.
    const quarter = (sub >> 1) & 3;
    const offset = 16 * (sub & 1);
    const lows = at + 64 * (sub >> 3) + 32 * (quarter & 1) + offset;
    const highs = at + 128 + 32 * (sub >> 3) + offset;
    let pairs = 0;
    for (let i = 0; i < 4; i++) {
      orCodes(row, part, i, (wordAt(bytes, lows + 4 * i) >>> (4 * (quarter >> 1))) & 0x0f0f0f0f);
      pairs |= ((wordAt(bytes, highs + 4 * i) >>> (2 * quarter)) & 0x03030303) << (2 * i);
    }
    row.codes[row.unit + (blocks + (part >> 2)) * UNIT + (part & 3)] = pairs;
    if (sub === 0) putScalesOf16(bytes, at + 192, part >> 4, row);
  }
}

const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

/** 16 signed bytes, then the f16 d as f32. */
function putScalesOf16(bytes: Uint8Array, from: number, superblock: number, { scales, word }: PackedRow): void {
  const to = word + 5 * superblock * WORD;
  for (let i = 0; i < 4; i++) scales[to + i * WORD] = wordAt(bytes, from + 4 * i);
  float[0] = f16Values()[bytes[from + 16] | (bytes[from + 17] << 8)];
  scales[to + 4 * WORD] = floatBits[0];
}

/** d (s - 32) value[q] with values from -127 to 113 -> affine8. */
export function packIq4Xs(bytes: Uint8Array, from: number, columns: number, row: PackedRow): void {
  const halves = f16Values();
  for (let block = 0; block < columns / 32; block++) {
    const at = from + 136 * (block >> 3);
    const sub = block & 7;
    const low = (bytes[at + 4 + (sub >> 1)] >> (4 * (sub & 1))) & 15;
    const high = ((bytes[at + 2] | (bytes[at + 3] << 8)) >> (2 * sub)) & 3;
    const scale = halves[bytes[at] | (bytes[at + 1] << 8)] * ((low | (high << 4)) - 32);
    putPair(row, block, scale, -127 * scale);
    putBytes(row, block, valuesOf(bytes, at + 8 + 16 * sub, IQ4_VALUES, 127), 0);
  }
}
