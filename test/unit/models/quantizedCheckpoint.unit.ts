import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { decoderOf } from "../../../engine/formats/decode.ts";
import { decodeF8E4M3, encodeF16 } from "../../../engine/formats/floats.ts";
import { openSafetensors } from "../../../engine/formats/safetensors.ts";
import type { NamedStore } from "../../../engine/formats/tensorStore.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { unquantizedView } from "../../../engine/models/quantizedCheckpoint.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { fill } from "../../support/goldenModels.ts";
import { memoryFiles, typedSafetensors } from "../../support/memoryFiles.ts";
import { awqWords, awqZero, gptqWords, type PlainLayer, randomLayer } from "../../support/packedLayers.ts";

type Tensor = { dtype: string; shape: readonly number[]; bytes: Uint8Array };
type Tensors = Record<string, Tensor>;

const i32 = (shape: readonly number[], values: Int32Array<ArrayBuffer>): Tensor => ({
  dtype: "I32",
  shape,
  bytes: new Uint8Array(values.buffer),
});
const f32 = (shape: readonly number[], values: ArrayLike<number>): Tensor => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
const f16 = (shape: readonly number[], values: Float32Array): Tensor => ({
  dtype: "F16",
  shape,
  bytes: new Uint8Array(Uint16Array.from(values, encodeF16).buffer),
});

function awq(name: string, layer: PlainLayer): Tensors {
  const { qweight, qzeros } = awqWords(layer);
  const { inputs, outputs, groups } = layer;
  return {
    [`${name}.qweight`]: i32([inputs, outputs / 8], qweight),
    [`${name}.qzeros`]: i32([groups, outputs / 8], qzeros),
    [`${name}.scales`]: f16([groups, outputs], layer.scales),
  };
}

function gptq(name: string, layer: PlainLayer, groupIndex?: Int32Array<ArrayBuffer>, zerosLessOne = true): Tensors {
  const { qweight, qzeros } = gptqWords(layer, zerosLessOne);
  const { inputs, outputs, groups, bits } = layer;
  return {
    [`${name}.qweight`]: i32([(inputs * bits) / 32, outputs], qweight),
    [`${name}.qzeros`]: i32([groups, (outputs * bits) / 32], qzeros),
    [`${name}.scales`]: f16([groups, outputs], layer.scales),
    ...(groupIndex && { [`${name}.g_idx`]: i32([inputs], groupIndex) }),
  };
}

async function viewOf(quantization: object, tensors: Tensors, reads: number[] = []): Promise<NamedStore> {
  const store = await openSafetensors(memoryFiles({ "model.safetensors": typedSafetensors(tensors) }, reads));
  return unquantizedView({ quantization_config: quantization }, store);
}

async function rejects(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(EngineError.is(error, code), `expected ${code}, got ${String(error)}`);
    assert.match(error.message, message);
    assert.notEqual(error.remedy, "");
    return true;
  });
}

const plain = f32([2], [1, 2]);
const inGroups = (size: number) => (input: number) => Math.floor(input / size);

/** The layer as f32 and, decoded, as the blocks it is in; whole and in pieces. */
async function assertLayer(view: NamedStore, name: string, expected: Float32Array, outputs: number): Promise<void> {
  const inputs = expected.length / outputs;
  assert.deepEqual(view.shape(name), [outputs, inputs]);
  for (const [start, end] of [
    [0, outputs],
    [0, 3],
    [3, outputs - 1],
    [outputs - 1, outputs],
  ] as const) {
    const rows = expected.slice(start * inputs, end * inputs);
    assert.deepEqual(await view.readRows(name, start, end), rows);
    const decoded = new Float32Array(rows.length);
    decoderOf(view.format(name))(await view.readBytes(name, start, end), decoded);
    assert.deepEqual(
      decoded.map((value) => value + 0),
      rows.map((value) => value + 0),
    );
  }
}

