import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { goldenConfig } from "../../support/goldenModels.ts";

const llama = {
  model_type: "llama",
  vocab_size: 16,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 4096,
};

describe("a model's facts from config.json", () => {
  it("reads a plain Llama with Hugging Face's defaults", () => {
    assert.deepEqual(parseSpec(llama), {
      modelType: "llama",
      vocabSize: 16,
      hiddenSize: 32,
      intermediateSize: 48,
      layerCount: 2,
      headCount: 4,
      kvHeadCount: 2,
      headDim: 8,
      rotaryDim: 8,
      rmsNormEps: 1e-6,
      maxPositionEmbeddings: 4096,
      ropeTheta: 10000,
      rope: { kind: "none" },
      tiedEmbeddings: false,
      embeddingMultiplier: 1,
      qkvBias: false,
      outBias: false,
      mlpBias: false,
      qkNorm: false,
      keyShift: false,
      bosTokenId: undefined,
      eosTokenIds: [],
      absentTokenId: undefined,
      promptFormat: "chat",
    });
  });

  it("reads the bundled model", () => {
    const spec = parseSpec(JSON.parse(readFileSync("media/specimens/keyshift-4m/config.json", "utf8")));
    assert.deepEqual(
      [
        spec.modelType,
        spec.qkNorm,
        spec.keyShift,
        spec.tiedEmbeddings,
        spec.embeddingMultiplier,
        spec.headDim,
        spec.promptFormat,
      ],
      ["lcp_keyshift", true, true, true, 16, 64, "extractive"],
    );
    assert.ok(spec.eosTokenIds.length > 0);
    assert.notEqual(spec.absentTokenId, undefined);
  });

  const readings: [what: string, change: object, expected: object][] = [
    ["qwen2 biases", { model_type: "qwen2" }, { qkvBias: true, outBias: false, qkNorm: false }],
    ["qwen3 norms", { model_type: "qwen3", head_dim: 16 }, { qkvBias: false, qkNorm: true, headDim: 16, rotaryDim: 16 }],
    ["llama biases", { attention_bias: true, mlp_bias: true }, { qkvBias: true, outBias: true, mlpBias: true }],
    ["one KV head per head by default", { num_key_value_heads: null }, { kvHeadCount: 4 }],
    ["end tokens as a list", { eos_token_id: [2, 5] }, { eosTokenIds: [2, 5] }],
    ["end token as a number", { eos_token_id: 2, bos_token_id: 1 }, { eosTokenIds: [2], bosTokenId: 1 }],
    ["tied head", { tie_word_embeddings: true }, { tiedEmbeddings: true }],
    ["embedding multiplier", { embedding_multiplier: 12 }, { embeddingMultiplier: 12 }],
    ["prompt format", { prompt_format: "extractive", absent_token_id: 3 }, { promptFormat: "extractive", absentTokenId: 3 }],
    ["partial rotation", { partial_rotary_factor: 0.5 }, { rotaryDim: 4 }],
    ["partial rotation inside the RoPE parameters", { rope_parameters: { partial_rotary_factor: 0.25 } }, { rotaryDim: 2 }],
    [
      "theta outside",
      { rope_theta: 5e5, rope_scaling: { type: "linear", factor: 2 } },
      { ropeTheta: 5e5, rope: { kind: "linear", factor: 2 } },
    ],
    [
      "theta inside",
      { rope_theta: 1, rope_parameters: { rope_type: "default", rope_theta: 1e6 } },
      { ropeTheta: 1e6, rope: { kind: "none" } },
    ],
    [
      "rope_parameters before rope_scaling",
      { rope_parameters: { rope_type: "dynamic", factor: 2 }, rope_scaling: { type: "linear", factor: 4 } },
      { rope: { kind: "dynamic", factor: 2 } },
    ],
    [
      "the outer original context before the inner",
      {
        original_max_position_embeddings: 1024,
        rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 2048 },
      },
      { rope: { kind: "yarn", factor: 4, originalContext: 1024, betaFast: 32, betaSlow: 1, truncate: true } },
    ],
    [
      "YaRN's factor from the two lengths, zeros as absent, a lone mscale as nothing",
      { rope_scaling: { rope_type: "yarn", original_max_position_embeddings: 1024, beta_fast: 0, mscale: 1, finetuned: true } },
      { rope: { kind: "yarn", factor: 4, originalContext: 1024, betaFast: 32, betaSlow: 1, truncate: true } },
    ],
    [
      "a window that is switched off",
      { model_type: "qwen2", use_sliding_window: false, sliding_window: 1024 },
      { modelType: "qwen2" },
    ],
    ["a window beyond every position", { model_type: "mistral", sliding_window: 4096 }, { modelType: "mistral" }],
    [
      "a window no layer uses",
      { sliding_window: 128, layer_types: ["full_attention", "full_attention"] },
      { modelType: "llama" },
    ],
  ];
  for (const [what, change, expected] of readings) {
    it(what, () => {
      const spec = new Map<string, unknown>(Object.entries(parseSpec({ ...llama, ...change })));
      for (const [field, value] of Object.entries(expected)) assert.deepEqual(spec.get(field), value, field);
    });
  }
});

