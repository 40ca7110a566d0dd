/** What GGUF metadata may say otherwise than the converter's files of today: other keys, other types, and what the engine refuses. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { openGguf } from "../../../engine/formats/ggufStore.ts";
import type { JsonRecord } from "../../../engine/formats/json.ts";
import { asWritten } from "../../../engine/models/ggufMetadata.ts";
import { ggufArchitectures, ggufConfig } from "../../../engine/models/ggufModel.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { ropeTable } from "../../../engine/position/scaling.ts";
import { type GgufEntry, ggufFile } from "../../support/ggufFile.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";

type Entries = Readonly<Record<string, GgufEntry>>;

/** A Llama of one layer: 4 heads of 8 over a hidden size of 32. */
const llama: Entries = {
  "general.architecture": ["string", "llama"],
  "llama.block_count": ["u32", 1],
  "llama.context_length": ["u32", 128],
  "llama.embedding_length": ["u32", 32],
  "llama.feed_forward_length": ["u32", 48],
  "llama.attention.head_count": ["u32", 4],
  "llama.attention.head_count_kv": ["u32", 2],
  "llama.attention.layer_norm_rms_epsilon": ["f32", 1e-5],
  "tokenizer.ggml.model": ["string", "llama"],
  "tokenizer.ggml.tokens": ["strings", ["<s>", "</s>", "a", "b", "ab", "<|im_end|>", "<end_of_turn>"]],
  "tokenizer.ggml.token_type": ["i32s", [3, 3, 1, 1, 1, 3, 1]],
  "tokenizer.ggml.scores": ["f32s", [0, 0, -2, -2, -1, 0, 0]],
  "tokenizer.ggml.add_space_prefix": ["bool", false],
  "tokenizer.ggml.bos_token_id": ["u32", 0],
  "tokenizer.ggml.eos_token_id": ["u32", 1],
  "tokenizer.ggml.unknown_token_id": ["u32", 6],
};

/** Names with their dimensions as in the file: rows first in the engine. */
const tensors: Readonly<Record<string, readonly number[]>> = {
  "token_embd.weight": [7, 32],
  "output_norm.weight": [32],
  "blk.0.attn_norm.weight": [32],
  "blk.0.attn_q.weight": [32, 32],
  "blk.0.attn_k.weight": [16, 32],
  "blk.0.attn_v.weight": [16, 32],
  "blk.0.attn_output.weight": [32, 32],
  "blk.0.ffn_norm.weight": [32],
  "blk.0.ffn_gate.weight": [48, 32],
  "blk.0.ffn_up.weight": [48, 32],
  "blk.0.ffn_down.weight": [32, 48],
};

function modelOf(
  metadata: Entries = {},
  more: Readonly<Record<string, readonly number[]>> = {},
  values: Readonly<Record<string, readonly number[]>> = {},
) {
  const data: number[] = [];
  const entries = Object.entries({ ...tensors, ...more }).map(([name, shape]) => {
    const offset = data.length * 4;
    const count = shape.reduce((product, size) => product * size, 1);
    for (let i = 0; i < Math.ceil(count / 8) * 8; i++) data.push(values[name]?.[i] ?? 0.5);
    return { name, dimensions: [...shape].reverse(), type: 0, offset };
  });
  const bytes = ggufFile({ ...llama, ...metadata }, entries, new Uint8Array(Float32Array.from(data).buffer));
  return { ...memoryFiles({ "m.gguf": bytes }), ggufName: "m.gguf" };
}

async function configOf(...model: Parameters<typeof modelOf>): Promise<JsonRecord> {
  return ggufConfig(await openGguf(modelOf(...model), "m.gguf"), "m.gguf");
}

async function rejects(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(EngineError.is(error, code), `expected ${code}, got ${String(error)}`);
    assert.match(error.message, message);
    assert.notEqual(error.remedy, "");
    return true;
  });
}