describe("AWQ checkpoints", () => {
  const layer = randomLayer(16, 64, 2, 4);
  const config = { quant_method: "awq", bits: 4, group_size: 32, version: "gemm", zero_point: true };

  it("have their matrices in affine blocks, and other tensors as they are", async () => {
    const view = await viewOf(config, { "a.norm": plain, ...awq("a.q_proj", layer), "a.q_proj.bias": plain });
    assert.deepEqual([...view.names()], ["a.norm", "a.q_proj.bias", "a.q_proj.weight"]);
    assert.equal(view.format("a.q_proj.weight"), "affine4");
    assert.deepEqual([view.has("a.q_proj.weight"), view.has("a.q_proj.qweight"), view.has("a.norm")], [true, false, true]);
    await assertLayer(view, "a.q_proj.weight", layer.values(inGroups(32), awqZero(layer)), 16);
    assert.deepEqual([...(await view.readRows("a.q_proj.bias"))], [1, 2]);
    assert.deepEqual([view.format("a.norm"), view.shape("a.norm")], ["f32", [2]]);
    await rejects(view.readRows("a.q_proj.weight", 2, 17), "bad-argument", /rows 2 to 17/);
  });

  it("are f32 where groups are smaller than blocks", async () => {
    const small = randomLayer(16, 64, 4, 4);
    const view = await viewOf({ ...config, group_size: 16 }, awq("a", small));
    assert.equal(view.format("a.weight"), "f32");
    await assertLayer(view, "a.weight", small.values(inGroups(16), awqZero(small)), 16);
  });

  it("may have one group for all inputs", async () => {
    const one = randomLayer(8, 96, 1, 4);
    await assertLayer(
      await viewOf({ ...config, group_size: -1 }, awq("a", one)),
      "a.weight",
      one.values(() => 0, awqZero(one)),
      8,
    );
  });

  it("read a packed tensor once for all its pieces, and drop it with the last", async () => {
    const reads: number[] = [];
    const view = await viewOf(config, { ...awq("a", layer), ...awq("b", layer) }, reads);
    reads.length = 0;
    for (let row = 0; row < 16; row += 4) await view.readBytes("a.weight", row, row + 4);
    assert.equal(reads.length, 3);
    await view.readBytes("a.weight", 0, 1);
    assert.equal(reads.length, 6);
    await view.readBytes("b.weight", 0, 1);
    await view.readBytes("a.weight", 0, 1);
    assert.equal(reads.length, 12);
  });

  it("stop when asked to and can be read again", async () => {
    const view = await viewOf(config, awq("a", layer));
    await rejects(view.readRows("a.weight", 0, 1, AbortSignal.abort()), "aborted", /stopped/);
    assert.equal((await view.readRows("a.weight", 0, 1)).length, 64);
  });

  it("are refused in other variants and with wrong companions", async () => {
    const tensors = awq("a", layer);
    await rejects(viewOf({ ...config, bits: 3 }, tensors), "unsupported-model", /bits 3/);
    await rejects(viewOf({ ...config, version: "gemv" }, tensors), "unsupported-model", /version "gemv"/);
    await rejects(viewOf({ ...config, zero_point: false }, tensors), "unsupported-model", /zero_point false/);
    await rejects(viewOf({ ...config, group_size: 0 }, tensors), "unsupported-model", /group_size 0/);
    await rejects(viewOf({ ...config, group_size: 64 }, tensors), "bad-weights", /a\.qzeros is \[2, 2\].*\[1, 2\]/);
    const { "a.scales": scales, ...others } = tensors;
    await rejects(viewOf(config, others), "weights-missing", /a\.scales/);
    assert.ok(scales);
    const floats = { ...tensors, "a.qweight": f32([64, 2], new Float32Array(128)) };
    await rejects((await viewOf(config, floats)).readRows("a.weight"), "bad-weights", /32-bit words/);
  });
});

