import type { ModelSpec, RopeScaling } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, shown, type JsonRecord } from "../formats/json.ts";
import { kindOf, readScaling } from "../position/ropeJson.ts";
import { checkScaling } from "../position/scaling.ts";

/** What distinguishes the supported families; everything else is read from config.json. */
interface Family {
  /** Biases on q, k, v and on the output projection, where config.json does not say otherwise. */
  biases: { qkv: boolean; out: boolean } | "config";
  mlpBias: "config" | false;
  qkNorm: boolean;
  keyShift: boolean;
  tiedByDefault: boolean;
}

const FAMILIES: Readonly<Record<string, Family>> = {
  llama: { biases: "config", mlpBias: "config", qkNorm: false, keyShift: false, tiedByDefault: false },
  qwen2: { biases: { qkv: true, out: false }, mlpBias: false, qkNorm: false, keyShift: false, tiedByDefault: false },
  qwen3: { biases: "config", mlpBias: false, qkNorm: true, keyShift: false, tiedByDefault: false },
  mistral: { biases: { qkv: false, out: false }, mlpBias: false, qkNorm: false, keyShift: false, tiedByDefault: false },
  lcp_keyshift: { biases: { qkv: false, out: false }, mlpBias: false, qkNorm: true, keyShift: true, tiedByDefault: true },
};

/** Model types of config.json that the engine runs. */
const supportedModelTypes: readonly string[] = Object.keys(FAMILIES);

const REMEDY = "download config.json again from where the model came";
const DEFAULT_THETA = 10000;

/**
 * The facts of a decoder from its config.json (Hugging Face keys, transformers 4 and 5).
 * Throws `unsupported-model` for what the engine cannot run faithfully, `rope-invalid` for a RoPE setting without sense.
 */
export function parseSpec(config: unknown): ModelSpec {
  if (!isRecord(config)) throw new EngineError("unsupported-model", `config.json holds ${shown(config)}, not an object`, REMEDY);
  const fields = new JsonFields(config, "config.json", "unsupported-model", REMEDY);
  const { modelType, family } = familyOf(config);
  refuseQuantised(config);
  refuseActivation(fields);

  const hiddenSize = fields.positiveInteger("hidden_size");
  const layerCount = fields.positiveInteger("num_hidden_layers");
  const headCount = fields.positiveInteger("num_attention_heads");
  const kvHeadCount = fields.positiveInteger("num_key_value_heads", headCount);
  if (headCount % kvHeadCount !== 0) {
    throw bad(`num_attention_heads ${headCount} is not a multiple of num_key_value_heads ${kvHeadCount}`);
  }
  const headDim = headDimOf(fields, hiddenSize, headCount);
  const maxPositionEmbeddings = fields.positiveInteger("max_position_embeddings");
  refuseSlidingWindow(fields, modelType, layerCount, maxPositionEmbeddings);
  const rotation = rotationOf(config, headDim, maxPositionEmbeddings);

  return {
    modelType,
    vocabSize: fields.positiveInteger("vocab_size"),
    hiddenSize,
    intermediateSize: fields.positiveInteger("intermediate_size"),
    layerCount,
    headCount,
    kvHeadCount,
    headDim,
    rotaryDim: rotation.rotaryDim,
    rmsNormEps: positive(fields, "rms_norm_eps", 1e-6),
    maxPositionEmbeddings,
    ropeTheta: rotation.theta,
    rope: rotation.rope,
    tiedEmbeddings: fields.boolean("tie_word_embeddings", family.tiedByDefault),
    embeddingMultiplier: positive(fields, "embedding_multiplier", 1),
    qkvBias: family.biases === "config" ? fields.boolean("attention_bias", false) : family.biases.qkv,
    outBias: family.biases === "config" ? fields.boolean("attention_bias", false) : family.biases.out,
    mlpBias: family.mlpBias === "config" ? fields.boolean("mlp_bias", false) : family.mlpBias,
    qkNorm: family.qkNorm,
    keyShift: family.keyShift,
    bosTokenId: fields.tokenId("bos_token_id"),
    eosTokenIds: tokenIds(fields, "eos_token_id"),
    absentTokenId: fields.tokenId("absent_token_id"),
    promptFormat: promptFormatOf(fields),
  };
}