describe("GGUF metadata", () => {
  it("is config.json with the numbers as they were before they became f32", async () => {
    const config = await configOf({ "llama.rope.freq_base": ["f32", 130000.5], "llama.attention.head_count_kv": ["i32s", [2]] });
    assert.deepEqual(config, {
      model_type: "llama",
      vocab_size: 7,
      hidden_size: 32,
      num_hidden_layers: 1,
      tie_word_embeddings: true,
      bos_token_id: 0,
      // The eos of the file, and texts that end a turn.
      eos_token_id: [1, 5, 6],
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 8,
      intermediate_size: 48,
      max_position_embeddings: 128,
      rms_norm_eps: 1e-5,
      rope_theta: 130000.5,
      attention_bias: false,
      mlp_bias: false,
    });
    assert.deepEqual(
      [1e-6, 1e-5, 0.1, 10000, 1e6, 1.30123e5].map((value) => asWritten(Math.fround(value))),
      [1e-6, 1e-5, 0.1, 10000, 1e6, 1.30123e5],
    );
    assert.equal(asWritten(0.1 + 0.2), 0.1 + 0.2);
  });

  it("names more ends of an answer", async () => {
    const config = await configOf({ "tokenizer.ggml.eot_token_id": ["u32", 3], "tokenizer.ggml.eom_token_id": ["u32", 2] });
    assert.deepEqual(config["eos_token_id"], [1, 3, 2, 5, 6]);
  });

  it("brings tokenizer and template, and without a template the model is a plain one", async () => {
    const plain = await loadModel(modelOf());
    assert.deepEqual([plain.label, plain.spec.promptFormat, plain.chatTemplate], ["m", "plain", undefined]);
    assert.deepEqual([plain.bosToken, plain.eosToken], ["<s>", "</s>"]);
    assert.deepEqual([...plain.tokenizer().encode("abba")], [4, 3, 2]);
    const chat = await loadModel(modelOf({ "tokenizer.chat_template": ["string", "{{ messages }}"] }));
    assert.deepEqual([chat.spec.promptFormat, chat.chatTemplate], ["chat", "{{ messages }}"]);
  });

  it("says nothing of a sliding window in Llama; where it does the model is a Mistral", async () => {
    const config = await configOf({ "llama.attention.sliding_window": ["u32", 16] });
    assert.deepEqual([config["model_type"], config["sliding_window"]], ["mistral", 16]);
    const spec = parseSpec(config);
    assert.deepEqual(spec.kind === "decoder" && spec.layers, [{ window: 16, rotation: "main" }]);
  });

  it("has an output head of its own where the tensor is there", async () => {
    const { spec, weights } = await loadModel(modelOf({}, { "output.weight": [7, 32] }));
    assert.equal(spec.tiedEmbeddings, false);
    assert.deepEqual(weights.shape("lm_head.weight"), [7, 32]);
  });

  it("may fuse queries, keys and values in any family", async () => {
    const split = await loadModel(modelOf());
    const rows = Array.from({ length: 64 * 32 }, (_, index) => Math.floor(index / 32));
    const others = Object.fromEntries(Object.entries(tensors).filter(([name]) => !/attn_[qkv]\./.test(name)));
    const shapes = { ...others, "blk.0.attn_qkv.weight": [64, 32] };
    const data = Object.entries(shapes).flatMap(([name, shape]) => {
      const count = shape.reduce((product, size) => product * size, 1);
      return Array.from({ length: Math.ceil(count / 8) * 8 }, (_, i) => (name.includes("qkv") ? rows[i] : 0.5) ?? 0);
    });
    let offset = 0;
    const entries = Object.entries(shapes).map(([name, shape]) => {
      const entry = { name, dimensions: [...shape].reverse(), type: 0, offset };
      offset += Math.ceil(shape.reduce((product, size) => product * size, 1) / 8) * 32;
      return entry;
    });
    const file = ggufFile(llama, entries, new Uint8Array(Float32Array.from(data).buffer));
    const { weights } = await loadModel({ ...memoryFiles({ "m.gguf": file }), ggufName: "m.gguf" });
    const first = async (name: string) =>
      (await weights.readRows(`model.layers.0.self_attn.${name}_proj.weight`)).filter((_, i) => i % 32 === 0);
    // The rows of each head of q and k stand in pairs.
    assert.deepEqual([...(await first("q"))].slice(0, 10), [0, 2, 4, 6, 1, 3, 5, 7, 8, 10]);
    assert.deepEqual([...(await first("k"))].slice(0, 8), [32, 34, 36, 38, 33, 35, 37, 39]);
    assert.deepEqual(
      [...(await first("v"))],
      Array.from({ length: 16 }, (_, row) => 48 + row),
    );
    assert.deepEqual(
      weights.shape("model.layers.0.self_attn.k_proj.weight"),
      split.weights.shape("model.layers.0.self_attn.k_proj.weight"),
    );
  });
});

