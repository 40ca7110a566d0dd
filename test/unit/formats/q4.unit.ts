import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeQ4_0, decodeQ8_0 } from "../../../engine/formats/blocks.ts";
import { decodeF16, encodeF16 } from "../../../engine/formats/floats.ts";
import { dequantizeQ4, q4Bytes, quantizeQ4 } from "../../../engine/formats/q4.ts";
import { dequantizeQ8, q8Bytes, quantizeQ8 } from "../../../engine/formats/q8.ts";
import { fill } from "../../support/goldenModels.ts";

describe("q4_0", () => {
  const matrix = Float32Array.from(fill("q4 matrix", [6, 64], 3));

  it("has one f16 scale per 32 columns and codes of four bits", () => {
    const { codes, scales } = quantizeQ4(matrix, 64);
    assert.equal(codes.length, 6 * 64);
    assert.equal(scales.length, 6 * 2);
    for (const scale of scales) assert.equal(scale, decodeF16(encodeF16(scale)));
    assert(codes.every((code) => code <= 15) && codes.includes(0));
  });

  // Half a step; at the far end, opposite the largest value, codes reach to 7 steps only, so a whole one; the scale has 11 bits.
  it("keeps every value within a step", () => {
    const quantized = quantizeQ4(matrix, 64);
    let whole = 0;
    dequantizeQ4(quantized).forEach((value, index) => {
      const step = Math.abs(quantized.scales[Math.floor(index / 32)]);
      const off = Math.abs(value - matrix[index]);
      assert.ok(off <= step * (1 + 8 / 2048), `${value} for ${matrix[index]}, step ${step}`);
      if (off > step * (0.5 + 8 / 2048)) whole++;
    });
    assert(whole < matrix.length / 10, "most are within half a step");
  });

  it("is exact on its own values, and on zeros beside large blocks", () => {
    const once = dequantizeQ4(quantizeQ4(matrix, 64));
    assert.deepEqual(dequantizeQ4(quantizeQ4(once, 64)), once);
    const mixed = new Float32Array(64);
    mixed.fill(-1000, 32);
    assert.deepEqual(dequantizeQ4(quantizeQ4(mixed, 64)).subarray(0, 32), new Float32Array(32));
  });

  it("refuses rows that do not divide into blocks", () => {
    assert.throws(() => quantizeQ4(new Float32Array(96), 48), RangeError);
  });

  it("writes the bytes of a file, as q8_0 does", () => {
    const four = quantizeQ4(matrix, 64);
    const eight = quantizeQ8(matrix, 64);
    const values = new Float32Array(matrix.length);
    decodeQ4_0(q4Bytes(four), values);
    assert.deepEqual(values, dequantizeQ4(four));
    decodeQ8_0(q8Bytes(eight), values);
    assert.deepEqual(values, dequantizeQ8(eight));
  });
});
