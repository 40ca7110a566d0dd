/**
 * Facts of recurrent models from their config.json: Hugging Face keys for mamba and mamba2 (transformers 5, defaults included), those of
 * flash-linear-attention for rwkv7. Keys that only steer training or number formats are left alone.
 */
import type { Mamba2Spec, MambaSpec, RecurrentSpec, Rwkv7Spec } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, shown, type JsonRecord } from "../formats/json.ts";
import { badConfig, commonOf, CONFIG_REMEDY } from "../models/commonSpec.ts";

export const recurrentTypes: readonly string[] = ["mamba", "mamba2", "rwkv7"];

/**
 * Nothing in these models ends at a length, and their configs seldom state one. What counts as trained length is then that of the
 * published checkpoints: 2,048 tokens for Mamba and Mamba-2 (130m to 2.8b), 4,096 for RWKV-7 World.
 */
const TRAINED_TOKENS = { mamba: 2048, mamba2: 2048, rwkv7: 4096 } as const;

/** The facts of a recurrent model. Throws `unsupported-model` for what the engine cannot run faithfully. */
export function parseRecurrentSpec(modelType: string, config: JsonRecord): RecurrentSpec {
  switch (modelType) {
    case "mamba":
      return mambaSpec(fieldsOf(config, { max_position_embeddings: TRAINED_TOKENS.mamba }));
    case "mamba2":
      return mamba2Spec(fieldsOf(config, { max_position_embeddings: TRAINED_TOKENS.mamba2 }));
    case "rwkv7":
      return rwkv7Spec(fieldsOf(config, { max_position_embeddings: TRAINED_TOKENS.rwkv7 }));
    default:
      throw new EngineError(
        "unsupported-model",
        `${modelType} is no recurrent model the engine knows`,
        `choose ${recurrentTypes.join(", ")}`,
      );
  }
}

function mambaSpec(fields: JsonFields): MambaSpec {
  only(fields, "hidden_act", "silu");
  const common = commonOf(fields, "mamba", true, "layer_norm_epsilon");
  const innerSize = innerSizeOf(fields, common.hiddenSize);
  return {
    kind: "mamba",
    ...common,
    innerSize,
    stateSize: fields.positiveInteger("state_size", 16),
    convKernel: fields.positiveInteger("conv_kernel", 4),
    timeStepRank: timeStepRank(fields, common.hiddenSize),
    projectionBias: fields.boolean("use_bias", false),
    convBias: fields.boolean("use_conv_bias", true),
  };
}

function mamba2Spec(fields: JsonFields): Mamba2Spec {
  only(fields, "hidden_act", "silu");
  const common = commonOf(fields, "mamba2", false, "layer_norm_epsilon");
  const innerSize = innerSizeOf(fields, common.hiddenSize);
  const headCount = fields.positiveInteger("num_heads", 128);
  const headDim = fields.positiveInteger("head_dim", 64);
  const groupCount = fields.positiveInteger("n_groups", 8);
  if (headCount * headDim !== innerSize) {
    throw badConfig(`num_heads ${headCount} of head_dim ${headDim} do not make expand times hidden_size, which is ${innerSize}`);
  }
  if (headCount % groupCount !== 0) throw badConfig(`num_heads ${headCount} is not a multiple of n_groups ${groupCount}`);
  return {
    kind: "mamba2",
    ...common,
    headCount,
    headDim,
    groupCount,
    normGroupCount: isSavedByTransformers(fields) ? groupCount : 1,
    stateSize: fields.positiveInteger("state_size", 128),
    convKernel: fields.positiveInteger("conv_kernel", 4),
    chunkSize: fields.positiveInteger("chunk_size", 256),
    timeStepLimit: timeStepLimit(fields),
    projectionBias: fields.boolean("use_bias", false),
    convBias: fields.boolean("use_conv_bias", true),
  };
}

/**
 * The original code norms each group of heads by itself, and so do transformers since 5.2x; up to 5.18 they normed the whole width. With
 * one group, as in every state-spaces checkpoint, both are the same. A config that no checkpoint came with (it names neither
 * architectures nor the version that saved it) follows the older rule.
 */
function isSavedByTransformers(fields: JsonFields): boolean {
  return fields.value("architectures") !== undefined || fields.value("transformers_version") !== undefined;
}

