import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeQ4_0 } from "../../../engine/formats/blocks.ts";
import { openQuantizationError, readStored, storedFormat } from "../../../engine/formats/stored.ts";
import { bytesStore, randomTensor, valuesOf } from "../../support/weightBytes.ts";

const projection = "model.layers.0.self_attn.q_proj.weight";

describe("stored formats", () => {
  it("the file's format is kept, widened, or rounded", () => {
    assert.equal(storedFormat(projection, [32, 32], "bf16", "file"), "bf16");
    assert.equal(storedFormat(projection, [32, 256], "q6_k", "file"), "q6_k");
    assert.equal(storedFormat(projection, [32, 32], "bf16", "f32"), "f32");
    assert.equal(storedFormat(projection, [32, 32], "q4_0", "f32"), "f32");
    for (const format of ["q8_0", "q4_0"] as const) {
      for (const file of ["f32", "f16", "bf16", "f8_e4m3"] as const) {
        assert.equal(storedFormat(projection, [32, 32], file, format), format);
      }
      assert.equal(storedFormat(projection, [32, 256], "q6_k", format), "q6_k", "quantised already");
      assert.equal(storedFormat(projection, [32, 48], "f16", format), "f16", "rows that do not divide into blocks");
    }
  });

  it("projections, tables and the head follow the choice; norms, biases, shifts and low-rank maps are f32", () => {
    for (const name of ["model.embed_tokens.weight", "lm_head.weight", "model.layers.0.ffn.key.weight"]) {
      assert.equal(storedFormat(name, [16, 64], "f32", "q8_0"), "q8_0");
    }
    const others: [string, number[]][] = [
      ["model.norm.weight", [32]],
      ["model.layers.0.self_attn.k_shift", [1, 32]],
      ["model.layers.0.self_attn.q_proj.bias", [32]],
      ["model.layers.0.attn.w_lora.lora.0.weight", [8, 32]],
      ["model.layers.0.conv1d.weight", [32, 1, 4]],
    ];
    for (const [name, shape] of others) {
      assert.equal(storedFormat(name, shape, "f16", "q8_0"), "f32", name);
      assert.equal(storedFormat(name, shape, "f16", "file"), "f32", name);
    }
  });
});

describe("reading what is stored", () => {
  const tensor = randomTensor("w", "bf16", [6, 64]);
  const store = bytesStore({ [projection]: tensor });

  it("rows of the file as they are, without an error", async () => {
    const error = openQuantizationError();
    const bytes = await readStored(store, projection, "bf16", [2, 4], error);
    assert.deepEqual([...bytes], [...tensor.bytes.subarray(2 * 128, 4 * 128)]);
    assert.equal(error.relativeRms(), undefined);
  });

  it("rows that are widened", async () => {
    const error = openQuantizationError();
    const bytes = await readStored(store, projection, "f32", [0, 6], error);
    assert.deepEqual(new Float32Array(bytes.slice().buffer), valuesOf(tensor));
    assert.equal(error.relativeRms(), undefined);
  });

  it("rows that are rounded, and how far they are from the file's", async () => {
    const error = openQuantizationError();
    const rounded = new Float32Array(6 * 64);
    // Piece by piece, as a large matrix is read: the error is that of all pieces.
    for (const rows of [[0, 4] as const, [4, 6] as const]) {
      const bytes = await readStored(store, projection, "q4_0", rows, error);
      decodeQ4_0(bytes, rounded.subarray(rows[0] * 64, rows[1] * 64));
    }
    const exact = valuesOf(tensor);
    const squares = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);
    const expected = Math.sqrt(squares(exact.map((value, i) => value - rounded[i])) / squares(exact));
    const found = error.relativeRms();
    assert(found !== undefined && Math.abs(found - expected) < 1e-6 * expected);
    assert(found > 0.01 && found < 0.2, `16 steps over the range of uniform numbers: ${found}`);
  });

  it("an error over nothing but zeros is zero", () => {
    const error = openQuantizationError();
    error.add(new Float32Array(4), new Float32Array(4));
    assert.equal(error.relativeRms(), 0);
  });
});