function familyOf(config: JsonRecord): { modelType: string; family: Family } {
  const modelType = config["model_type"];
  const family = typeof modelType === "string" && Object.hasOwn(FAMILIES, modelType) ? FAMILIES[modelType] : undefined;
  if (family !== undefined && typeof modelType === "string") return { modelType, family };
  const message = modelType === undefined ? "config.json names no model_type" : `model type ${shown(modelType)} is not supported`;
  const remedy = `choose a model of type ${supportedModelTypes.join(", ")}`;
  throw new EngineError("unsupported-model", message, remedy, { modelType: shown(modelType) });
}

/** Head dimension: explicit (it may differ from hidden / heads, as in Qwen3), else hidden / heads. */
function headDimOf(fields: JsonFields, hiddenSize: number, headCount: number): number {
  if (fields.value("head_dim") !== undefined) return fields.positiveInteger("head_dim");
  if (hiddenSize % headCount === 0) return hiddenSize / headCount;
  throw bad(`hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${headCount}, and head_dim is missing`);
}

/** `rope_parameters` (transformers 5) else `rope_scaling` (4); theta and the partial factor inside it win over those outside. */
function rotationOf(config: JsonRecord, headDim: number, maxPositionEmbeddings: number) {
  const json = config["rope_parameters"] ?? config["rope_scaling"] ?? {};
  if (!isRecord(json)) throw bad(`rope_parameters is ${shown(json)}, not an object`);
  refuseNestedRope(json);
  const outer = new JsonFields(config, "config.json", "rope-invalid", REMEDY);
  const inner = new JsonFields(
    ropeFields(json, config, maxPositionEmbeddings),
    "config.json RoPE parameters",
    "rope-invalid",
    REMEDY,
  );

  const theta = inner.optionalNumber("rope_theta") ?? outer.number("rope_theta", DEFAULT_THETA);
  if (theta <= 1) throw bad(`rope_theta ${theta} must be above 1`);
  const partial = inner.optionalNumber("partial_rotary_factor") ?? outer.number("partial_rotary_factor", 1);
  const rotaryDim = Math.trunc(headDim * partial);
  if (rotaryDim < 2 || rotaryDim > headDim || rotaryDim % 2 !== 0) {
    throw bad(
      `head_dim ${headDim} with partial_rotary_factor ${partial} gives ${rotaryDim} rotary dimensions; an even number is needed`,
    );
  }
  const base = { theta, rotaryDim, maxPositionEmbeddings };
  const rope: RopeScaling = readScaling(kindOf(json), inner, { base, originalContext: maxPositionEmbeddings });
  checkScaling(rope, base);
  return { theta, rotaryDim, rope };
}

/** The dictionary as Hugging Face reads it: a top-level original context wins, YaRN's zeros count as absent, its factor has a default. */
function ropeFields(json: JsonRecord, config: JsonRecord, maxPositionEmbeddings: number): JsonRecord {
  const original = config["original_max_position_embeddings"] ?? json["original_max_position_embeddings"] ?? undefined;
  if (kindOf(json) !== "yarn") return { ...json, original_max_position_embeddings: original };
  const nonzero = (key: string): unknown => (json[key] === 0 ? undefined : (json[key] ?? undefined));
  const defaultFactor = typeof original === "number" ? maxPositionEmbeddings / original : undefined;
  // One mscale without the other, or either beside attention_factor, is ignored there; our table refuses what has no effect.
  const both =
    nonzero("attention_factor") === undefined && nonzero("mscale") !== undefined && nonzero("mscale_all_dim") !== undefined;
  return {
    ...json,
    original_max_position_embeddings: original,
    factor: json["factor"] ?? defaultFactor,
    beta_fast: nonzero("beta_fast"),
    beta_slow: nonzero("beta_slow"),
    attention_factor: nonzero("attention_factor"),
    mscale: both ? json["mscale"] : undefined,
    mscale_all_dim: both ? json["mscale_all_dim"] : undefined,
  };
}

