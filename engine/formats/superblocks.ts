/**
 * Superblocks of 256 weights -> f32 (the K-quants of ggml and IQ4_XS): sub-blocks of 16 or 32 whose small integer scales, and
 * minima where there are any, are multiplied by f16 numbers of the whole. Layouts as in ggml-common.h.
 */
import { IQ4_VALUES } from "./blocks.ts";
import { f16Values } from "./floats.ts";

/** 16 bytes (low nibble scale, high nibble minimum of 16 weights), 64 bytes of pairs of bits, f16 d, f16 dmin: d s q - dmin m. */
export function decodeQ2K(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 84) {
    const d = halves[bytes[at + 80] | (bytes[at + 81] << 8)];
    const dmin = halves[bytes[at + 82] | (bytes[at + 83] << 8)];
    for (let sub = 0; sub < 16; sub++) {
      const scale = d * (bytes[at + sub] & 15);
      const min = dmin * (bytes[at + sub] >> 4);
      const codes = at + 16 + placeOf(sub);
      const shift = sub & 6;
      for (let i = 0; i < 16; i++) values[out++] = scale * ((bytes[codes + i] >> shift) & 3) - min;
    }
  }
}

/** 32 bytes of third bits, 64 bytes of pairs of bits, 12 bytes with 16 six-bit scales, f16 d: d (s - 32) (q - 4). */
export function decodeQ3K(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 110) {
    const d = halves[bytes[at + 108] | (bytes[at + 109] << 8)];
    for (let sub = 0; sub < 16; sub++) {
      // Low four bits of scales 0-7 and 8-15 share eight bytes; the high two bits of scale j are pair j >> 2 of byte 8 + j % 4.
      const low = (bytes[at + 96 + (sub & 7)] >> (sub < 8 ? 0 : 4)) & 15;
      const high = (bytes[at + 104 + (sub & 3)] >> (2 * (sub >> 2))) & 3;
      const scale = d * ((low | (high << 4)) - 32);
      const codes = at + 32 + placeOf(sub);
      const shift = sub & 6;
      const thirds = at + 16 * (sub & 1);
      const third = sub >> 1;
      for (let i = 0; i < 16; i++) {
        const q = ((bytes[codes + i] >> shift) & 3) | (((bytes[thirds + i] >> third) & 1) << 2);
        values[out++] = scale * (q - 4);
      }
    }
  }
}

/** Q2_K and Q3_K: place of the pairs of bits of a sub-block; 128 weights share 32 bytes, four times 32 weights by shift. */
function placeOf(sub: number): number {
  return 32 * (sub >> 3) + 16 * (sub & 1);
}

/** f16 d, f16 dmin, 12 bytes with 8 six-bit scales and minima of 32 weights, 128 bytes of nibbles: d s q - dmin m. */
export function decodeQ4K(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 144) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    const dmin = halves[bytes[at + 2] | (bytes[at + 3] << 8)];
    for (let sub = 0; sub < 8; sub++) {
      const scale = d * scaleOf(bytes, at + 4, sub);
      const min = dmin * minOf(bytes, at + 4, sub);
      const codes = at + 16 + 32 * (sub >> 1);
      const shift = 4 * (sub & 1);
      for (let i = 0; i < 32; i++) values[out++] = scale * ((bytes[codes + i] >> shift) & 15) - min;
    }
  }
}

/** As Q4_K, with 32 bytes of fifth bits behind the scales: bit j of byte i belongs to weight i of sub-block j. */
export function decodeQ5K(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 176) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    const dmin = halves[bytes[at + 2] | (bytes[at + 3] << 8)];
    for (let sub = 0; sub < 8; sub++) {
      const scale = d * scaleOf(bytes, at + 4, sub);
      const min = dmin * minOf(bytes, at + 4, sub);
      const codes = at + 48 + 32 * (sub >> 1);
      const shift = 4 * (sub & 1);
      for (let i = 0; i < 32; i++) {
        const q = ((bytes[codes + i] >> shift) & 15) | (((bytes[at + 16 + i] >> sub) & 1) << 4);
        values[out++] = scale * q - min;
      }
    }
  }
}

/** Scale of sub-block j: six bits of byte j, or for j >= 4 four bits of byte j + 4 below the top two of byte j - 4. */
function scaleOf(bytes: Uint8Array, at: number, sub: number): number {
  return sub < 4 ? bytes[at + sub] & 63 : (bytes[at + sub + 4] & 15) | ((bytes[at + sub - 4] >> 6) << 4);
}

/** Minimum of sub-block j: six bits of byte j + 4, or for j >= 4 the high four of byte j + 4 below the top two of byte j. */
function minOf(bytes: Uint8Array, at: number, sub: number): number {
  return sub < 4 ? bytes[at + sub + 4] & 63 : (bytes[at + sub + 4] >> 4) | ((bytes[at + sub] >> 6) << 4);
}

/** 128 bytes of low nibbles, 64 bytes of high pairs of bits, 16 x i8 scales of 16 weights, f16 d: d s (q - 32). */
export function decodeQ6K(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 210, out += 256) {
    const d = halves[bytes[at + 208] | (bytes[at + 209] << 8)];
    for (let sub = 0; sub < 16; sub++) {
      const scale = d * ((bytes[at + 192 + sub] << 24) >> 24);
      // Half of the block, quarter of the half, and half of the quarter's 32 weights.
      const half = sub >> 3;
      const quarter = (sub >> 1) & 3;
      const offset = 16 * (sub & 1);
      const lows = at + 64 * half + 32 * (quarter & 1) + offset;
      const lowShift = 4 * (quarter >> 1);
      const highs = at + 128 + 32 * half + offset;
      const highShift = 2 * quarter;
      const to = out + 16 * sub;
      for (let i = 0; i < 16; i++) {
        const q = ((bytes[lows + i] >> lowShift) & 15) | (((bytes[highs + i] >> highShift) & 3) << 4);
        values[to + i] = scale * (q - 32);
      }
    }
  }
}

/** f16 d, u16 with the high pairs and 4 bytes with the low nibbles of 8 six-bit scales, 128 bytes of nibbles: d (s - 32) value[q]. */
export function decodeIq4Xs(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 136) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    const highs = bytes[at + 2] | (bytes[at + 3] << 8);
    for (let sub = 0; sub < 8; sub++, out += 32) {
      const low = (bytes[at + 4 + (sub >> 1)] >> (4 * (sub & 1))) & 15;
      const scale = d * ((low | (((highs >> (2 * sub)) & 3) << 4)) - 32);
      const codes = at + 8 + 16 * sub;
      for (let i = 0; i < 16; i++) {
        const pair = bytes[codes + i];
        values[out + i] = scale * IQ4_VALUES[pair & 15];
        values[out + i + 16] = scale * IQ4_VALUES[pair >> 4];
      }
    }
  }
}
