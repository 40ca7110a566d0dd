import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { DecoderSpec, LayerKind, RopeScaling } from "../../../engine/api.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { parseSpec, supportedModelTypes } from "../../../engine/models/spec.ts";

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

const full: LayerKind = { window: undefined, rotation: "main" };
const sliding = (window: number): LayerKind => ({ window, rotation: "main" });

describe("a model's facts from config.json", () => {
  it("reads a plain Llama with Hugging Face's defaults", () => {
    const plain: DecoderSpec = {
      kind: "decoder",
      modelType: "llama",
      vocabSize: 16,
      hiddenSize: 32,
      intermediateSize: 48,
      layerCount: 2,
      headCount: 4,
      kvHeadCount: 2,
      headDim: 8,
      layers: [full, full],
      rotaryDim: 8,
      ropeTheta: 10000,
      rope: { kind: "none" },
      local: undefined,
      alibi: undefined,
      queryTemperature: undefined,
      norm: "rms",
      normBias: false,
      normOffset: 0,
      embeddingNorm: false,
      postNorms: false,
      residualAfterNorm: false,
      normEps: 1e-6,
      mlp: "gated",
      activation: "silu",
      attentionScale: 1 / Math.sqrt(8),
      attentionSoftcap: undefined,
      finalSoftcap: undefined,
      qkvClip: undefined,
      maxPositionEmbeddings: 4096,
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
      answerLines: "one",
    };
    assert.deepEqual(parseSpec(llama), plain);
  });

  it("reads the bundled model", () => {
    const spec = decoder(JSON.parse(readFileSync("media/specimens/ask-5m/config.json", "utf8")));
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

  it("reads the bundled family with ALiBi", () => {
    const config = { ...llama, model_type: "lcp_keyshift", position_embedding_type: "alibi", alibi_bias_max: 4 };
    const spec = decoder(config);
    assert.deepEqual(
      [spec.alibi, spec.rotaryDim, spec.layers, spec.keyShift, spec.qkNorm],
      [{ maxBias: 4 }, 0, Array(2).fill({ window: undefined, rotation: "none" }), true, true],
    );
    assert.equal(decoder({ ...config, position_embedding_type: undefined }).alibi, undefined);
    assert.throws(() => parseSpec({ ...config, position_embedding_type: "learned" }), /position_embedding_type "learned"/);
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
    ["answers of several lines", { answer_lines: "many" }, { answerLines: "many" }],
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
      "YaRN's two mscales, which count for nothing beside an attention factor",
      { rope_scaling: { rope_type: "yarn", factor: 4, mscale: 1, mscale_all_dim: 1, attention_factor: 1.5 } },
      {
        rope: { kind: "yarn", factor: 4, originalContext: 4096, betaFast: 32, betaSlow: 1, truncate: true, attentionFactor: 1.5 },
      },
    ],
    [
      "a window that is switched off",
      { model_type: "qwen2", use_sliding_window: false, sliding_window: 1024 },
      { layers: [full, full] },
    ],
    [
      "a window in the upper layers",
      { model_type: "qwen3", use_sliding_window: true, sliding_window: 64, max_window_layers: 1 },
      { layers: [full, sliding(64)] },
    ],
    [
      "a window of Qwen's usual size",
      { model_type: "qwen2", use_sliding_window: true, max_window_layers: 0 },
      { layers: [sliding(4096), sliding(4096)] },
    ],
    ["Mistral's window, in every layer", { model_type: "mistral" }, { layers: [sliding(4096), sliding(4096)] }],
    ["no window, said with null", { model_type: "mistral", sliding_window: null }, { layers: [full, full] }],
    [
      "a window no layer uses",
      { sliding_window: 128, layer_types: ["full_attention", "full_attention"] },
      { layers: [full, full] },
    ],
    [
      "windows by layer type",
      { model_type: "mistral", sliding_window: 64, layer_types: ["sliding_attention", "full_attention"] },
      { layers: [sliding(64), full] },
    ],
    [
      "layers without rotation, which have a 0 in no_rope_layers",
      { model_type: "smollm3", no_rope_layers: [0, 1] },
      { layers: [{ window: undefined, rotation: "none" }, full], ropeTheta: 2e6, tiedEmbeddings: true },
    ],
    [
      "layers without rotation by interval, with SmolLM3's window on them",
      { model_type: "smollm3", no_rope_layer_interval: 2, use_sliding_window: true, sliding_window: 64 },
      { layers: [full, { window: 64, rotation: "none" }] },
    ],
    ["an activation by another name", { hidden_act: "gelu_new" }, { activation: "gelu_tanh" }],
    [
      "a proportional rotation over the whole head, its share also outside the RoPE parameters",
      { partial_rotary_factor: 0.5, rope_parameters: { rope_type: "proportional" } },
      { rotaryDim: 8, rope: { kind: "proportional", factor: 1, rotaryShare: 0.5 } },
    ],
    [
      "Ministral's temperature of queries beside YaRN, and its head dimension",
      {
        model_type: "ministral3",
        rope_parameters: {
          type: "yarn",
          factor: 16,
          rope_theta: 1e6,
          original_max_position_embeddings: 1024,
          llama_4_scaling_beta: 0.1,
          mscale: 1,
          mscale_all_dim: 1,
        },
      },
      {
        headDim: 128,
        queryTemperature: { beta: 0.1, length: 1024 },
        rope: {
          kind: "yarn",
          factor: 16,
          originalContext: 1024,
          betaFast: 32,
          betaSlow: 1,
          truncate: true,
          mscale: 1,
          mscaleAllDim: 1,
        },
      },
    ],
    [
      "Qwen2.5-1M's dual chunk attention",
      {
        model_type: "qwen2",
        dual_chunk_attention_config: { chunk_size: 1024, local_size: 128, original_max_position_embeddings: 1024 },
      },
      { rope: { kind: "dual_chunk", chunkSize: 1024, localSize: 128, originalContext: 1024 } },
    ],
  ];
  for (const [what, change, expected] of readings) {
    it(what, () => {
      const spec = new Map<string, unknown>(Object.entries(parseSpec({ ...llama, ...change })));
      for (const [field, value] of Object.entries(expected)) assert.deepEqual(spec.get(field), value, field);
    });
  }
});

describe("rotations of Phi-3", () => {
  const phi3 = { ...llama, model_type: "phi3", max_position_embeddings: 8192, original_max_position_embeddings: 2048 };
  const lists = { short_factor: [1, 1, 1, 1], long_factor: [1, 2, 3, 4] };
  const longrope: RopeScaling = { kind: "longrope", shortFactor: [1, 1, 1, 1], longFactor: [1, 2, 3, 4], originalContext: 2048 };

  it("are LongRoPE, also as su and as yarn", () => {
    for (const type of ["longrope", "su", "yarn"]) {
      assert.deepEqual(decoder({ ...phi3, rope_scaling: { type, ...lists } }).rope, longrope, type);
      assert.deepEqual(decoder({ ...phi3, rope_parameters: { rope_type: type, ...lists } }).rope, longrope, type);
    }
  });

  it("have one divisor per rotary pair where part of a head turns", () => {
    const partial = { ...phi3, head_dim: 16, partial_rotary_factor: 0.5, rope_scaling: { type: "longrope", ...lists } };
    assert.deepEqual([decoder(partial).rotaryDim, decoder(partial).rope], [8, longrope]);
    assert.throws(
      () => decoder({ ...partial, partial_rotary_factor: 1 }),
      (error) => EngineError.is(error, "rope-invalid") && /4 numbers and needs 8/.test(error.message),
    );
  });

  it("of other families are YaRN where they say so", () => {
    const { rope } = decoder({ ...llama, rope_scaling: { type: "yarn", factor: 2 } });
    assert.equal(rope.kind, "yarn");
  });
});

describe("rotations of Gemma 3", () => {
  const gemma = { ...llama, model_type: "gemma3_text", num_hidden_layers: 6, head_dim: 8, sliding_window: 16 };
  const linear: RopeScaling = { kind: "linear", factor: 8 };
  const facts = (config: object) => {
    const { ropeTheta, rope, local } = decoder({ ...gemma, ...config });
    return { theta: ropeTheta, rope, local: local && [local.theta, local.rope, local.rotaryDim] };
  };

  it("differ between full and window layers by default", () => {
    const spec = decoder(gemma);
    assert.deepEqual(facts({}), { theta: 1e6, rope: { kind: "none" }, local: [1e4, { kind: "none" }, 8] });
    assert.deepEqual(
      spec.layers.map(({ window, rotation }) => `${window} ${rotation}`),
      [...new Array<string>(5).fill("16 local"), "undefined main"],
    );
  });

  it("are read from the older flat keys, where a scaling is that of full layers", () => {
    const flat = { rope_theta: 5e5, rope_local_base_freq: 2e4, rope_scaling: { rope_type: "linear", factor: 8 } };
    assert.deepEqual(facts(flat), { theta: 5e5, rope: linear, local: [2e4, { kind: "none" }, 8] });
  });

  it("are read from parameters by layer type", () => {
    const nested = {
      rope_parameters: {
        full_attention: { rope_type: "linear", factor: 8, rope_theta: 5e5 },
        sliding_attention: { rope_type: "default", rope_theta: 2e4 },
      },
    };
    assert.deepEqual(facts(nested), { theta: 5e5, rope: linear, local: [2e4, { kind: "none" }, 8] });
  });

  it("fall back to the keys outside, each to its own", () => {
    const nested = {
      rope_theta: 5e5,
      rope_local_base_freq: 2e4,
      rope_parameters: { full_attention: { rope_type: "linear", factor: 8 }, sliding_attention: { rope_type: "default" } },
    };
    assert.deepEqual(facts(nested), { theta: 5e5, rope: linear, local: [2e4, { kind: "none" }, 8] });
    assert.deepEqual(facts({ rope_parameters: { full_attention: { rope_type: "default" } } }), facts({}));
  });

  it("by layer type take no original context from outside, and a scaling of window layers stays with them", () => {
    const yarn = { rope_type: "yarn", factor: 4, truncate: false };
    const { rope, local } = decoder({
      ...gemma,
      original_max_position_embeddings: 1024,
      rope_parameters: { full_attention: yarn, sliding_attention: { rope_type: "linear", factor: 2 } },
    });
    // transformers reads `truncate` from the outer dictionary only.
    assert.deepEqual(rope, { kind: "yarn", factor: 4, originalContext: 4096, betaFast: 32, betaSlow: 1, truncate: true });
    assert.deepEqual(local?.rope, { kind: "linear", factor: 2 });
  });
});

describe("models with linear biases instead of a rotation", () => {
  const bloom = { model_type: "bloom", vocab_size: 16, n_embed: 32, n_layer: 2, n_head: 4, seq_length: 512 };
  const mpt = { model_type: "mpt", vocab_size: 16, d_model: 32, n_layers: 2, n_heads: 4, max_seq_len: 512 };

  it("BLOOM", () => {
    const spec = decoder(bloom);
    assert.deepEqual([spec.rotaryDim, spec.alibi, spec.rope], [0, { maxBias: 8 }, { kind: "none" }]);
    assert.deepEqual(spec.layers, new Array<LayerKind>(2).fill({ window: undefined, rotation: "none" }));
    assert.deepEqual(
      [spec.norm, spec.normBias, spec.embeddingNorm, spec.mlp, spec.normEps],
      ["layer", true, true, "plain", 1e-5],
    );
    assert.deepEqual([spec.intermediateSize, spec.maxPositionEmbeddings, spec.tiedEmbeddings], [128, 512, true]);
    assert.deepEqual([spec.qkvBias, spec.outBias, spec.mlpBias, spec.activation], [true, true, true, "gelu_tanh"]);
  });

  it("MPT", () => {
    const spec = decoder({
      ...mpt,
      expansion_ratio: 2,
      attn_config: { alibi: true, alibi_bias_max: 16, clip_qkv: 3, softmax_scale: 0.5 },
    });
    assert.deepEqual([spec.rotaryDim, spec.alibi, spec.qkvClip, spec.attentionScale], [0, { maxBias: 16 }, 3, 0.5]);
    assert.deepEqual(
      [spec.norm, spec.normBias, spec.embeddingNorm, spec.qkvBias, spec.mlpBias],
      ["layer", false, false, false, false],
    );
    assert.deepEqual([spec.intermediateSize, spec.maxPositionEmbeddings, spec.activation], [64, 512, "gelu"]);
  });

  const refused: [what: string, config: object, message: RegExp][] = [
    ["learned positions", { ...mpt, attn_config: { alibi: false } }, /without alibi/],
    ["one key head for all", { ...mpt, attn_config: { attn_type: "multiquery_attention" } }, /attn_type/],
    ["norms on queries and keys", { ...mpt, attn_config: { qk_ln: true } }, /qk_ln/],
    ["a prefix that sees itself", { ...mpt, attn_config: { prefix_lm: true } }, /prefix_lm/],
    ["scaled logits", { ...mpt, logit_scale: 0.5 }, /logit_scale/],
    ["biases", { ...mpt, no_bias: false }, /no_bias/],
  ];
  for (const [what, config, message] of refused) {
    it(`refuses ${what}`, () =>
      assert.throws(
        () => parseSpec(config),
        (error) => EngineError.is(error, "unsupported-model") && message.test(error.message) && error.remedy !== "",
      ));
  }
});

describe("what the engine cannot run faithfully is refused", () => {
  /** A refusal lists what is supported. */
  const everyType = new RegExp(supportedModelTypes.join(", "));

  it("with a list of every family", () => {
    const asked = "llama qwen2 qwen3 mistral smollm3 phi3 gemma2 gemma3_text gemma3 bloom mpt mamba mamba2 rwkv7";
    for (const type of asked.split(" ")) assert.ok(supportedModelTypes.includes(type), type);
  });

  const refusals: [what: string, config: unknown, message: RegExp, remedy: RegExp, code?: ErrorCode][] = [
    ["not an object", [], /\[\]/, /./],
    ["no model type", { ...llama, model_type: undefined }, /no model_type/, everyType],
    ["another family", { ...llama, model_type: "gpt_neox" }, /"gpt_neox"/, everyType],
    ["inherited property names", { ...llama, model_type: "constructor" }, /"constructor"/, everyType],
    ["another activation", { ...llama, hidden_act: "relu" }, /hidden_act "relu"/, /silu, swish, gelu/],
    [
      "layers of another type",
      { ...llama, layer_types: ["chunked_attention", "full_attention"] },
      /"chunked_attention"/,
      /sliding_attention/,
    ],
    ["too few layer types", { ...llama, layer_types: ["full_attention"] }, /list of 2/, /./],
    ["too few flags of rotation", { ...llama, model_type: "smollm3", no_rope_layers: [1] }, /list of 2 zeros and ones/, /./],
    [
      "rotations by other layer types",
      { ...llama, rope_parameters: { main: { rope_type: "default" }, compress: { rope_type: "default" } } },
      /main, compress/,
      /another model/,
    ],
    [
      "a re-indexing as if it were the model's",
      { ...llama, rope_parameters: { rope_type: "self_extend", group: 4, window: 64 } },
      /self_extend is a setting of this program/,
      /./,
    ],
    [
      "dual chunks over another scaling",
      {
        ...llama,
        rope_scaling: { rope_type: "yarn", factor: 4 },
        dual_chunk_attention_config: { chunk_size: 64, local_size: 8 },
      },
      /dual_chunk_attention_config and the RoPE type yarn/,
      /one of the two/,
    ],
    [
      "dual chunks that are all local",
      { ...llama, dual_chunk_attention_config: { chunk_size: 64, local_size: 64 } },
      /local_size must be below/,
      /./,
      "rope-invalid",
    ],
    [
      "embeddings in both directions",
      { ...llama, model_type: "gemma3_text", use_bidirectional_attention: true },
      /use_bidirectional/,
      /./,
    ],
    ["a missing size", { ...llama, hidden_size: undefined }, /hidden_size is missing/, /again/],
    ["a size that is no number", { ...llama, vocab_size: "16" }, /vocab_size is "16"/, /again/],
    ["a size of zero", { ...llama, num_hidden_layers: 0 }, /num_hidden_layers is 0/, /again/],
    ["heads that do not divide", { ...llama, num_key_value_heads: 3 }, /4 is not a multiple of num_key_value_heads 3/, /./],
    ["width that does not divide", { ...llama, hidden_size: 30 }, /30 is not a multiple of num_attention_heads 4/, /./],
    ["odd rotation", { ...llama, partial_rotary_factor: 0.4 }, /3 rotary dimensions/, /./],
    ["no rotation", { ...llama, partial_rotary_factor: 0 }, /0 rotary dimensions/, /./],
    ["end token that is none", { ...llama, eos_token_id: ["</s>"] }, /eos_token_id/, /./],
    ["unknown number of answer lines", { ...llama, answer_lines: "two" }, /"two"/, /./],
    ["unknown prompt format", { ...llama, prompt_format: "poem" }, /"poem"/, /./],
    ["unknown RoPE kind", { ...llama, rope_scaling: { rope_type: "spiral" } }, /"spiral"/, /yarn/, "rope-invalid"],
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

function decoder(config: unknown): DecoderSpec {
  const spec = parseSpec(config);
  assert.ok(spec.kind === "decoder");
  return spec;
}
