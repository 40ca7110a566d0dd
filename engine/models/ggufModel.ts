/**
 * The metadata of a GGUF file as the config.json it was made of: Hugging Face's keys of each family, so that `parseSpec` reads it.
 * What the format does not say follows from the tensors that are there, or is what llama.cpp takes (src/models/*.cpp).
 */
import { EngineError } from "../errors.ts";
import type { GgufValue } from "../formats/gguf.ts";
import type { GgufFile } from "../formats/ggufStore.ts";
import type { JsonRecord } from "../formats/json.ts";
import type { NamedStore } from "../formats/tensorStore.ts";
import { GgufFields, unsupported } from "./ggufMetadata.ts";
import { ropeConfig } from "./ggufRope.ts";
import { endTokenIds } from "./ggufTokens.ts";

interface Facts {
  fields: GgufFields;
  store: NamedStore;
  /** What every family has. */
  common: JsonRecord;
  signal: AbortSignal | undefined;
}

const ARCHITECTURES: Readonly<Record<string, (facts: Facts) => JsonRecord | Promise<JsonRecord>>> = {
  llama: async (facts) => {
    const window = facts.fields.optionalCount("attention.sliding_window") ?? 0;
    const biases = { attention_bias: hasLayer(facts, "attn_q.bias"), mlp_bias: hasLayer(facts, "ffn_up.bias") };
    return {
      ...(await transformer(facts)),
      ...(window > 0 ? { model_type: "mistral", sliding_window: window } : { model_type: "llama", ...biases }),
    };
  },
  qwen2: async (facts) => ({ model_type: "qwen2", ...(await transformer(facts)) }),
  qwen3: async (facts) => ({
    model_type: "qwen3",
    attention_bias: hasLayer(facts, "attn_q.bias"),
    ...(await transformer(facts)),
  }),
  smollm3: async (facts) => {
    const config = await transformer(facts);
    const layers = facts.fields.count("block_count");
    return {
      model_type: "smollm3",
      ...config,
      attention_bias: hasLayer(facts, "attn_q.bias"),
      mlp_bias: hasLayer(facts, "ffn_up.bias"),
      // Not in the file; llama.cpp leaves every fourth layer unrotated, as the published model does.
      no_rope_layers: Array.from({ length: layers }, (_, layer) => ((layer + 1) % 4 === 0 ? 0 : 1)),
      use_sliding_window: false,
    };
  },
  phi3: async (facts) => {
    const window = facts.fields.optionalCount("attention.sliding_window") ?? 0;
    const config = await transformer(facts);
    const original = config["original_max_position_embeddings"] ?? config["max_position_embeddings"];
    return {
      model_type: "phi3",
      ...config,
      original_max_position_embeddings: original,
      // 0 stands for null (Phi-4).
      sliding_window: window > 0 ? window : null,
    };
  },
  gemma2: async (facts) => ({
    model_type: "gemma2",
    ...(await transformer(facts)),
    ...gemma(facts, 46),
    sliding_window: facts.fields.count("attention.sliding_window", 4096),
    attn_logit_softcapping: facts.fields.number("attn_logit_softcapping", 50),
    final_logit_softcapping: facts.fields.number("final_logit_softcapping", 30),
  }),
  gemma3: async (facts) => {
    const { fields } = facts;
    const window = fields.optionalCount("attention.sliding_window");
    return {
      model_type: "gemma3_text",
      ...(await transformer(facts)),
      ...gemma(facts, 62),
      ...(window === undefined ? { sliding_window_pattern: 1 } : { sliding_window: window, ...slidingPattern(facts) }),
      rope_local_base_freq: fields.number("rope.freq_base_swa", 10000),
      final_logit_softcapping: fields.optionalNumber("final_logit_softcapping") ?? null,
    };
  },
  bloom: (facts) => ({
    model_type: "bloom",
    ...renamed(facts.common, { num_hidden_layers: "n_layer" }),
    n_head: heads(facts, true),
    layer_norm_epsilon: facts.fields.number("attention.layer_norm_epsilon"),
    seq_length: facts.fields.count("context_length"),
    apply_residual_connection_post_layernorm: false,
  }),
  mpt: mpt,
  mamba: (facts) => {
    const { fields } = facts;
    if (fields.flag("ssm.dt_b_c_rms", false)) throw unsupported(fields.file, "FalconMamba's norms are not supported");
    return { model_type: "mamba", ...stateSpace(facts), time_step_rank: fields.count("ssm.time_step_rank") };
  },
  mamba2: (facts) => {
    const { fields } = facts;
    const headCount = fields.count("ssm.time_step_rank");
    return {
      model_type: "mamba2",
      // A converted checkpoint came from a library that norms group by group: see recurrent/spec.ts.
      architectures: ["Mamba2ForCausalLM"],
      ...stateSpace(facts),
      num_heads: headCount,
      head_dim: wholeQuotient(fields, fields.count("ssm.inner_size"), headCount),
      n_groups: fields.count("ssm.group_count"),
    };
  },
  rwkv7: rwkv7,
};

