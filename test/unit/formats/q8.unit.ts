import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeF16, encodeF16 } from "../../../engine/formats/floats.ts";
import { canQuantizeQ8, dequantizeQ8, quantizeQ8 } from "../../../engine/formats/q8.ts";
import { fill } from "../../support/goldenModels.ts";

describe("q8_0", () => {
  const matrix = Float32Array.from(fill("q8 matrix", [6, 64], 3));

  it("has one f16 scale per 32 columns", () => {
    const { values, scales } = quantizeQ8(matrix, 64);
    assert.equal(values.length, 6 * 64);
    assert.equal(scales.length, 6 * 2);
    for (const scale of scales) assert.equal(scale, decodeF16(encodeF16(scale)));
  });

  // A value lands within half a step; the largest may lose a little more, because its scale is rounded to 11 bits.
  it("keeps every value within half a step and the rounding of the scale", () => {
    const quantized = quantizeQ8(matrix, 64);
    dequantizeQ8(quantized).forEach((value, index) => {
      const step = quantized.scales[Math.floor(index / 32)];
      assert.ok(Math.abs(value - matrix[index]) <= step * (0.5 + 127 / 2048), `${value} for ${matrix[index]}, step ${step}`);
    });
  });

  it("is exact on its own values", () => {
    const once = dequantizeQ8(quantizeQ8(matrix, 64));
    assert.deepEqual(dequantizeQ8(quantizeQ8(once, 64)), once);
  });

  it("keeps zeros, and blocks apart", () => {
    const mixed = new Float32Array(64);
    mixed.fill(1000, 32);
    assert.deepEqual(dequantizeQ8(quantizeQ8(mixed, 64)).subarray(0, 32), new Float32Array(32));
  });

  it("refuses rows that do not divide into blocks", () => {
    assert.equal(canQuantizeQ8(64), true);
    assert.equal(canQuantizeQ8(48), false);
    assert.equal(canQuantizeQ8(0), false);
    assert.throws(() => quantizeQ8(new Float32Array(96), 48), RangeError);
  });
});
