import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeBf16, decodeBf16Bytes, decodeF16, decodeF16Bytes, encodeF16 } from "../../../engine/formats/floats.ts";
import { goldenFile } from "../../support/goldenModels.ts";

type Values = Record<string, number | "Infinity" | "-Infinity" | "NaN">;
const golden = goldenFile("small_floats.json") as { f16: Values; bf16: Values };

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