describe("what the engine cannot run faithfully is refused", () => {
  const refusals: [what: string, config: unknown, message: RegExp, remedy: RegExp, code?: ErrorCode][] = [
    ["not an object", [], /\[\]/, /./],
    ["no model type", { ...llama, model_type: undefined }, /no model_type/, /llama, qwen2, qwen3, mistral, lcp_keyshift/],
    ["another family", goldenConfig("gemma2"), /"gemma2"/, /llama, qwen2/],
    ["a state-space model", goldenConfig("mamba"), /"mamba"/, /llama, qwen2/],
    ["inherited property names", { ...llama, model_type: "constructor" }, /"constructor"/, /llama/],
    ["a sliding window", goldenConfig("mistral_swa"), /all 2 layers .* window of 4 tokens/, /full attention/],
    [
      "a window in some layers",
      { ...llama, model_type: "qwen2", num_hidden_layers: 6, use_sliding_window: true, sliding_window: 64, max_window_layers: 3 },
      /layers 3-5 .* 64/,
      /full/,
    ],
    [
      "a window by layer type",
      { ...llama, sliding_window: 64, layer_types: ["sliding_attention", "full_attention"] },
      /layers 0 /,
      /full/,
    ],
    ["another activation", { ...llama, hidden_act: "gelu" }, /"gelu"/, /silu/],
    ["a quantised checkpoint", { ...llama, quantization_config: { quant_method: "awq" } }, /"awq"/, /F16/],
    [
      "rotations by layer type",
      { ...llama, rope_parameters: { full_attention: { rope_type: "default" } } },
      /full_attention/,
      /one rotation/,
    ],
    ["a missing size", { ...llama, hidden_size: undefined }, /hidden_size is missing/, /again/],
    ["a size that is no number", { ...llama, vocab_size: "16" }, /vocab_size is "16"/, /again/],
    ["a size of zero", { ...llama, num_hidden_layers: 0 }, /num_hidden_layers is 0/, /again/],
    ["heads that do not divide", { ...llama, num_key_value_heads: 3 }, /4 is not a multiple of num_key_value_heads 3/, /./],
    ["width that does not divide", { ...llama, hidden_size: 30 }, /30 is not a multiple of num_attention_heads 4/, /./],
    ["odd rotation", { ...llama, partial_rotary_factor: 0.4 }, /3 rotary dimensions/, /./],
    ["no rotation", { ...llama, partial_rotary_factor: 0 }, /0 rotary dimensions/, /./],
    ["end token that is none", { ...llama, eos_token_id: ["</s>"] }, /eos_token_id/, /./],
    ["unknown prompt format", { ...llama, prompt_format: "poem" }, /"poem"/, /./],
    ["unknown RoPE kind", { ...llama, rope_scaling: { rope_type: "proportional" } }, /"proportional"/, /yarn/, "rope-invalid"],
    [
      "RoPE factor without sense",
      { ...llama, rope_scaling: { rope_type: "linear", factor: 0 } },
      /at least 1/,
      /./,
      "rope-invalid",
    ],
    [
      "RoPE field missing",
      { ...llama, rope_scaling: { rope_type: "llama3", factor: 8 } },
      /low_freq_factor is missing/,
      /./,
      "rope-invalid",
    ],
  ];
  for (const [what, config, message, remedy, code = "unsupported-model"] of refusals) {
    it(what, () => {
      assert.throws(
        () => parseSpec(config),
        (error) => {
          assert.ok(EngineError.is(error, code), String(error));
          assert.match(error.message, message);
          assert.match(error.remedy, remedy);
          return true;
        },
      );
    });
  }
});
