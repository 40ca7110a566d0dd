import type { DecoderSpec, LayerKind, ModelSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, shown, type JsonRecord } from "../formats/json.ts";
import { asHuggingFaceConfig } from "../recurrent/originalConfig.ts";
import { parseRecurrentSpec, recurrentTypes } from "../recurrent/spec.ts";
import { badConfig as bad, commonOf, CONFIG_REMEDY as REMEDY, positive } from "./commonSpec.ts";
import { asDecoderConfig } from "./configs.ts";
import { families, type Family } from "./families.ts";
import { readRotations, type Rotations } from "./rotations.ts";

/** Model types of config.json that the engine runs. */
export const supportedModelTypes: readonly string[] = [
  ...Object.keys(families).filter((type) => type !== "lcp_keyshift"),
  "gemma3",
  ...recurrentTypes,
];

/**
 * The facts of a model from its config.json (Hugging Face keys, transformers 4 and 5).
 * Throws `unsupported-model` for what the engine cannot run faithfully, `rope-invalid` for a RoPE setting without sense.
 */
export function parseSpec(config: unknown): ModelSpec {
  if (!isRecord(config)) throw new EngineError("unsupported-model", `config.json holds ${shown(config)}, not an object`, REMEDY);
  const known = asDecoderConfig(asHuggingFaceConfig(config));
  const modelType = known["model_type"];
  if (typeof modelType === "string" && recurrentTypes.includes(modelType)) return parseRecurrentSpec(modelType, known);
  if (typeof modelType === "string" && Object.hasOwn(families, modelType)) {
    const family = families[modelType];
    if (family !== undefined) return parseDecoder(modelType, family, { ...family.defaults, ...known });
  }
  const message = modelType === undefined ? "config.json names no model_type" : `model type ${shown(modelType)} is not supported`;
  const remedy = `choose a model of type ${supportedModelTypes.join(", ")}`;
  throw new EngineError("unsupported-model", message, remedy, { modelType: shown(modelType) });
}

function parseDecoder(modelType: string, family: Family, config: JsonRecord): DecoderSpec {
  const fields = new JsonFields(config, "config.json", "unsupported-model", REMEDY);
  const hiddenSize = fields.positiveInteger("hidden_size");
  const headCount = fields.positiveInteger("num_attention_heads");
  const kvHeadCount = fields.positiveInteger("num_key_value_heads", headCount);
  if (headCount % kvHeadCount !== 0) {
    throw bad(`num_attention_heads ${headCount} is not a multiple of num_key_value_heads ${kvHeadCount}`);
  }
  const headDim = headDimOf(fields, hiddenSize, headCount);
  const common = commonOf(fields, modelType, family.tiedByDefault, "rms_norm_eps");
  const alibi = positionsOf(fields, family) === "alibi" ? { maxBias: positive(fields, "alibi_bias_max", 8) } : undefined;
  const rotations = alibi === undefined ? readRotations(config, headDim, common.maxPositionEmbeddings, family) : UNROTATED;
  const biases = family.biases === "config" ? configuredBiases(fields) : family.biases;
  return {
    kind: "decoder",
    ...common,
    embeddingMultiplier: family.scaledEmbeddings ? scaledEmbeddings(fields, hiddenSize) : common.embeddingMultiplier,
    intermediateSize: fields.positiveInteger("intermediate_size"),
    headCount,
    kvHeadCount,
    headDim,
    layers: layersOf(fields, modelType, family, common.layerCount, rotations),
    ...rotations,
    alibi,
    ...family.norm,
    residualAfterNorm: fields.boolean("apply_residual_connection_post_layernorm", false),
    mlp: family.mlp,
    activation: activationOf(fields, family),
    attentionScale: attentionScale(fields, headDim),
    attentionSoftcap: optionalPositive(fields, "attn_logit_softcapping"),
    finalSoftcap: optionalPositive(fields, "final_logit_softcapping"),
    qkvClip: optionalPositive(fields, "clip_qkv"),
    qkvBias: biases.qkv,
    outBias: biases.out,
    mlpBias: family.mlpBias === "config" ? fields.boolean("mlp_bias", false) : family.mlpBias,
    qkNorm: family.qkNorm,
    keyShift: family.keyShift,
  };
}

const UNROTATED: Rotations = {
  rotaryDim: 0,
  ropeTheta: 10000,
  rope: { kind: "none" },
  local: undefined,
  queryTemperature: undefined,
};

/** How a model knows places; the bundled family comes in both kinds and says which with Hugging Face's `position_embedding_type`. */
function positionsOf(fields: JsonFields, family: Family): "rope" | "alibi" {
  if (family.positions !== "config") return family.positions;
  const type = fields.string("position_embedding_type", "rope");
  if (type === "rope" || type === "alibi") return type;
  throw bad(`position_embedding_type ${shown(type)} is not rope or alibi`);
}

function configuredBiases(fields: JsonFields): { qkv: boolean; out: boolean } {
  const bias = fields.boolean("attention_bias", false);
  return { qkv: bias, out: bias };
}