describe("the rotation of a GGUF file", () => {
  const yarn: Entries = { "llama.rope.scaling.type": ["string", "yarn"], "llama.rope.scaling.factor": ["f32", 4] };
  const scaling = async (...model: Parameters<typeof configOf>) => (await configOf(...model))["rope_scaling"];

  it("is scaled as its keys say", async () => {
    assert.deepEqual(await scaling({ "llama.rope.scaling.factor": ["f32", 2.5] }), { rope_type: "linear", factor: 2.5 });
    assert.deepEqual(await scaling({ "llama.rope.scale_linear": ["f32", 2] }), { rope_type: "linear", factor: 2 });
    assert.equal(
      await scaling({ "llama.rope.scaling.type": ["string", "none"], "llama.rope.scaling.factor": ["f32", 2] }),
      undefined,
    );
    assert.equal(
      await scaling({ "llama.rope.scaling.type": ["string", "linear"], "llama.rope.scaling.factor": ["f32", 0] }),
      undefined,
    );
    assert.deepEqual(await scaling(yarn), { rope_type: "yarn", factor: 4, original_max_position_embeddings: 128 });
    const all: Entries = {
      ...yarn,
      "llama.rope.scaling.original_context_length": ["u32", 32],
      "llama.rope.scaling.yarn_beta_fast": ["f32", 16],
      "llama.rope.scaling.yarn_beta_slow": ["f32", 2],
      "llama.rope.scaling.yarn_attn_factor": ["f32", 1.1],
      "llama.rope.scaling.yarn_log_multiplier": ["f32", 0.5],
    };
    assert.deepEqual(await scaling(all), {
      rope_type: "yarn",
      factor: 4,
      original_max_position_embeddings: 32,
      beta_fast: 16,
      beta_slow: 2,
      attention_factor: 1.1,
      mscale: 1,
      mscale_all_dim: 0.5,
    });
    assert.deepEqual(await scaling({ ...yarn, "llama.rope.scaling.yarn_attn_factor": ["f32", 1] }), await scaling(yarn));
  });

  it("turns a part of the head", async () => {
    const config = await configOf({ "llama.rope.dimension_count": ["u32", 6] });
    assert.equal(config["partial_rotary_factor"], 0.75);
    const spec = parseSpec(config);
    assert.equal(spec.kind === "decoder" && spec.rotaryDim, 6);
  });

  it("is refused where Hugging Face has no keys for it", async () => {
    await rejects(
      configOf({ ...yarn, "llama.rope.scaling.yarn_ext_factor": ["f32", 0.5] }),
      "unsupported-model",
      /extrapolation factor/,
    );
    await rejects(configOf({ "llama.rope.scaling.type": ["string", "spiral"] }), "unsupported-model", /RoPE scaling "spiral"/);
    await rejects(
      configOf({ "llama.rope.scaling.type": ["string", "longrope"] }),
      "unsupported-model",
      /"longrope" without its factors/,
    );
  });

  it("with any divisors is a LongRoPE of one list, and with ones only none", async () => {
    const divisors = [1, 1.5, 3, 7];
    const shapes = { "rope_freqs.weight": [4] };
    const config = await configOf({}, shapes, { "rope_freqs.weight": divisors });
    const spec = parseSpec(config);
    assert.ok(spec.kind === "decoder" && spec.rope.kind === "longrope");
    const base = { theta: 10000, rotaryDim: 8, maxPositionEmbeddings: 128, trainedLength: 128 };
    const plain = ropeTable({ kind: "none" }, base, 64);
    const scaled = ropeTable(spec.rope, base, 64);
    assert.equal(scaled.attentionFactor, 1);
    for (const [pair, frequency] of scaled.invFreq.entries())
      assert.ok(Math.abs(frequency * (divisors[pair] ?? 0) - (plain.invFreq[pair] ?? 0)) < 1e-15);
    assert.equal((await configOf({}, shapes, { "rope_freqs.weight": [1, 1, 1, 1] }))["rope_scaling"], undefined);
  });

  it("has Llama 3's keys where its divisors are made by them", async () => {
    const base = { theta: 10000, rotaryDim: 8, maxPositionEmbeddings: 128, trainedLength: 128 };
    for (const [factor, originalContext] of [
      [8, 64],
      [32, 200],
      [4, 1000],
    ] as const) {
      const rope = { kind: "llama3", factor, originalContext, lowFreqFactor: 1, highFreqFactor: 4 } as const;
      const plain = ropeTable({ kind: "none" }, base, 64);
      const divisors = ropeTable(rope, base, 64).invFreq.map((frequency, pair) =>
        Math.fround((plain.invFreq[pair] ?? 0) / frequency),
      );
      const spec = parseSpec(await configOf({}, { "rope_freqs.weight": [4] }, { "rope_freqs.weight": [...divisors] }));
      assert.ok(spec.kind === "decoder");
      assert.deepEqual(spec.rope, rope);
    }
  });
});