/** `general.architecture` of the files that the engine runs. */
export const ggufArchitectures: readonly string[] = Object.keys(ARCHITECTURES);

/**
 * config.json of the model in `file`, called `name` in messages. Throws `unsupported-model` for an architecture that is not supported
 * and for metadata that is missing or has no sense.
 */
export async function ggufConfig({ header, store }: GgufFile, name: string, signal?: AbortSignal): Promise<JsonRecord> {
  const architecture = header.metadata.get("general.architecture");
  const known =
    typeof architecture === "string" && Object.hasOwn(ARCHITECTURES, architecture) ? ARCHITECTURES[architecture] : undefined;
  if (typeof architecture !== "string" || known === undefined) {
    const message = `${name} holds a model of architecture ${String(architecture)}, which is not supported`;
    const remedy = `choose a model of architecture ${ggufArchitectures.join(", ")}`;
    throw new EngineError("unsupported-model", message, remedy, { architecture: String(architecture) });
  }
  const fields = new GgufFields(header.metadata, name, architecture);
  return known({ fields, store, common: commonConfig(fields, store, header.metadata), signal });
}

function commonConfig(fields: GgufFields, store: NamedStore, metadata: ReadonlyMap<string, GgufValue>): JsonRecord {
  if (!store.has("token_embd.weight")) throw unsupported(fields.file, "there is no tensor token_embd.weight");
  const layers = fields.count("block_count");
  const tensors = [...store.names()].length;
  // Lists of layers are made of this number.
  if (layers < 1 || layers > tensors) throw unsupported(fields.file, `${layers} layers cannot have ${tensors} tensors`);
  if ((fields.optionalCount("expert_count") ?? 0) > 0) throw unsupported(fields.file, "a mixture of experts is not supported");
  const bos = metadata.get("tokenizer.ggml.bos_token_id");
  return {
    vocab_size: store.shape("token_embd.weight")[0],
    hidden_size: fields.count("embedding_length"),
    num_hidden_layers: layers,
    tie_word_embeddings: !store.has("output.weight"),
    ...(typeof bos === "number" ? { bos_token_id: bos } : {}),
    eos_token_id: endTokenIds(metadata),
  };
}

/** What families with Llama's keys share. */
async function transformer(facts: Facts): Promise<JsonRecord> {
  const { fields, store, common, signal } = facts;
  const headCount = heads(facts, false);
  const headDim =
    fields.optionalCount("attention.key_length") ?? wholeQuotient(fields, fields.count("embedding_length"), headCount);
  if (fields.count("attention.value_length", headDim) !== headDim) {
    throw unsupported(fields.file, "values of another length than keys are not supported");
  }
  return {
    ...common,
    num_attention_heads: headCount,
    num_key_value_heads: fields.count("attention.head_count_kv", headCount),
    head_dim: headDim,
    intermediate_size: fields.count("feed_forward_length"),
    max_position_embeddings: fields.count("context_length"),
    rms_norm_eps: fields.number("attention.layer_norm_rms_epsilon"),
    ...(await ropeConfig(fields, store, headDim, signal)),
  };
}