function rwkv7Spec(fields: JsonFields): Rwkv7Spec {
  only(fields, "hidden_act", "sqrelu");
  only(fields, "norm_first", true);
  only(fields, "norm_bias", true);
  only(fields, "attn", undefined);
  const common = commonOf(fields, "rwkv7", false, "norm_eps");
  const headDim = rwkvHeadDim(fields, common.hiddenSize);
  checkValueWidths(fields, common.hiddenSize);
  return {
    kind: "rwkv7",
    ...common,
    intermediateSize: rwkvIntermediateSize(fields, common.hiddenSize),
    headDim,
    headCount: common.hiddenSize / headDim,
    decayRank: fields.positiveInteger("decay_low_rank_dim", 64),
    gateRank: fields.positiveInteger("gate_low_rank_dim", 128),
    aRank: fields.positiveInteger("a_low_rank_dim", 64),
    vRank: fields.positiveInteger("v_low_rank_dim", 16),
  };
}

/** Inner width int(expand · hidden_size); a config may repeat it as intermediate_size. */
function innerSizeOf(fields: JsonFields, hiddenSize: number): number {
  const innerSize = Math.floor(fields.number("expand", 2) * hiddenSize);
  if (innerSize < 1) throw badConfig(`expand ${shown(fields.value("expand"))} leaves no inner width`);
  if (fields.value("intermediate_size") !== undefined && fields.positiveInteger("intermediate_size") !== innerSize) {
    throw badConfig(
      `intermediate_size ${shown(fields.value("intermediate_size"))} is not expand times hidden_size, ${innerSize}`,
    );
  }
  return innerSize;
}

/** "auto" is hidden_size / 16, rounded up. */
function timeStepRank(fields: JsonFields, hiddenSize: number): number {
  const value = fields.value("time_step_rank");
  return value === undefined || value === "auto" ? Math.ceil(hiddenSize / 16) : fields.positiveInteger("time_step_rank");
}

/** [low, high]; an infinite bound is written as Infinity, which is no JSON, or as an object or a string of that name. */
function timeStepLimit(fields: JsonFields): Mamba2Spec["timeStepLimit"] {
  const value = fields.value("time_step_limit");
  if (value === undefined) return [0, Infinity];
  const [low, high, ...more] = Array.isArray(value) ? value.map(bound) : [];
  if (low === undefined || high === undefined || more.length > 0 || !(low >= 0 && low < high && Number.isFinite(low))) {
    throw badConfig(`time_step_limit ${shown(value)} is not a lower and an upper bound`);
  }
  return [low, high];
}

function bound(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  const text = isRecord(value) ? value["__float__"] : value;
  return text === "Infinity" ? Infinity : undefined;
}

/** head_dim decides; where it is null, hidden_size / num_heads. */
function rwkvHeadDim(fields: JsonFields, hiddenSize: number): number {
  const isByCount = fields.value("head_dim") === undefined && fields.value("num_heads") !== undefined;
  const headDim = isByCount ? hiddenSize / fields.positiveInteger("num_heads") : fields.positiveInteger("head_dim", 64);
  if (Number.isInteger(hiddenSize / headDim) && Number.isInteger(headDim)) return headDim;
  throw badConfig(`hidden_size ${hiddenSize} does not divide into heads of ${headDim}`);
}

/** One width, or one per layer; the engine has values as wide as keys. */
function checkValueWidths(fields: JsonFields, hiddenSize: number): void {
  const value = fields.value("value_dim");
  const widths: readonly unknown[] = Array.isArray(value) ? value : [value ?? hiddenSize];
  if (widths.every((width) => width === hiddenSize)) return;
  throw new EngineError(
    "unsupported-model",
    `value_dim ${shown(value)} differs from hidden_size ${hiddenSize}`,
    "choose an RWKV-7 model whose values are as wide as its hidden state",
  );
}

function rwkvIntermediateSize(fields: JsonFields, hiddenSize: number): number {
  if (fields.value("intermediate_size") !== undefined) return fields.positiveInteger("intermediate_size");
  return 32 * Math.ceil(Math.floor(hiddenSize * fields.number("hidden_ratio", 4)) / 32);
}

/** Refuses any value but the one the engine does; absent is that value. */
function only(fields: JsonFields, key: string, expected: string | boolean | undefined): void {
  const value = fields.value(key);
  if (value === undefined || value === expected) return;
  const remedy = expected === undefined ? `choose a model without ${key}` : `choose a model with ${key} ${String(expected)}`;
  throw new EngineError("unsupported-model", `config.json has ${key} ${shown(value)}, which the engine does not support`, remedy);
}

/** The config over what it may leave out; null counts as left out. */
function fieldsOf(config: JsonRecord, defaults: JsonRecord): JsonFields {
  const stated = Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null));
  const whole = { layer_norm_epsilon: 1e-5, norm_eps: 1e-5, ...defaults, ...stated };
  return new JsonFields(whole, "config.json", "unsupported-model", CONFIG_REMEDY);
}
