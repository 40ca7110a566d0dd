import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decoderOf } from "../../../engine/formats/decode.ts";
import {
  affineRows,
  awqCodes,
  type GroupedCodes,
  gptqCodes,
  matMulNBitsCodes,
  rowFormat,
  valueRows,
} from "../../../engine/formats/packed.ts";
import { goldenFile } from "../../support/goldenModels.ts";
import { awqWords, awqZero, gptqWords, randomLayer } from "../../support/packedLayers.ts";

const vectors = goldenFile("quant_other.json") as {
  matmulnbits: { B: number[][][]; scales: number[][]; zero_points_packed: number[][]; dequantised: number[][] };
  awq_gemm: { qweight_int32_rows: number[]; qzeros_int32: number; scales: number[]; dequantised_in_by_out: number[][] };
  gptq_v1: {
    qweight_int32: number[];
    qzeros_int32: number;
    scales: number[];
    g_idx: number[];
    dequantised_in_by_out: number[][];
  };
};

describe("packed weights of the vectors, exact in f32", () => {
  it("MatMulNBits with packed zero points and an odd tail", () => {
    const { B, scales, zero_points_packed: packed, dequantised } = vectors.matmulnbits;
    const layer = {
      outputs: 2,
      inputs: 20,
      bits: 4,
      blockSize: 16,
      b: Uint8Array.from(B.flat(2)),
      scales: scales.flat(),
    } as const;
    const codes = matMulNBitsCodes({ ...layer, zeros: { packed: Uint8Array.from(packed.flat()) } });
    assert.deepEqual(valueRows(codes, 0, 2), Float32Array.from(dequantised.flat()));
    assert.deepEqual(valueRows(codes, 1, 2), Float32Array.from(dequantised[1] ?? []));
    assert.equal(rowFormat(codes), "f32");
  });

  it("AWQ gemm: the order of outputs in a word", () => {
    const { qweight_int32_rows: rows, qzeros_int32: zeros, scales, dequantised_in_by_out: expected } = vectors.awq_gemm;
    const [qweight, qzeros] = [Int32Array.from(rows), Int32Array.of(zeros)];
    const codes = awqCodes({ outputs: 8, inputs: 2, groupSize: 128, qweight, qzeros, scales });
    assert.deepEqual(valueRows(codes, 0, 8), Float32Array.from(transposed(expected)));
    assert.deepEqual(valueRows(codes, 3, 5), Float32Array.from(transposed(expected).slice(6, 10)));
  });

  it("GPTQ: zero points are stored less one, unless the format is gptq_v2", () => {
    const { qweight_int32: qweight, qzeros_int32: zeros, scales, g_idx, dequantised_in_by_out: expected } = vectors.gptq_v1;
    const layer = { outputs: 2, inputs: 8, bits: 4, groupSize: 8, scales, groupIndex: g_idx } as const;
    const words = { qweight: Int32Array.from(qweight), qzeros: Int32Array.of(zeros) };
    const first = valueRows(gptqCodes({ ...layer, ...words, zerosLessOne: true }), 0, 2);
    assert.deepEqual(first, Float32Array.from(transposed(expected)));
    const second = valueRows(gptqCodes({ ...layer, ...words, zerosLessOne: false }), 0, 2);
    assert.deepEqual(
      second,
      first.map((value, index) => value + (index < 8 ? 0.5 : 0.25)),
    );
  });
});