describe("GPTQ checkpoints", () => {
  const config = { quant_method: "gptq", group_size: 32, desc_act: false, sym: false };

  for (const bits of [4, 8] as const) {
    const layer = randomLayer(8, 96, 3, bits);
    it(`of ${bits} bits have their matrices in affine blocks`, async () => {
      const view = await viewOf({ ...config, bits }, gptq("a", layer));
      assert.equal(view.format("a.weight"), `affine${bits}`);
      await assertLayer(view, "a.weight", layer.values(inGroups(32)), 8);
    });

    it(`of ${bits} bits in the format gptq_v2 store zero points as they are`, async () => {
      const view = await viewOf({ ...config, bits, checkpoint_format: "gptq_v2" }, gptq("a", layer, undefined, false));
      const expected = layer.values(inGroups(32), (group, output) => layer.zero(group, output) % 2 ** bits);
      await assertLayer(view, "a.weight", expected, 8);
    });

    it(`of ${bits} bits in act-order are f32, with the right group for every input`, async () => {
      const groups = Int32Array.from({ length: 96 }, (_, input) => (input * 7) % 3);
      const view = await viewOf({ ...config, bits, desc_act: true }, gptq("a", layer, groups));
      assert.equal(view.format("a.weight"), "f32");
      await assertLayer(
        view,
        "a.weight",
        layer.values((input) => groups[input] ?? 0),
        8,
      );
    });

    it(`of ${bits} bits keep their blocks where g_idx is the usual order or exchanges whole blocks`, async () => {
      for (const groupOf of [inGroups(32), (input: number) => 2 - Math.floor(input / 32)]) {
        const view = await viewOf(
          { ...config, bits },
          gptq(
            "a",
            layer,
            Int32Array.from({ length: 96 }, (_, i) => groupOf(i)),
          ),
        );
        assert.equal(view.format("a.weight"), `affine${bits}`);
        await assertLayer(view, "a.weight", layer.values(groupOf), 8);
      }
    });
  }

  it("are refused in other variants and with wrong companions", async () => {
    const layer = randomLayer(8, 64, 2, 4);
    const tensors = gptq("a", layer);
    await rejects(viewOf({ ...config, bits: 3 }, tensors), "unsupported-model", /3 bits/);
    await rejects(viewOf({ ...config, bits: 4, checkpoint_format: "marlin" }, tensors), "unsupported-model", /"marlin"/);
    await rejects(viewOf({ ...config, bits: 4, is_marlin_format: true }, tensors), "unsupported-model", /"marlin"/);
    await rejects(viewOf({ ...config, bits: 8 }, tensors), "bad-weights", /a\.qzeros is \[2, 1\].*\[2, 2\]/);
    await rejects(viewOf({ ...config, bits: 4, group_size: 16 }, tensors), "bad-weights", /a\.scales is \[2, 8\]/);
    const outside = gptq(
      "a",
      layer,
      Int32Array.from({ length: 64 }, (_, input) => (input === 9 ? 2 : 0)),
    );
    await rejects(viewOf({ ...config, bits: 4 }, outside), "bad-weights", /group 2, and there are 2/);
    const short = { ...tensors, "a.g_idx": i32([32], new Int32Array(32)) };
    await rejects(viewOf({ ...config, bits: 4 }, short), "bad-weights", /a\.g_idx is \[32\]/);
  });
});