function heads({ fields }: Facts, onlyFull: boolean): number {
  const count = fields.count("attention.head_count");
  if (count < 1) throw unsupported(fields.file, "there are no attention heads");
  if (onlyFull && fields.count("attention.head_count_kv", count) !== count) {
    throw unsupported(fields.file, "grouped keys are not supported in this family");
  }
  return count;
}

/** The file does not say what scores are divided by: the root of the head's length, in the 27B models that of hidden size / heads. */
function gemma({ fields }: Facts, layersOf27B: number): JsonRecord {
  const headCount = fields.count("attention.head_count");
  const perHead = Math.floor(fields.count("embedding_length") / headCount);
  const is27B = fields.count("block_count") === layersOf27B;
  return { query_pre_attn_scalar: is27B ? perHead : fields.count("attention.key_length", perHead) };
}

/** Every how manyth layer sees everything, or one flag per layer that slides; every sixth where the file does not say. */
function slidingPattern({ fields }: Facts): JsonRecord {
  const value = fields.value("attention.sliding_window_pattern");
  if (!Array.isArray(value)) return { sliding_window_pattern: fields.count("attention.sliding_window_pattern", 6) };
  return { layer_types: value.map((slides) => (slides === true ? "sliding_attention" : "full_attention")) };
}

function mpt(facts: Facts): JsonRecord {
  const { fields, common } = facts;
  const hidden = fields.count("embedding_length");
  const bias = fields.number("attention.max_alibi_bias", 0);
  const clip = fields.optionalNumber("attention.clamp_kqv") ?? 0;
  return {
    model_type: "mpt",
    ...renamed(common, { hidden_size: "d_model", num_hidden_layers: "n_layers" }),
    n_heads: heads(facts, true),
    expansion_ratio: wholeQuotient(fields, fields.count("feed_forward_length"), hidden),
    max_seq_len: fields.count("context_length"),
    layer_norm_epsilon: fields.number("attention.layer_norm_epsilon"),
    no_bias: !hasLayer(facts, "attn_qkv.bias"),
    attn_config: {
      attn_type: "multihead_attention",
      alibi: bias > 0,
      alibi_bias_max: bias > 0 ? bias : null,
      clip_qkv: clip > 0 ? clip : null,
      qk_ln: hasLayer(facts, "attn_q_norm.weight"),
      prefix_lm: false,
      softmax_scale: null,
    },
  };
}

/** The stated context is arbitrary for models without one, so it is left out. */
function stateSpace(facts: Facts): JsonRecord {
  const { fields, common } = facts;
  const inner = fields.count("ssm.inner_size");
  return {
    ...common,
    state_size: fields.count("ssm.state_size"),
    conv_kernel: fields.count("ssm.conv_kernel"),
    intermediate_size: inner,
    expand: wholeQuotient(fields, inner, fields.count("embedding_length")),
    layer_norm_epsilon: fields.number("attention.layer_norm_rms_epsilon"),
    use_bias: hasLayer(facts, "ssm_in.bias"),
    use_conv_bias: hasLayer(facts, "ssm_conv1d.bias"),
  };
}

function rwkv7({ fields, common }: Facts): JsonRecord {
  return {
    model_type: "rwkv7",
    ...common,
    head_dim: fields.count("wkv.head_size"),
    intermediate_size: fields.count("feed_forward_length"),
    norm_eps: fields.number("attention.layer_norm_epsilon"),
    norm_bias: true,
    norm_first: true,
    hidden_act: "sqrelu",
    decay_low_rank_dim: fields.count("attention.decay_lora_rank"),
    a_low_rank_dim: fields.count("attention.iclr_lora_rank"),
    v_low_rank_dim: fields.count("attention.value_residual_mix_lora_rank"),
    gate_low_rank_dim: fields.count("attention.gate_lora_rank"),
  };
}

function hasLayer({ store }: Facts, name: string): boolean {
  return store.has(`blk.0.${name}`);
}

function wholeQuotient(fields: GgufFields, dividend: number, divisor: number): number {
  if (divisor > 0 && dividend % divisor === 0) return dividend / divisor;
  throw unsupported(fields.file, `${dividend} is not a multiple of ${divisor}`);
}

function renamed(config: JsonRecord, names: Readonly<Record<string, string>>): JsonRecord {
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [names[key] ?? key, value]));
}