describe("packed weights against plain loops", () => {
  for (const bits of [4, 8] as const) {
    it(`GPTQ of ${bits} bits, in groups and permuted by g_idx`, () => {
      const [outputs, inputs, groupSize] = [16, 96, 32];
      const plain = randomLayer(outputs, inputs, inputs / groupSize, bits);
      const layer = {
        ...{ outputs, inputs, bits, groupSize, zerosLessOne: true, scales: plain.scales },
        ...gptqWords(plain),
      };
      const inOrder = gptqCodes(layer);
      assert.equal(rowFormat(inOrder), bits === 4 ? "affine4" : "affine8");
      assert.deepEqual(
        valueRows(inOrder, 0, outputs),
        plain.values((input) => Math.floor(input / groupSize)),
      );
      assertAffine(inOrder);

      const turned = (input: number): number => (input * 7) % 3;
      const permuted = gptqCodes({ ...layer, groupIndex: Int32Array.from({ length: inputs }, (_, input) => turned(input)) });
      assert.equal(rowFormat(permuted), "f32", "a block of 32 inputs holds several groups");
      assert.deepEqual(valueRows(permuted, 0, outputs), plain.values(turned));

      const swapped = (input: number): number => 2 - Math.floor(input / groupSize);
      const byBlocks = gptqCodes({ ...layer, groupIndex: Int32Array.from({ length: inputs }, (_, input) => swapped(input)) });
      assert.notEqual(rowFormat(byBlocks), "f32", "a permutation of whole blocks keeps them");
      assert.deepEqual(valueRows(byBlocks, 0, outputs), plain.values(swapped));
      assertAffine(byBlocks);
    });

    it(`MatMulNBits of ${bits} bits: packed, plain and absent zero points, blocks of 16 and 32`, () => {
      for (const [inputs, blockSize] of [
        [64, 32],
        [64, 16],
        [40, 16],
        [100, 64],
      ] as const) {
        const outputs = 3;
        const groups = Math.ceil(inputs / blockSize);
        const plain = randomLayer(outputs, inputs, groups, bits);
        const [perByte, mask] = [8 / bits, 2 ** bits - 1];
        const rowBytes = (groups * blockSize) / perByte;
        const b = new Uint8Array(outputs * rowBytes);
        const packed = new Uint8Array(outputs * Math.ceil(groups / perByte));
        const byOutput = new Float32Array(outputs * groups);
        const zeros = new Float32Array(outputs * groups);
        for (let output = 0; output < outputs; output++) {
          for (let input = 0; input < inputs; input++)
            b[output * rowBytes + Math.floor(input / perByte)] |= plain.code(output, input) << (bits * (input % perByte));
          for (let group = 0; group < groups; group++) {
            const zero = plain.zero(group, output) & mask;
            packed[output * Math.ceil(groups / perByte) + Math.floor(group / perByte)] |= zero << (bits * (group % perByte));
            byOutput[output * groups + group] = plain.scales[group * outputs + output] ?? 0;
            zeros[output * groups + group] = zero + 0.25;
          }
        }
        const layer = { outputs, inputs, bits, blockSize, b, scales: byOutput };
        const groupOf = (input: number): number => Math.floor(input / blockSize);
        const cases = [
          [matMulNBitsCodes({ ...layer, zeros: { packed } }), (group: number, o: number) => plain.zero(group, o) & mask],
          [
            matMulNBitsCodes({ ...layer, zeros: { plain: zeros } }),
            (group: number, o: number) => (plain.zero(group, o) & mask) + 0.25,
          ],
          [matMulNBitsCodes(layer), () => 2 ** (bits - 1)],
        ] as const;
        for (const [codes, zeroOf] of cases) {
          assert.deepEqual(valueRows(codes, 0, outputs), plain.values(groupOf, zeroOf));
          assert.equal(rowFormat(codes) === "f32", blockSize < 32 || inputs % 32 !== 0);
          if (rowFormat(codes) !== "f32") assertAffine(codes);
        }
      }
    });
  }

  it("AWQ rows become affine blocks", () => {
    const [outputs, inputs, groupSize] = [24, 128, 64];
    const plain = randomLayer(outputs, inputs, inputs / groupSize, 4);
    const codes = awqCodes({ ...{ outputs, inputs, groupSize, scales: plain.scales }, ...awqWords(plain) });
    assert.deepEqual(
      valueRows(codes, 0, outputs),
      plain.values((input) => Math.floor(input / groupSize), awqZero(plain)),
    );
    assert.equal(rowFormat(codes), "affine4");
    assertAffine(codes);
  });
});

/** With scales that f16 has, scale * code + offset needs no rounding, so the blocks hold the very values. */
function assertAffine(codes: GroupedCodes): void {
  const format = rowFormat(codes);
  for (const [start, end] of [
    [0, codes.outputs],
    [1, 3],
  ] as const) {
    const values = new Float32Array((end - start) * codes.inputs);
    decoderOf(format)(affineRows(codes, start, end), values);
    assert.deepEqual(values.map(plusZero), valueRows(codes, start, end).map(plusZero));
  }
}

/** Minus zero and zero are the same weight. */
function plusZero(value: number): number {
  return value + 0;
}

function transposed(rows: readonly (readonly number[])[]): number[] {
  return (rows[0] ?? []).flatMap((_, column) => rows.map((row) => row[column] ?? 0));
}
