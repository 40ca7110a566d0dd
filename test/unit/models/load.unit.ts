import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DecoderSpec } from "../../../engine/api.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { checkWeights, parameterCount, tensorShapes } from "../../../engine/models/weights.ts";
import { fill, goldenConfig, goldenDecoder, goldenDecoders, randomModel, storeOf } from "../../support/goldenModels.ts";
import { memoryFiles, safetensorsFile } from "../../support/memoryFiles.ts";

const config = goldenConfig("llama_tied_linear");
const { spec: plainSpec } = goldenDecoder("llama_tied_linear");
const files = {
  "config.json": JSON.stringify(config),
  "tokenizer.json": '{"model":{}}',
  "model.safetensors": weightsOf(plainSpec),
};

describe("opening a model folder", () => {
  it("brings spec, weights, tokenizer and template together", async () => {
    const settings = { chat_template: "{{ messages }}", bos_token: "<s>", eos_token: { content: "</s>", lstrip: false } };
    const model = await loadModel(memoryFiles({ ...files, "tokenizer_config.json": JSON.stringify(settings) }));
    assert.equal(model.label, "test model");
    assert.equal(model.spec.promptFormat, "chat");
    assert.throws(() => model.tokenizer(), { code: "tokenizer-invalid" });
    assert.deepEqual([model.chatTemplate, model.bosToken, model.eosToken], ["{{ messages }}", "<s>", "</s>"]);
    assert.equal(
      model.parameterCount,
      [...tensorShapes(model.spec).values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b), 0),
    );
    assert.equal((await model.weights.readRows("model.norm.weight")).length, model.spec.hiddenSize);
  });

  it("takes the template called default, and chat_template.jinja before both", async () => {
    const named = JSON.stringify({
      chat_template: [
        { name: "tool_use", template: "tools" },
        { name: "default", template: "plain talk" },
      ],
    });
    assert.equal((await loadModel(memoryFiles({ ...files, "tokenizer_config.json": named }))).chatTemplate, "plain talk");
    const both = { ...files, "tokenizer_config.json": named, "chat_template.jinja": "own file" };
    assert.equal((await loadModel(memoryFiles(both))).chatTemplate, "own file");
  });

  it("turns a model without a template into a plain one", async () => {
    const model = await loadModel(memoryFiles(files));
    assert.deepEqual([model.spec.promptFormat, model.chatTemplate, model.bosToken], ["plain", undefined, undefined]);
  });

  it("ends answers where generation_config.json says, too", async () => {
    const generation = (eos: unknown) =>
      memoryFiles({ ...files, "generation_config.json": JSON.stringify({ eos_token_id: eos }) });
    const own = parseSpec(config).eosTokenIds;
    assert.deepEqual((await loadModel(generation([7, 9]))).spec.eosTokenIds, [...own, 7, 9]);
    assert.deepEqual((await loadModel(generation(own[0]))).spec.eosTokenIds, own);
    await assert.rejects(loadModel(generation("seven")), /eos_token_id/);
  });

  const failures: [what: string, change: Record<string, string | Uint8Array | undefined>, code: ErrorCode, message: RegExp][] = [
    ["no config.json", { "config.json": undefined }, "not-found", /no config\.json/],
    ["no tokenizer.json", { "tokenizer.json": undefined }, "not-found", /no tokenizer\.json/],
    ["no weights", { "model.safetensors": undefined }, "not-found", /neither model\.safetensors/],
    ["config.json is no JSON", { "config.json": "{" }, "unsupported-model", /config\.json is not JSON/],
    [
      "tokenizer.json is no JSON",
      { "tokenizer.json": "version https://git-lfs" },
      "tokenizer-invalid",
      /tokenizer\.json is not JSON/,
    ],
    [
      "a chat template that is a number",
      { "tokenizer_config.json": '{"chat_template":3}' },
      "tokenizer-invalid",
      /chat_template 3/,
    ],
    [
      "weights of another model",
      { "config.json": JSON.stringify({ ...config, hidden_size: 64 }) },
      "bad-weights",
      /\[16, 32\] .* \[16, 64\]/,
    ],
    [
      "a layer that is missing",
      { "config.json": JSON.stringify({ ...config, num_hidden_layers: 3 }) },
      "weights-missing",
      /model\.layers\.2\./,
    ],
  ];
  for (const [what, change, code, message] of failures) {
    it(what, async () => {
      const present = Object.entries({ ...files, ...change }).filter(
        (entry): entry is [string, string | Uint8Array] => entry[1] !== undefined,
      );
      const opened = loadModel(memoryFiles(Object.fromEntries(present))).then((model) => model.tokenizer());
      await assert.rejects(opened, (error) => {
        assert.ok(EngineError.is(error, code), String(error));
        assert.match(error.message, message);
        assert.notEqual(error.remedy, "");
        return true;
      });
    });
  }
});

describe("the tensors of a decoder", () => {
  for (const name of goldenDecoders) {
    it(`${name}: all of them lie in the recorded model, in the shapes that its config asks for`, () => {
      const { spec, weights, tensors } = goldenDecoder(name);
      checkWeights(spec, weights);
      assert.deepEqual([...tensors.keys()], [...tensorShapes(spec).keys()]);
    });
  }

  it("counts the parameters of the bundled architecture as its recipe does", () => {
    const bundled = { vocabSize: 4096, hiddenSize: 256, intermediateSize: 704, layerCount: 4, kvHeadCount: 1, headDim: 64 };
    const { spec } = randomModel({ vocabSize: 8, hiddenSize: 8, headDim: 2, tiedEmbeddings: true, qkNorm: true, keyShift: true });
    assert.equal(parameterCount({ ...spec, ...bundled }), 3_869_696);
  });

  it("every feature that has weights is checked for them", () => {
    const all: Partial<DecoderSpec> = { qkvBias: true, outBias: true, mlpBias: true, qkNorm: true, keyShift: true };
    const { spec, weights } = randomModel(all);
    checkWeights(spec, weights);
    const plain = randomModel();
    for (const feature of Object.keys(all)) {
      assert.throws(
        () => checkWeights({ ...plain.spec, [feature]: true }, plain.weights),
        (error) => EngineError.is(error, "weights-missing"),
      );
    }
  });

  it("names tensor, found and expected shape", () => {
    const { spec } = randomModel();
    const shapes = [...tensorShapes(spec)].map(
      ([name, shape]) => [name, { shape: shape.map((size) => size + 1), values: [] }] as const,
    );
    assert.throws(
      () => checkWeights(spec, storeOf(new Map(shapes))),
      (error) => EngineError.is(error, "bad-weights") && error.facts["name"] === "model.embed_tokens.weight",
    );
  });
});

function weightsOf(spec: DecoderSpec): Uint8Array {
  return safetensorsFile(
    Object.fromEntries([...tensorShapes(spec)].map(([name, shape]) => [name, { shape, values: fill(name, shape, 1) }])),
  );
}