describe("FP8 checkpoints", () => {
  const [rows, columns] = [6, 10];
  const codes = Uint8Array.from({ length: rows * columns }, (_, index) => (index * 37) % 126);
  const weight: Tensor = { dtype: "F8_E4M3", shape: [rows, columns], bytes: codes };
  const scaled = (scale: (row: number, column: number) => number): Float32Array =>
    Float32Array.from(codes, (code, at) => decodeF8E4M3(code) * Math.fround(scale(Math.floor(at / columns), at % columns)));

  it("are multiplied by the scale of their block", async () => {
    const config = { quant_method: "fp8", weight_block_size: [4, 4] };
    const scales = fill("scales", [2, 3], 0.3, 0.5);
    const view = await viewOf(config, { "a.weight": weight, "a.weight_scale_inv": f32([2, 3], scales), "b.weight": plain });
    assert.deepEqual([...view.names()], ["b.weight", "a.weight"]);
    assert.equal(view.format("a.weight"), "f32");
    await assertLayer(
      view,
      "a.weight",
      scaled((row, column) => scales[3 * Math.floor(row / 4) + Math.floor(column / 4)] ?? 0),
      rows,
    );
  });

  it("have blocks of 128 unless the config says otherwise", async () => {
    const view = await viewOf({ quant_method: "fp8" }, { "a.weight": weight, "a.weight_scale_inv": f32([1, 1], [0.75]) });
    await assertLayer(
      view,
      "a.weight",
      scaled(() => 0.75),
      rows,
    );
  });

  it("may have one scale for the matrix or one per row", async () => {
    const compressed = { quant_method: "compressed-tensors", format: "float-quantized" };
    const perRow = fill("rows", [rows], 0.3, 0.5);
    for (const quantization of [{ quant_method: "fp8" }, { quant_method: "fbgemm_fp8" }, compressed]) {
      const one = await viewOf(quantization, {
        ...{ "a.weight": weight, "a.weight_scale": f32([], [0.3]), "a.input_scale": f32([], [3]) },
      });
      assert.deepEqual([...one.names()], ["a.weight"]);
      await assertLayer(
        one,
        "a.weight",
        scaled(() => 0.3),
        rows,
      );
      for (const shape of [[rows, 1], [rows]]) {
        const view = await viewOf(quantization, { "a.weight": weight, "a.weight_scale": f32(shape, perRow) });
        await assertLayer(
          view,
          "a.weight",
          scaled((row) => perRow[row] ?? 0),
          rows,
        );
      }
    }
  });

  it("are refused without scales, with scales of another shape and in other formats", async () => {
    await rejects(viewOf({ quant_method: "fp8" }, { "a.weight": weight }), "weights-missing", /a\.weight_scale/);
    const wrong = { "a.weight": weight, "a.weight_scale_inv": f32([2, 2], [1, 1, 1, 1]) };
    await rejects(viewOf({ quant_method: "fp8" }, wrong), "bad-weights", /a\.weight_scale_inv is \[2, 2\].*\[1, 1\]/);
    const three = { "a.weight": weight, "a.weight_scale": f32([3], [1, 1, 1]) };
    await rejects(viewOf({ quant_method: "fp8" }, three), "bad-weights", /a\.weight_scale is \[3\]/);
    await rejects(viewOf({ quant_method: "fp8", weight_block_size: [0, 4] }, {}), "unsupported-model", /weight_block_size/);
    await rejects(
      viewOf({ quant_method: "compressed-tensors", format: "pack-quantized" }, {}),
      "unsupported-model",
      /pack-quantized/,
    );
  });
});

describe("other checkpoints", () => {
  it("are as they are without quantization_config, and refused where its method is not known", async () => {
    const store = await openSafetensors(memoryFiles({ "model.safetensors": typedSafetensors({ a: plain }) }));
    assert.equal(await unquantizedView({}, store), store);
    assert.equal(await unquantizedView({ quantization_config: null }, store), store);
    await rejects(unquantizedView({ quantization_config: [] }, store), "unsupported-model", /is no object/);
    await rejects(
      unquantizedView({ quantization_config: { quant_method: "bitsandbytes" } }, store),
      "unsupported-model",
      /bitsandbytes/,
    );
  });

  it("are opened with the rest of the model", async () => {
    const config = {
      ...{ model_type: "llama", vocab_size: 16, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1 },
      ...{ num_attention_heads: 2, max_position_embeddings: 64, rms_norm_eps: 1e-5, tie_word_embeddings: true },
      quantization_config: { quant_method: "awq", bits: 4, group_size: 32 },
    };
    const tensors: Tensors = {};
    const layers = new Map<string, PlainLayer>();
    for (const [name, shape] of tensorShapes(parseSpec(config))) {
      const [outputs = 0, inputs = 0] = shape;
      if (name.endsWith("_proj.weight")) {
        layers.set(name, randomLayer(outputs, inputs, inputs / 32, 4));
        Object.assign(tensors, awq(name.replace(".weight", ""), layers.get(name) ?? assert.fail()));
      } else tensors[name] = f32(shape, fill(name, shape, 1));
    }
    const { weights } = await loadModel(
      memoryFiles({
        "config.json": JSON.stringify(config),
        "tokenizer.json": "{}",
        "model.safetensors": typedSafetensors(tensors),
      }),
    );
    for (const [name, layer] of layers) {
      assert.equal(weights.format(name), "affine4");
      assert.deepEqual(await weights.readRows(name), layer.values(inGroups(32), awqZero(layer)));
    }
  });
});
