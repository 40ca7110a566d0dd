/**
 * Blocks of 32 weights -> f32: those of ggml (ggml-common.h; tables of their layouts in ggml's docs) and our two affine ones.
 * Every product and sum of a block fits in a double, so each value is rounded to f32 once, as ggml's own f32 arithmetic does.
 */
import { f16Values } from "./floats.ts";

/** f16 d, 32 x i8 q: d q. */
export function decodeQ8_0(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 34, out += 32) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    for (let i = 0; i < 32; i++) values[out + i] = d * ((bytes[at + 2 + i] << 24) >> 24);
  }
}

/** f16 d, 16 bytes of nibbles (low: weight i, high: weight i + 16): d (q - 8). */
export function decodeQ4_0(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 18, out += 32) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 2 + i];
      values[out + i] = d * ((pair & 15) - 8);
      values[out + i + 16] = d * ((pair >> 4) - 8);
    }
  }
}

/** f16 d, f16 m, 16 bytes of nibbles: d q + m. */
export function decodeQ4_1(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 20, out += 32) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    const m = halves[bytes[at + 2] | (bytes[at + 3] << 8)];
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 4 + i];
      values[out + i] = d * (pair & 15) + m;
      values[out + i + 16] = d * (pair >> 4) + m;
    }
  }
}

/** f16 d, u32 fifth bits (bit i: weight i), 16 bytes of nibbles: d (q - 16). */
export function decodeQ5_0(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 22, out += 32) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    const fifths = bytes[at + 2] | (bytes[at + 3] << 8) | (bytes[at + 4] << 16) | (bytes[at + 5] << 24);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 6 + i];
      values[out + i] = d * (((pair & 15) | (((fifths >>> i) & 1) << 4)) - 16);
      values[out + i + 16] = d * (((pair >> 4) | (((fifths >>> (i + 16)) & 1) << 4)) - 16);
    }
  }
}

/** f16 d, f16 m, u32 fifth bits, 16 bytes of nibbles: d q + m. */
export function decodeQ5_1(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 24, out += 32) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    const m = halves[bytes[at + 2] | (bytes[at + 3] << 8)];
    const fifths = bytes[at + 4] | (bytes[at + 5] << 8) | (bytes[at + 6] << 16) | (bytes[at + 7] << 24);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 8 + i];
      values[out + i] = d * ((pair & 15) | (((fifths >>> i) & 1) << 4)) + m;
      values[out + i + 16] = d * ((pair >> 4) | (((fifths >>> (i + 16)) & 1) << 4)) + m;
    }
  }
}

/** Values of the codes of IQ4_NL and IQ4_XS: steps that grow with the distance from zero. */
export const IQ4_VALUES = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

/** f16 d, 16 bytes of nibbles: d value[q]. */
export function decodeIq4Nl(bytes: Uint8Array, values: Float32Array): void {
  const halves = f16Values();
  for (let at = 0, out = 0; out < values.length; at += 18, out += 32) {
    const d = halves[bytes[at] | (bytes[at + 1] << 8)];
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 2 + i];
      values[out + i] = d * IQ4_VALUES[pair & 15];
      values[out + i + 16] = d * IQ4_VALUES[pair >> 4];
    }
  }
}

/** Twice the values of e2m1, so that they are whole. */
export const E2M1_DOUBLED = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

/** u8 exponent e (OCP e8m0), 16 bytes of nibbles: 2^(e - 127) times the e2m1 value of q. */
export function decodeMxfp4(bytes: Uint8Array, values: Float32Array): void {
  for (let at = 0, out = 0; out < values.length; at += 17, out += 32) {
    const halfScale = 2 ** (bytes[at] - 128);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 1 + i];
      values[out + i] = halfScale * E2M1_DOUBLED[pair & 15];
      values[out + i + 16] = halfScale * E2M1_DOUBLED[pair >> 4];
    }
  }
}

const word = new Uint8Array(4);
const wordFloat = new Float32Array(word.buffer);

function f32At(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < 4; i++) word[i] = bytes[at + i];
  return wordFloat[0];
}

/** f32 scale, f32 offset, 16 bytes of nibbles: scale q + offset. */
export function decodeAffine4(bytes: Uint8Array, values: Float32Array): void {
  for (let at = 0, out = 0; out < values.length; at += 24, out += 32) {
    const scale = f32At(bytes, at);
    const offset = f32At(bytes, at + 4);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 8 + i];
      values[out + i] = scale * (pair & 15) + offset;
      values[out + i + 16] = scale * (pair >> 4) + offset;
    }
  }
}

/** f32 scale, f32 offset, 32 x u8 q: scale q + offset. */
export function decodeAffine8(bytes: Uint8Array, values: Float32Array): void {
  for (let at = 0, out = 0; out < values.length; at += 40, out += 32) {
    const scale = f32At(bytes, at);
    const offset = f32At(bytes, at + 4);
    for (let i = 0; i < 32; i++) values[out + i] = scale * bytes[at + 8 + i] + offset;
  }
}