function refuseNestedRope(json: JsonRecord): void {
  const nested = Object.keys(json).filter((key) => isRecord(json[key]));
  if (nested.length === 0) return;
  const message = `RoPE parameters differ by layer type (${nested.join(", ")}), which the engine does not support`;
  throw new EngineError("unsupported-model", message, "choose a model with one rotation for all layers");
}

function refuseQuantised(config: JsonRecord): void {
  const quantisation = config["quantization_config"];
  if (quantisation === undefined || quantisation === null) return;
  const method = isRecord(quantisation) ? shown(quantisation["quant_method"]) : shown(quantisation);
  const message = `the checkpoint is quantised (${method}), which the engine does not read`;
  throw new EngineError("unsupported-model", message, "choose the F32, F16 or BF16 checkpoint; the engine quantises it itself");
}

function refuseActivation(fields: JsonFields): void {
  const activation = fields.string("hidden_act", "silu");
  if (activation === "silu" || activation === "swish") return;
  throw new EngineError("unsupported-model", `hidden_act ${shown(activation)} is not supported`, "choose a model with silu");
}

/** Sliding windows are not implemented; one that no position of the model reaches is none. */
function refuseSlidingWindow(fields: JsonFields, modelType: string, layerCount: number, maxPositions: number): void {
  if (!fields.boolean("use_sliding_window", modelType !== "qwen2" && modelType !== "qwen3")) return;
  if (fields.value("sliding_window") === undefined) return;
  const window = fields.positiveInteger("sliding_window");
  if (window >= maxPositions) return;
  const sliding = slidingLayers(fields, modelType, layerCount);
  if (sliding.length === 0) return;
  const layers = sliding.length === layerCount ? `all ${layerCount} layers` : `layers ${ranges(sliding)}`;
  const message = `${layers} attend to a sliding window of ${window} tokens, which the engine does not support`;
  throw new EngineError("unsupported-model", message, "choose a model with full attention", { window, layers: sliding.length });
}

function slidingLayers(fields: JsonFields, modelType: string, layerCount: number): number[] {
  const all = Array.from({ length: layerCount }, (_, layer) => layer);
  const types = fields.value("layer_types");
  if (Array.isArray(types)) return all.filter((layer) => types[layer] === "sliding_attention");
  const first = modelType === "qwen2" || modelType === "qwen3" ? fields.number("max_window_layers", layerCount) : 0;
  return all.filter((layer) => layer >= first);
}

/** "0-3, 7" from ascending numbers. */
function ranges(numbers: readonly number[]): string {
  const starts = numbers.filter((number, index) => number - 1 !== numbers[index - 1]);
  const ends = numbers.filter((number, index) => number + 1 !== numbers[index + 1]);
  return starts.map((start, index) => (start === ends[index] ? `${start}` : `${start}-${ends[index] ?? start}`)).join(", ");
}

function tokenIds(fields: JsonFields, key: string): number[] {
  const value = fields.value(key);
  if (!Array.isArray(value)) {
    const id = fields.tokenId(key);
    return id === undefined ? [] : [id];
  }
  if (value.every((id): id is number => Number.isSafeInteger(id) && Number(id) >= 0)) return value;
  throw bad(`${key} ${shown(value)} is not a list of token ids`);
}

function promptFormatOf(fields: JsonFields): ModelSpec["promptFormat"] {
  const format = fields.string("prompt_format", "chat");
  if (format === "chat" || format === "extractive" || format === "plain") return format;
  throw bad(`prompt_format ${shown(format)} is not extractive, chat or plain`);
}

function positive(fields: JsonFields, key: string, fallback: number): number {
  const value = fields.number(key, fallback);
  if (value > 0) return value;
  throw bad(`${key} ${value} must be above 0`);
}

function bad(what: string): EngineError {
  return new EngineError("unsupported-model", `config.json: ${what}`, REMEDY);
}
