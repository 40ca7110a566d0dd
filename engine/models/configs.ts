/** config.json files that use other keys than Llama's, rewritten to Llama's. */
import { EngineError } from "../errors.ts";
import { isRecord, shown, type JsonRecord } from "../formats/json.ts";

/** The config with Llama's keys; one that uses them already is returned as it is. */
export function asDecoderConfig(config: JsonRecord): JsonRecord {
  switch (config["model_type"]) {
    case "gemma3":
      return causal(textConfig(config));
    case "gemma3_text":
      return causal(config);
    case "bloom":
      return bloomConfig(config);
    case "mpt":
      return mptConfig(config);
    default:
      return config;
  }
}

/** Embedding models of the Gemma 3 family let every token see those behind it. */
function causal(config: JsonRecord): JsonRecord {
  refuse(config, "use_bidirectional_attention", false);
  return config;
}

/** Multimodal Gemma 3 nests what belongs to the text model; tokens that end an answer may stand outside. */
function textConfig(config: JsonRecord): JsonRecord {
  const text = config["text_config"];
  if (!isRecord(text)) throw unsupported("a gemma3 config without text_config", "download config.json again");
  const { eos_token_id: eos, bos_token_id: bos, dtype, torch_dtype: torchDtype, tie_word_embeddings: tied } = config;
  const outer = withoutMissing({
    eos_token_id: eos,
    bos_token_id: bos,
    dtype,
    torch_dtype: torchDtype,
    tie_word_embeddings: tied,
  });
  return { ...outer, ...text, model_type: "gemma3_text" };
}

function bloomConfig(config: JsonRecord): JsonRecord {
  const hidden = config["n_embed"] ?? config["hidden_size"];
  return withoutMissing({
    ...config,
    hidden_size: hidden,
    intermediate_size: typeof hidden === "number" ? 4 * hidden : undefined,
    num_hidden_layers: config["num_hidden_layers"] ?? config["n_layer"],
    num_attention_heads: config["num_attention_heads"] ?? config["n_head"],
    num_key_value_heads: undefined,
    rms_norm_eps: config["layer_norm_epsilon"] ?? 1e-5,
    max_position_embeddings: config["seq_length"] ?? 2048,
  });
}

function mptConfig(config: JsonRecord): JsonRecord {
  const attention = config["attn_config"] ?? {};
  if (!isRecord(attention)) throw unsupported(`attn_config ${shown(attention)}`, "download config.json again");
  refuse(attention, "attn_type", "multihead_attention");
  refuse(attention, "qk_ln", false);
  refuse(attention, "prefix_lm", false);
  // Without ALiBi an MPT has learned positions, which the engine does not read.
  if ((attention["alibi"] ?? true) !== true)
    throw unsupported("an MPT without alibi", "choose an MPT with attn_config.alibi true");
  refuse(config, "logit_scale", undefined);
  refuse(config, "no_bias", true);
  const hidden = config["d_model"];
  const ratio = config["expansion_ratio"] ?? 4;
  return withoutMissing({
    ...config,
    hidden_size: hidden,
    intermediate_size: typeof hidden === "number" && typeof ratio === "number" ? hidden * ratio : undefined,
    num_hidden_layers: config["n_layers"],
    num_attention_heads: config["n_heads"],
    max_position_embeddings: config["max_seq_len"] ?? 2048,
    rms_norm_eps: config["layer_norm_epsilon"] ?? 1e-5,
    alibi_bias_max: attention["alibi_bias_max"],
    softmax_scale: attention["softmax_scale"],
    clip_qkv: attention["clip_qkv"],
  });
}

/** Refuses any value but the one the engine does; absent is that value. */
function refuse(config: JsonRecord, key: string, only: string | boolean | undefined): void {
  const value = config[key] ?? undefined;
  if (value === undefined || value === only) return;
  throw unsupported(
    `${key} ${shown(value)}`,
    only === undefined ? `choose a model without ${key}` : `choose a model with ${key} ${only}`,
  );
}

function withoutMissing(record: JsonRecord): JsonRecord {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined && value !== null));
}

function unsupported(what: string, remedy: string): EngineError {
  return new EngineError("unsupported-model", `config.json has ${what}, which the engine does not support`, remedy);
}
