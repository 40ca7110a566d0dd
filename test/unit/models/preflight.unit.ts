import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ModelSpec, TensorFormat } from "../../../engine/api.ts";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { cacheCapacity } from "../../../engine/kv-cache/capacity.ts";
import { type DeviceFacts, preflight, type WeightFacts, weightFacts } from "../../../engine/models/preflight.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";

/** The shape of Llama 3.2 1B. */
const llama = parseSpec({
  model_type: "llama",
  vocab_size: 128_256,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  tie_word_embeddings: true,
});

const weightsOf = (format: TensorFormat): WeightFacts =>
  weightFacts([...tensorShapes(llama)].map(([name, shape]) => ({ name, shape, format: shape.length > 1 ? format : "f32" })));

const laptop: DeviceFacts = {
  backend: { kind: "wgsl", because: "a WebGPU adapter was found" },
  name: "Apple M3",
  maxBindingBytes: 2 ** 32,
  memoryBytes: 16e9,
};

const texts = (weights: WeightFacts, device: Partial<DeviceFacts> = {}): string[] =>
  preflight(llama, weights, { ...laptop, ...device }).map(({ text }) => text);

describe("what a model asks of a machine", () => {
  it("is the size of its weights in every format they can be kept in", () => {
    const { parameterCount, format, bytes } = weightsOf("bf16");
    assert.equal(parameterCount, 1_235_814_400);
    assert.equal(format, "bf16");
    const matrices = parameterCount - 33 * 2048;
    assert.deepEqual(bytes, {
      file: 2 * matrices + 4 * 33 * 2048,
      f32: 4 * parameterCount,
      q8_0: (matrices / 32) * 34 + 4 * 33 * 2048,
      q4_0: (matrices / 32) * 18 + 4 * 33 * 2048,
    });
    assert.equal(
      texts(weightsOf("bf16"))[0],
      "1.2 billion parameters. The weights take 2.5 GB as the file has them (mostly bf16), 4.9 GB as f32, 1.3 GB as q8_0, 695 MB as q4_0.",
    );
  });

  it("leaves weights that are quantised already as they are", () => {
    const { bytes } = weightsOf("q4_k");
    assert.equal(bytes.q8_0, bytes.file);
    assert.equal(bytes.q4_0, bytes.file);
    assert.match(texts(weightsOf("q4_k"))[0] ?? "", /take 695 MB as the file has them \(mostly q4_k\), 4\.9 GB as f32\.$/);
    const odd = weightFacts([{ name: "x.weight", shape: [8, 33], format: "f16" }]);
    assert.equal(odd.bytes.q8_0, 8 * 33 * 2, "rows that are no whole blocks stay as they are");
  });

  it("is the KV cache of the trained length, and how much of it the backends keep", () => {
    const [, context = ""] = texts(weightsOf("bf16"));
    assert.match(
      context,
      /^It was trained on 131,072 tokens\. Their KV cache takes 8\.6 GB in f32; of that 32,768 tokens fit, as a cache of 2\.1 GB is kept\.$/,
    );
    assert.ok(llama.kind === "decoder");
    assert.equal(cacheCapacity(llama, F32_CACHE, WHOLE, 512, undefined), 32_768, "the number the backend itself comes to");
    const windowed: ModelSpec = { ...llama, layers: llama.layers.map((layer) => ({ ...layer, window: 512 })) };
    const [, context2] = preflight(windowed, weightsOf("bf16"), laptop);
    assert.match(
      context2?.text ?? "",
      /Their KV cache takes [\d.]+ MB in f32; all of it fits/,
      "windows are all that is kept of such layers",
    );
  });

  it("is a state of constant size for a recurrent model", () => {
    const mamba: ModelSpec = {
      ...{ kind: "mamba", modelType: "mamba", vocabSize: 50_280, hiddenSize: 768, layerCount: 24, normEps: 1e-5 },
      ...{ maxPositionEmbeddings: 2048, tiedEmbeddings: true, embeddingMultiplier: 1, bosTokenId: undefined, eosTokenIds: [0] },
      ...{
        absentTokenId: undefined,
        promptFormat: "plain",
        answerLines: "one",
        innerSize: 1536,
        stateSize: 16,
        convKernel: 4,
        timeStepRank: 48,
      },
      ...{ projectionBias: false, convBias: true },
    };
    const [, context] = preflight(mamba, weightsOf("f32"), laptop);
    assert.match(context?.text ?? "", /keeps a state of constant size instead of a KV cache/);
  });

  it("says what will run it and why, or that nobody could be asked yet", () => {
    assert.equal(texts(weightsOf("bf16"))[2], "It will run on WebGPU (Apple M3): a WebGPU adapter was found.");
    assert.match(texts(weightsOf("bf16"), { backend: undefined })[2] ?? "", /known once the playground is open/);
    const wasm = texts(weightsOf("bf16"), { backend: { kind: "ort", because: "no WebGPU" } });
    assert.equal(wasm[2], "It will run on WebAssembly on the CPU: no WebGPU.");
    assert.equal(wasm[3], "WebAssembly holds 3.2 GB of weights: choose q8_0 or q4_0 in the playground.");
  });

  it("warns where the weights do not fit the memory, and says which format does", () => {
    assert.equal(texts(weightsOf("bf16")).length, 3, "nothing to warn of");
    assert.match(
      texts(weightsOf("bf16"), { memoryBytes: 4e9 })[3] ?? "",
      /^This machine has 4 GB of memory: f32 does not fit, file, q8_0, q4_0 do\.$/,
    );
    assert.match(texts(weightsOf("bf16"), { memoryBytes: 5e8 })[3] ?? "", /less than the weights take in any format/);
  });
});
