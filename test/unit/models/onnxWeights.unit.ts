/** ONNX files that onnxruntime-genai's model builder made of the tiny models of test/golden/families. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { ModelFiles } from "../../../engine/api.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { decoderOf } from "../../../engine/formats/decode.ts";
import { checkpointView } from "../../../engine/models/checkpoint.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { familyModel } from "../../support/familyGoldens.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";
import { initializerField, nodeField, type OnnxInitializer, onnxFile, type OnnxNodeEntry } from "../../support/onnxFile.ts";

function filesOf(name: string): ModelFiles {
  const read = (file: string): Uint8Array => Uint8Array.from(readFileSync(`test/golden/onnx/${name}/${file}`));
  return memoryFiles({
    "config.json": JSON.stringify(familyModel(name).config),
    "tokenizer.json": "{}",
    "model.onnx": read("model.onnx"),
    "model.onnx.data": read("model.onnx.data"),
  });
}

describe("models of onnxruntime-genai", () => {
  const cases: [name: string, format: string, steps: number][] = [
    // The largest number of a block sits at code 0 or 15, so the others may be off by a whole step of 1/8 of it where they clip.
    ["llama_3", "affine4", 1 / 8],
    // 255 steps over a range of at most twice the largest number; the zero point is rounded, too.
    ["qwen2_untied", "affine8", 2 / 255],
    ["qwen3", "affine4", 1 / 8],
    ["llama_biases", "f32", 0],
  ];
  for (const [name, format, step] of cases) {
    it(`${name}: every tensor of the checkpoint, projections as ${format}`, async () => {
      const { spec, weights } = await loadModel(filesOf(name));
      const model = familyModel(name);
      const expectedSpec = parseSpec(model.config);
      assert.equal(spec.tiedEmbeddings, expectedSpec.tiedEmbeddings);
      const checkpoint = checkpointView(expectedSpec, model.weights);
      assert.equal(weights.format("model.layers.1.self_attn.k_proj.weight"), format);
      for (const [tensor, shape] of tensorShapes(spec)) {
        assert.deepEqual(weights.shape(tensor), shape);
        const [found, expected] = [await weights.readRows(tensor), await checkpoint.readRows(tensor)];
        const isQuantised =
          tensor.endsWith("_proj.weight") || tensor === "lm_head.weight" || (name === "qwen3" && /embed/.test(tensor));
        const tolerance = isQuantised ? step : 0;
        for (let block = 0; block < expected.length; block += 32) {
          // Blocks begin anew with every row.
          const largest = expected
            .subarray(Math.max(0, block - 32), block + 64)
            .reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          for (let at = block; at < Math.min(block + 32, expected.length); at++) {
            const off = Math.abs((found[at] ?? NaN) - (expected[at] ?? NaN));
            assert.ok(off <= tolerance * largest, `${tensor}[${at}] is ${found[at]} and should be ${expected[at]}`);
          }
        }
        const rows = shape[0] ?? 1;
        const width = found.length / rows;
        const [start, end] = [Math.floor(rows / 3), Math.ceil((2 * rows) / 3)];
        assert.deepEqual(await weights.readRows(tensor, start, end), found.slice(start * width, end * width), tensor);
        const decoded = new Float32Array((end - start) * width);
        decoderOf(weights.format(tensor))(await weights.readBytes(tensor, start, end), decoded);
        // An affine block is rounded once more where its scale is no f16.
        for (const [at, value] of decoded.entries()) {
          const exact = found[start * width + at] ?? NaN;
          assert.ok(Math.abs(value - exact) <= 2e-6, `${tensor} byte row ${at}: ${value}, ${exact}`);
        }
      }
    });
  }

  it("have a head of their own where config.json says there is none, if the file has both", async () => {
    const files = filesOf("llama_3");
    const config = JSON.stringify({ ...familyModel("llama_3").config, tie_word_embeddings: true });
    const { spec, weights } = await loadModel({
      ...files,
      text: async (name) => (name === "config.json" ? config : files.text(name)),
    });
    assert.equal(spec.tiedEmbeddings, false);
    assert.deepEqual(weights.shape("lm_head.weight"), [101, 64]);
  });
});

describe("ONNX files that are refused", () => {
  const initializer =
    (type: number, width: number) =>
    (name: string, dims: readonly number[]): OnnxInitializer => ({
      ...{ name, dims, type },
      raw: new Uint8Array(dims.reduce((product, size) => product * size, width)),
    });
  const f32 = initializer(1, 4);
  const u8 = initializer(2, 1);
  const node = (numbers: Record<string, number>, inputs: readonly string[] = ["x", "w", "s"]): OnnxNodeEntry => ({
    ...{ name: "/lm_head/MatMul_Q4", op: "MatMulNBits", inputs },
    numbers: { N: 101, K: 64, bits: 4, block_size: 32, ...numbers },
  });
  const load = (nodes: readonly OnnxNodeEntry[], initializers: readonly OnnxInitializer[]) =>
    loadModel(
      memoryFiles({
        "config.json": JSON.stringify(familyModel("llama_3").config),
        "tokenizer.json": "{}",
        "model.onnx": onnxFile(...nodes.map(nodeField), ...initializers.map(initializerField)),
      }),
    );
  const good = [u8("w", [101, 2, 16]), f32("s", [101, 2])];
  const cases: [
    what: string,
    nodes: readonly OnnxNodeEntry[],
    initializers: readonly OnnxInitializer[],
    code: ErrorCode,
    message: RegExp,
  ][] = [
    ["two bits", [node({ bits: 2 })], good, "unsupported-model", /weights of 2 bits/],
    ["prepacked weights", [node({ weight_prepacked: 1 })], good, "unsupported-model", /another order/],
    ["group indices", [node({}, ["x", "w", "s", "", "g"])], good, "unsupported-model", /another order/],
    ["no sizes", [node({ N: 0 })], good, "bad-weights", /sizes N 0/],
    ["blocks of zero", [node({ block_size: 0 })], good, "bad-weights", /K 64, 0/],
    ["negative sizes", [node({ K: -64 })], good, "bad-weights", /K -64/],
    [
      "weights of another size",
      [node({})],
      [u8("w", [101, 2, 8]), f32("s", [101, 2])],
      "bad-weights",
      /w of the ONNX file has 1616/,
    ],
    ["scales of another size", [node({})], [u8("w", [101, 2, 16]), f32("s", [101])], "bad-weights", /s of the ONNX file has 101/],
    ["weights that are no bytes", [node({})], [f32("w", [101, 2, 16]), f32("s", [101, 2])], "bad-weights", /should be bytes/],
    ["missing weights", [node({})], [f32("s", [101, 2])], "weights-missing", /no tensor w/],
    ["weights that nothing reads", [], [f32("adapter", [4])], "unsupported-model", /adapter/],
    ["no weights", [], [], "weights-missing", /embed_tokens/],
  ];
  for (const [what, nodes, initializers, code, message] of cases) {
    it(what, async () => {
      await assert.rejects(load(nodes, initializers), (error) => {
        assert.ok(EngineError.is(error, code), `expected ${code}, got ${String(error)}`);
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it("a folder without any weights", async () => {
    const files = { "config.json": JSON.stringify(familyModel("llama_3").config), "tokenizer.json": "{}" };
    await assert.rejects(loadModel(memoryFiles(files)), { code: "not-found" });
  });
});
