import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeTable } from "../../../engine/api.ts";
import {
  interleavedRow,
  positionsFrom,
  rotateHeads,
  rotation,
  rotation64,
  type PairLayout,
} from "../../../engine/position/rope.ts";
import { ropeTable } from "../../../engine/position/scaling.ts";
import { goldenFile } from "../../support/goldenModels.ts";

const golden = goldenFile("rope_apply.json") as {
  theta: number;
  position: number;
  x: number[];
  rotate_half: number[];
  interleaved: number[];
  interleaved_to_half_permutation: number[];
  "rotate_half_with_attention_factor_1.25": number[];
  partial_rotary_dim4_rotate_half: number[];
  relative_property_rotate_half: { q: number[]; k: number[]; pairs: { m: number; n: number; dot: number }[] };
  large_position_float32_warning: { position: number; cos_float64: number };
};
const plain = tableOf(8);

// One rotation is two products and a sum: float64 leaves 1e-12 with room, f32 leaves 1e-6 for values below one.
describe("rotation of heads", () => {
  it("turns pair (i, i + d/2) by position times frequency", () => {
    close(turned(golden.x, golden.position, plain), golden.rotate_half, 1e-12);
  });

  it("turns pair (2i, 2i + 1) in the interleaved layout", () => {
    close(turned(golden.x, golden.position, plain, "interleaved"), golden.interleaved, 1e-12);
  });

  it("both layouts are the same rotation of permuted rows", () => {
    const permutation = Array.from({ length: 8 }, (_, row) => interleavedRow(row, 8));
    assert.deepEqual(permutation, golden.interleaved_to_half_permutation);
    const inHalfOrder = (x: readonly number[]): number[] => permutation.map((row) => x[row]);
    const interleaved = turned(golden.x, golden.position, plain, "interleaved");
    assert.deepEqual(turned(inHalfOrder(golden.x), golden.position, plain), inHalfOrder(interleaved));
  });

  it("permutes rotary rows only where part of a head turns", () => {
    assert.deepEqual(
      Array.from({ length: 8 }, (_, row) => interleavedRow(row, 4)),
      [0, 2, 1, 3, 4, 5, 6, 7],
    );
  });

  it("gives f32 tables within an f32 rounding", () => {
    const head = Float32Array.from(golden.x);
    rotateHeads(head, 1, 8, rotation(plain, [golden.position]));
    close([...head], golden.rotate_half, 1e-6);
  });

  it("keeps lengths, so that attention factor 1 changes no norm", () => {
    const norm = (x: readonly number[]): number => Math.hypot(...x);
    close([norm(turned(golden.x, 12345, plain))], [norm(golden.x)], 1e-12);
  });

  it("multiplies by the attention factor once", () => {
    const warm: RopeTable = { ...plain, attentionFactor: 1.25 };
    close(turned(golden.x, golden.position, warm), golden["rotate_half_with_attention_factor_1.25"], 1e-12);
  });

  it("leaves dimensions beyond the rotary ones alone", () => {
    const partial = turned(golden.x, golden.position, tableOf(4));
    close(partial, golden.partial_rotary_dim4_rotate_half, 1e-12);
    assert.deepEqual(partial.slice(4), golden.x.slice(4));
  });

  it("makes q·k depend on the distance only", () => {
    const { q, k, pairs } = golden.relative_property_rotate_half;
    for (const { m, n, dot } of pairs) {
      const key = turned(k, n, plain);
      const product = turned(q, m, plain).reduce((sum, value, i) => sum + value * key[i], 0);
      close([product], [dot], 1e-12);
    }
  });

  it("makes q·k the same under a common shift, also a fractional one", () => {
    const { q, k } = golden.relative_property_rotate_half;
    const product = (m: number, n: number): number => {
      const key = turned(k, n, plain);
      return turned(q, m, plain).reduce((sum, value, i) => sum + value * key[i], 0);
    };
    for (const shift of [1, 7.5, 1000]) close([product(9 + shift, 4 + shift)], [product(9, 4)], 1e-11);
  });

  it("rotates every token of a chunk by its own position, and every head alike", () => {
    const tokens = 3;
    const x = new Float64Array(tokens * 2 * 8).map((_, i) => golden.x[i % 8]);
    rotateHeads(x, 2, 8, rotation64(plain, positionsFrom(5, tokens)));
    for (let row = 0; row < tokens * 2; row++) {
      close([...x.subarray(row * 8, row * 8 + 8)], turned(golden.x, 5 + Math.floor(row / 2), plain), 1e-12);
    }
  });

  it("keeps f32 tables exact a million tokens in, because angles are float64", () => {
    const { position, cos_float64 } = golden.large_position_float32_warning;
    close([rotation(plain, [position]).cos[0]], [cos_float64], 1e-7);
  });
});

function tableOf(rotaryDim: number): RopeTable {
  return ropeTable({ kind: "none" }, { theta: golden.theta, rotaryDim, maxPositionEmbeddings: 64, trainedLength: 64 }, 64);
}

function turned(x: readonly number[], position: number, table: RopeTable, layout?: PairLayout): number[] {
  const head = Float64Array.from(x);
  rotateHeads(head, 1, x.length, rotation64(table, [position]), layout);
  return [...head];
}

function close(found: readonly number[], expected: readonly number[], tolerance: number): void {
  assert.equal(found.length, expected.length);
  found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= tolerance, `${value} is not ${expected[i]}`));
}
