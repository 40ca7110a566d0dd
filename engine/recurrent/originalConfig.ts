/** config.json of the original Mamba checkpoints (state-spaces/mamba: dataclass MambaConfig), rewritten to Hugging Face keys. */
import { EngineError } from "../errors.ts";
import { isRecord, shown, type JsonRecord } from "../formats/json.ts";

const REMEDY = "choose the same model in its Hugging Face form (…-hf)";

/** The config with Hugging Face's keys; one that names its model_type, or is no Mamba's, is returned as it is. */
export function asHuggingFaceConfig(config: JsonRecord): JsonRecord {
  const isOriginal = config["model_type"] === undefined && config["d_model"] !== undefined && config["n_layer"] !== undefined;
  if (!isOriginal) return config;
  const layer = config["ssm_cfg"] ?? {};
  if (!isRecord(layer)) throw unsupported("ssm_cfg", layer);
  // A block without MLP, norms by mean square, no attention between: what all published checkpoints are.
  refuse(config, "d_intermediate", 0);
  refuse(config, "rms_norm", true);
  const attentionLayers = config["attn_layer_idx"] ?? [];
  if (!Array.isArray(attentionLayers) || attentionLayers.length > 0) throw unsupported("attn_layer_idx", attentionLayers);
  const common = {
    hidden_size: config["d_model"],
    num_hidden_layers: config["n_layer"],
    vocab_size: paddedVocabulary(config),
    tie_word_embeddings: config["tie_embeddings"] ?? true,
    layer_norm_epsilon: 1e-5,
    // They were trained with the GPT-NeoX tokenizer, whose token 0 is <|endoftext|>.
    bos_token_id: 0,
    eos_token_id: 0,
    conv_kernel: layer["d_conv"] ?? 4,
    expand: layer["expand"] ?? 2,
    use_bias: layer["bias"] ?? false,
    use_conv_bias: layer["conv_bias"] ?? true,
  };
  switch (layer["layer"] ?? "Mamba1") {
    case "Mamba1":
      return { ...common, model_type: "mamba", state_size: layer["d_state"] ?? 16, time_step_rank: layer["dt_rank"] ?? "auto" };
    case "Mamba2":
      return { ...common, ...mamba2Keys(config, layer) };
    default:
      throw unsupported("ssm_cfg.layer", layer["layer"]);
  }
}

function mamba2Keys(config: JsonRecord, layer: JsonRecord): JsonRecord {
  refuse(layer, "d_ssm", undefined);
  refuse(layer, "D_has_hdim", false);
  refuse(layer, "rmsnorm", true);
  refuse(layer, "norm_before_gate", false);
  const headDim = layer["headdim"] ?? 64;
  const width = Number(config["d_model"]) * Number(layer["expand"] ?? 2);
  return {
    model_type: "mamba2",
    architectures: ["MambaLMHeadModel"],
    head_dim: headDim,
    num_heads: width / Number(headDim),
    n_groups: layer["ngroups"] ?? 1,
    state_size: layer["d_state"] ?? 128,
    chunk_size: layer["chunk_size"] ?? 256,
    time_step_limit: layer["dt_limit"] ?? [0, Infinity],
  };
}

/** The table of embeddings has as many rows as the next multiple of this. */
function paddedVocabulary(config: JsonRecord): unknown {
  const vocabSize = config["vocab_size"];
  const multiple = config["pad_vocab_size_multiple"] ?? 8;
  if (typeof vocabSize !== "number") return vocabSize;
  if (typeof multiple !== "number" || !(multiple >= 1)) throw unsupported("pad_vocab_size_multiple", multiple);
  return Math.ceil(vocabSize / multiple) * multiple;
}

function refuse(record: JsonRecord, key: string, only: unknown): void {
  const value = record[key] ?? undefined;
  if (value !== undefined && value !== only) throw unsupported(key, value);
}

function unsupported(key: string, value: unknown): EngineError {
  return new EngineError(
    "unsupported-model",
    `config.json has ${key} ${shown(value)}, which the engine does not support`,
    REMEDY,
  );
}