/** Head dimension: explicit (it may differ from hidden / heads, as in Qwen3), else hidden / heads. */
function headDimOf(fields: JsonFields, hiddenSize: number, headCount: number): number {
  if (fields.value("head_dim") !== undefined) return fields.positiveInteger("head_dim");
  if (hiddenSize % headCount === 0) return hiddenSize / headCount;
  throw bad(`hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${headCount}, and head_dim is missing`);
}

/** Gemma rounds √E to the number format of its weights, and so do we. */
function scaledEmbeddings(fields: JsonFields, hiddenSize: number): number {
  const format = fields.value("dtype") ?? fields.value("torch_dtype");
  const root = Math.sqrt(hiddenSize);
  const mantissaBits = format === "bfloat16" ? 7 : format === "float16" ? 10 : 52;
  const step = 2 ** (Math.floor(Math.log2(root)) - mantissaBits);
  return mantissaBits === 52 ? root : Math.round(root / step) * step;
}

const ACTIVATIONS: Readonly<Record<string, DecoderSpec["activation"]>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_new: "gelu_tanh",
};

function activationOf(fields: JsonFields, family: Family): DecoderSpec["activation"] {
  const name = fields.string(family.activation.key, fields.string("hidden_act", family.activation.fallback));
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation !== undefined) return activation;
  const remedy = `choose a model with ${Object.keys(ACTIVATIONS).join(", ")}`;
  throw new EngineError("unsupported-model", `${family.activation.key} ${shown(name)} is not supported`, remedy);
}

/** q · k times this: query_pre_attn_scalar^-½ (Gemma), MPT's softmax_scale, else D^-½. */
function attentionScale(fields: JsonFields, headDim: number): number {
  const explicit = optionalPositive(fields, "softmax_scale");
  return explicit ?? 1 / Math.sqrt(positive(fields, "query_pre_attn_scalar", headDim));
}

/** Window and rotation of every layer: `layer_types` where it is given, else the family's rule. */
function layersOf(
  fields: JsonFields,
  modelType: string,
  family: Family,
  layerCount: number,
  rotations: Rotations,
): readonly LayerKind[] {
  const windowed = family.windowSwitch ? fields.boolean("use_sliding_window", false) : family.windows !== "none";
  const window = windowed && fields.value("sliding_window") !== undefined ? fields.positiveInteger("sliding_window") : undefined;
  const types = layerTypes(fields, layerCount);
  const slides = slidingRule(fields, family);
  const turns = family.nopeLayers ? turningLayers(fields, layerCount) : undefined;
  return Array.from({ length: layerCount }, (_, layer) => {
    const turnsHere = turns?.[layer] ?? true;
    // SmolLM3's windows lie on its layers without rotation.
    const slidesHere = slides(layer) && (turns === undefined || !turnsHere);
    const isSliding = types === undefined ? slidesHere : types[layer] === "sliding_attention";
    const rotates = rotations.rotaryDim > 0 && turnsHere;
    if (isSliding && types !== undefined && window === undefined && modelType.startsWith("gemma")) {
      throw bad("layer_types has sliding_attention and sliding_window is missing");
    }
    const rotation = !rotates ? "none" : isSliding && rotations.local !== undefined ? "local" : "main";
    return { window: isSliding ? window : undefined, rotation };
  });
}

function layerTypes(fields: JsonFields, layerCount: number): readonly string[] | undefined {
  const value = fields.value("layer_types");
  if (value === undefined) return undefined;
  const known = ["full_attention", "sliding_attention"];
  if (!Array.isArray(value) || value.length !== layerCount) {
    throw bad(`layer_types ${shown(value)} is not a list of ${layerCount} layer types`);
  }
  const unknown: unknown = value.find((type) => typeof type !== "string" || !known.includes(type));
  if (unknown === undefined) return value.map(String);
  const message = `layer type ${shown(unknown)} is not supported`;
  throw new EngineError("unsupported-model", message, `choose a model whose layers are ${known.join(" and ")}`);
}

function slidingRule(fields: JsonFields, family: Family): (layer: number) => boolean {
  switch (family.windows) {
    case "none":
      return () => false;
    case "all":
      return () => true;
    case "even":
      return (layer) => layer % 2 === 0;
    case "upper": {
      const first = fields.number("max_window_layers", 28);
      return (layer) => layer >= first;
    }
    case "five of six": {
      const period = fields.positiveInteger("sliding_window_pattern", 6);
      return (layer) => (layer + 1) % period !== 0;
    }
  }
}

/** `no_rope_layers` has 1 where a layer DOES rotate; without it every `no_rope_layer_interval`-th does not. */
function turningLayers(fields: JsonFields, layerCount: number): readonly boolean[] {
  const listed = fields.value("no_rope_layers");
  if (listed === undefined) {
    const interval = fields.positiveInteger("no_rope_layer_interval", 4);
    return Array.from({ length: layerCount }, (_, layer) => (layer + 1) % interval !== 0);
  }
  if (Array.isArray(listed) && listed.length === layerCount && listed.every((flag) => flag === 0 || flag === 1)) {
    return listed.map((flag) => flag === 1);
  }
  throw bad(`no_rope_layers ${shown(listed)} is not a list of ${layerCount} zeros and ones`);
}

function optionalPositive(fields: JsonFields, key: string): number | undefined {
  return fields.value(key) === undefined ? undefined : positive(fields, key, 1);
}
