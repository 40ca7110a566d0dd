/** What distinguishes the decoder families; everything else is read from config.json. Sources: the configuration classes of transformers 5. */
import type { DecoderSpec } from "../api.ts";
import type { JsonRecord } from "../formats/json.ts";

export interface Family {
  /** Keys that config.json may leave out, with the values Hugging Face then takes. */
  defaults: JsonRecord;
  norm: Pick<DecoderSpec, "norm" | "normBias" | "normOffset" | "embeddingNorm" | "postNorms">;
  mlp: DecoderSpec["mlp"];
  /** Key of the activation, and its value where the key is missing. */
  activation: { key: string; fallback: string };
  /** Biases on q, k, v and on the output projection, where config.json does not say otherwise. */
  biases: { qkv: boolean; out: boolean } | "config";
  mlpBias: "config" | boolean;
  qkNorm: boolean;
  keyShift: boolean;
  tiedByDefault: boolean;
  /** Layers that slide where no `layer_types` says so: none, all, from `max_window_layers` on, even ones, or all but every sixth. */
  windows: "none" | "all" | "upper" | "even" | "five of six";
  /** Window layers without `use_sliding_window`: Qwen and SmolLM3 need the switch. */
  windowSwitch: boolean;
  theta: number;
  localTheta: number | undefined;
  longRopeNames: readonly string[];
  /** Input embeddings are multiplied by √E in the checkpoint's number format. */
  scaledEmbeddings: boolean;
  positions: "rope" | "alibi" | "config";
  /** Layers without rotation from `no_rope_layers`, or every n-th. */
  nopeLayers: boolean;
}

const rms: Family["norm"] = { norm: "rms", normBias: false, normOffset: 0, embeddingNorm: false, postNorms: false };

const llama: Family = {
  defaults: {},
  norm: rms,
  mlp: "gated",
  activation: { key: "hidden_act", fallback: "silu" },
  biases: "config",
  mlpBias: "config",
  qkNorm: false,
  keyShift: false,
  tiedByDefault: false,
  windows: "none",
  windowSwitch: false,
  theta: 10000,
  localTheta: undefined,
  longRopeNames: ["su"],
  scaledEmbeddings: false,
  positions: "rope",
  nopeLayers: false,
};

const noBiases = { biases: { qkv: false, out: false }, mlpBias: false } as const;
const qwenWindows = { windows: "upper", windowSwitch: true } as const;
const mistral: Family = { ...llama, ...noBiases, windows: "all" };

const gemma: Family = {
  ...llama,
  norm: { ...rms, normOffset: 1, postNorms: true },
  activation: { key: "hidden_activation", fallback: "gelu_pytorch_tanh" },
  mlpBias: false,
  tiedByDefault: true,
  scaledEmbeddings: true,
};

/** Sizes of Gemma 3 that its larger, multimodal configs leave out. */
const gemma3Defaults = {
  vocab_size: 262208,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 131072,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
};

const layerNorm: Family["norm"] = { norm: "layer", normBias: true, normOffset: 0, embeddingNorm: false, postNorms: false };

export const families: Readonly<Record<string, Family>> = {
  llama,
  qwen2: { ...llama, ...qwenWindows, biases: { qkv: true, out: false }, mlpBias: false, defaults: { sliding_window: 4096 } },
  qwen3: { ...llama, ...qwenWindows, mlpBias: false, qkNorm: true, defaults: { head_dim: 128, sliding_window: 4096 } },
  mistral: { ...mistral, defaults: { sliding_window: 4096 } },
  ministral3: { ...mistral, defaults: { head_dim: 128, rms_norm_eps: 1e-5 } },
  smollm3: { ...llama, tiedByDefault: true, windows: "all", windowSwitch: true, theta: 2e6, nopeLayers: true },
  phi3: {
    ...mistral,
    defaults: { rms_norm_eps: 1e-5, max_position_embeddings: 4096, original_max_position_embeddings: 4096 },
    longRopeNames: ["su", "yarn"],
  },
  gemma2: {
    ...gemma,
    defaults: {
      head_dim: 256,
      max_position_embeddings: 8192,
      query_pre_attn_scalar: 256,
      sliding_window: 4096,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
    },
    windows: "even",
  },
  gemma3_text: { ...gemma, defaults: gemma3Defaults, qkNorm: true, windows: "five of six", theta: 1e6, localTheta: 1e4 },
  bloom: {
    ...llama,
    norm: { ...layerNorm, embeddingNorm: true },
    mlp: "plain",
    activation: { key: "hidden_act", fallback: "gelu_pytorch_tanh" },
    biases: { qkv: true, out: true },
    mlpBias: true,
    tiedByDefault: true,
    positions: "alibi",
  },
  mpt: {
    ...llama,
    ...noBiases,
    norm: { ...layerNorm, normBias: false },
    mlp: "plain",
    activation: { key: "hidden_act", fallback: "gelu" },
    tiedByDefault: true,
    positions: "alibi",
  },
  lcp_keyshift: { ...llama, ...noBiases, qkNorm: true, keyShift: true, tiedByDefault: true, positions: "config" },
};