describe("GGUF models that are refused", () => {
  const cases: [what: string, model: Parameters<typeof modelOf>, code: ErrorCode, message: RegExp][] = [
    ["another architecture", [{ "general.architecture": ["string", "clip"] }], "unsupported-model", /architecture clip/],
    ["an architecture that is no text", [{ "general.architecture": ["u32", 3] }], "unsupported-model", /architecture 3/],
    ["a mixture of experts", [{ "llama.expert_count": ["u32", 8] }], "unsupported-model", /mixture of experts/],
    [
      "a text for a number",
      [{ "llama.block_count": ["string", "1"] }],
      "unsupported-model",
      /block_count is 1 and must be a whole number/,
    ],
    ["a fraction for a count", [{ "llama.embedding_length": ["f32", 0.5] }], "unsupported-model", /embedding_length is 0\.5/],
    ["a list of texts for a count", [{ "llama.embedding_length": ["strings", ["32"]] }], "unsupported-model", /a list of 1/],
    ["an empty list for a count", [{ "llama.attention.head_count": ["i32s", []] }], "unsupported-model", /a list of 0/],
    [
      "heads that differ by layer",
      [{ "llama.attention.head_count": ["i32s", [4, 8]] }],
      "unsupported-model",
      /differs between layers/,
    ],
    [
      "a number beyond 2^53",
      [{ "llama.context_length": ["u64", 2n ** 60n] }],
      "unsupported-model",
      /context_length is 1152921504606846976/,
    ],
    ["more layers than tensors", [{ "llama.block_count": ["u32", 2 ** 32 - 1] }], "unsupported-model", /4294967295 layers/],
    ["no layers", [{ "llama.block_count": ["u32", 0] }], "unsupported-model", /0 layers/],
    ["no heads", [{ "llama.attention.head_count": ["u32", 0] }], "unsupported-model", /no attention heads/],
    [
      "heads that do not divide",
      [{ "llama.attention.head_count": ["u32", 5] }],
      "unsupported-model",
      /32 is not a multiple of 5/,
    ],
    [
      "longer values than keys",
      [{ "llama.attention.value_length": ["u32", 16] }],
      "unsupported-model",
      /values of another length/,
    ],
    [
      "groups that do not divide",
      [{ "llama.attention.head_count_kv": ["u32", 3] }],
      "unsupported-model",
      /the metadata of m\.gguf/,
    ],
    [
      "a tensor that nothing reads",
      [{}, { "blk.0.attn_sinks.weight": [4] }],
      "unsupported-model",
      /tensor blk\.0\.attn_sinks\.weight/,
    ],
    ["a layer too many", [{}, { "blk.1.attn_norm.weight": [32] }], "unsupported-model", /tensor blk\.1\.attn_norm\.weight/],
    ["a tensor of another shape", [{}, { "blk.0.attn_k.weight": [8, 32] }], "bad-weights", /k_proj\.weight is \[8, 32\]/],
    ["a bias on the output only", [{}, { "blk.0.attn_output.bias": [32] }], "unsupported-model", /attn_output\.bias/],
  ];
  for (const [what, model, code, message] of cases) {
    it(what, () => rejects(loadModel(modelOf(...model)), code, message));
  }

  it("a missing tensor, key, file", async () => {
    const file = ggufFile({ "general.architecture": ["string", "llama"] });
    await rejects(
      loadModel({ ...memoryFiles({ "m.gguf": file }), ggufName: "m.gguf" }),
      "unsupported-model",
      /token_embd\.weight/,
    );
    await rejects(loadModel({ ...memoryFiles({}), ggufName: "m.gguf" }), "not-found", /no m\.gguf/);
    const others = Object.fromEntries(Object.entries(llama).filter(([key]) => key !== "llama.feed_forward_length"));
    const bytes = ggufFile(others, [{ name: "token_embd.weight", dimensions: [32, 1], type: 0, offset: 0 }], new Uint8Array(128));
    await rejects(
      loadModel({ ...memoryFiles({ "m.gguf": bytes }), ggufName: "m.gguf" }),
      "unsupported-model",
      /feed_forward_length is missing/,
    );
  });

  it("says which architectures there are", async () => {
    const model = loadModel(modelOf({ "general.architecture": ["string", "bert"] }));
    await assert.rejects(
      model,
      (error) => EngineError.is(error) && ggufArchitectures.every((name) => error.remedy.includes(name)),
    );
  });
});
