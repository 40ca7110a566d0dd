import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TensorFormat } from "../../../engine/api.ts";
import { decoderOf } from "../../../engine/formats/decode.ts";
import {
  decodeBf16,
  decodeBf16Bytes,
  decodeF16,
  decodeF16Bytes,
  decodeF8E4M3,
  decodeF8E5M2,
  encodeF16,
} from "../../../engine/formats/floats.ts";
import { LAYOUTS } from "../../../engine/formats/layouts.ts";
import { goldenFile } from "../../support/goldenModels.ts";

type Values = Record<string, number | "Infinity" | "-Infinity" | "NaN">;
const golden = goldenFile("small_floats.json") as {
  f16: Values;
  bf16: Values;
  f8_e4m3fn: Values;
  f8_e5m2: Values;
};

describe("small floats", () => {
  for (const [format, values, one, many] of [
    ["f16", golden.f16, decodeF16, decodeF16Bytes],
    ["bf16", golden.bf16, decodeBf16, decodeBf16Bytes],
  ] as const) {
    it(`decodes ${format} exactly`, () => {
      for (const [hex, value] of Object.entries(values)) {
        const bits = Number.parseInt(hex, 16);
        const expected = Math.fround(Number(value));
        assert.ok(Object.is(one(bits), expected), `${hex}: ${one(bits)} is not ${expected}`);
        assert.ok(Object.is(many(Uint8Array.of(bits & 255, bits >> 8))[0], expected), `bytes of ${hex}`);
      }
    });
  }

  for (const [format, values, one] of [
    ["f8_e4m3", golden.f8_e4m3fn, decodeF8E4M3],
    ["f8_e5m2", golden.f8_e5m2, decodeF8E5M2],
  ] as const) {
    it(`decodes ${format} exactly`, () => {
      for (const [hex, value] of Object.entries(values)) {
        const bits = Number.parseInt(hex, 16);
        assert.ok(Object.is(one(bits), Number(value)), `${hex}: ${one(bits)} is not ${value}`);
        assert.ok(Object.is(decoded(format, Uint8Array.of(bits))[0], Number(value)), `byte ${hex}`);
      }
    });
  }

  it("decodes integers and f64 of every width, rounded to f32", () => {
    const numbers: [TensorFormat, Iterable<number>, ArrayBuffer][] = [
      ["i8", [-128, 127], Int8Array.of(-128, 127).buffer],
      ["u8", [255, 1], Uint8Array.of(255, 1).buffer],
      ["bool", [1, 0], Uint8Array.of(1, 0).buffer],
      ["i16", [-32768, 7], Int16Array.of(-32768, 7).buffer],
      ["u16", [65535, 7], Uint16Array.of(65535, 7).buffer],
      ["i32", [-(2 ** 31), 2 ** 25], Int32Array.of(-(2 ** 31), 2 ** 25 + 1).buffer],
      ["u32", [2 ** 32, 7], Uint32Array.of(2 ** 32 - 1, 7).buffer],
      ["i64", [-(2 ** 63), -7], BigInt64Array.of(-(2n ** 63n), -7n).buffer],
      ["u64", [2 ** 64, 7], BigUint64Array.of(2n ** 64n - 1n, 7n).buffer],
      ["f64", [Math.fround(0.1), 3e38], Float64Array.of(0.1, Math.fround(3e38)).buffer],
    ];
    for (const [format, expected, buffer] of numbers)
      assert.deepEqual(decoded(format, new Uint8Array(buffer)), Float32Array.from(expected), format);
  });

  it("encodes every f16 to itself", () => {
    for (let bits = 0; bits < 65536; bits++) {
      if (!Number.isNaN(decodeF16(bits)) && bits !== 0x8000) assert.equal(encodeF16(decodeF16(bits)), bits);
    }
  });

  it("rounds to the nearest f16, ties to even, and overflows to infinity", () => {
    const rounded: [number, number][] = [
      [1 + 1 / 2048, 1],
      [1 + 3 / 2048, 1 + 2 / 1024],
      [1 + 1.1 / 2048, 1 + 1 / 1024],
      [65519, 65504],
      [65520, Infinity],
      [-1e9, -Infinity],
      [2 ** -25, 0],
      [1.1 * 2 ** -25, 2 ** -24],
    ];
    for (const [value, expected] of rounded) assert.equal(decodeF16(encodeF16(value)), expected);
    assert.ok(Number.isNaN(decodeF16(encodeF16(NaN))));
  });
});

function decoded(format: TensorFormat, bytes: Uint8Array): Float32Array {
  const values = new Float32Array(bytes.length / LAYOUTS[format].bytes);
  decoderOf(format)(bytes, values);
  return values;
}
