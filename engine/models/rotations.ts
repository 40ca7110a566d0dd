/** The rotations of a config.json: `rope_parameters` (transformers 5) or `rope_scaling` (4), flat or one per layer type. */
import type { DecoderSpec, LocalRotation, RopeScaling } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, shown, type JsonRecord } from "../formats/json.ts";
import { kindOf, readScaling } from "../position/ropeJson.ts";
import { checkScaling, isReindexing } from "../position/scaling.ts";

const REMEDY = "download config.json again from where the model came";

/** What the families differ in here. */
export interface RotationDefaults {
  theta: number;
  /** Base of the rotation of window layers where it is their own (Gemma 3), read from `rope_local_base_freq`. */
  localTheta: number | undefined;
  /** Phi-3 calls LongRoPE "su" or "yarn" too. */
  longRopeNames: readonly string[];
}

export type Rotations = Pick<DecoderSpec, "rotaryDim" | "ropeTheta" | "rope" | "local" | "queryTemperature">;

/** Reads every rotation. Throws `rope-invalid` for one without sense and `unsupported-model` for one that is not known. */
export function readRotations(
  config: JsonRecord,
  headDim: number,
  maxPositionEmbeddings: number,
  defaults: RotationDefaults,
): Rotations {
  const json = config["rope_parameters"] ?? config["rope_scaling"] ?? {};
  if (!isRecord(json)) throw bad(`rope_parameters is ${shown(json)}, not an object`);
  const nested = nestedOf(json);
  const context = { config, headDim, maxPositionEmbeddings, longRopeNames: defaults.longRopeNames };
  const full = nested?.full ?? json;
  const main = rotationOf(full, ["rope_theta", defaults.theta], context, nested !== undefined);
  return {
    rotaryDim: main.rotaryDim,
    ropeTheta: main.theta,
    rope: dualChunk(config, main, maxPositionEmbeddings) ?? main.rope,
    local: localOf(nested?.sliding, context, defaults.localTheta),
    queryTemperature: temperatureOf(full, maxPositionEmbeddings),
  };
}

interface Context {
  config: JsonRecord;
  headDim: number;
  maxPositionEmbeddings: number;
  longRopeNames: readonly string[];
}

function nestedOf(json: JsonRecord): { full: JsonRecord; sliding: JsonRecord | undefined } | undefined {
  const keys = Object.keys(json).filter((key) => isRecord(json[key]));
  if (keys.length === 0) return undefined;
  const unknown = keys.filter((key) => key !== "full_attention" && key !== "sliding_attention");
  const full = json["full_attention"];
  const sliding = json["sliding_attention"] ?? undefined;
  if (unknown.length === 0 && isRecord(full) && (sliding === undefined || isRecord(sliding))) return { full, sliding };
  const message = `RoPE parameters differ by the layer types ${keys.join(", ")}; known are full_attention and sliding_attention`;
  throw new EngineError("unsupported-model", message, "choose another model");
}

/** Window layers with a rotation of their own: nested parameters, or Gemma 3's older flat key, which no scaling applies to. */
function localOf(sliding: JsonRecord | undefined, context: Context, localTheta: number | undefined): LocalRotation | undefined {
  if (localTheta !== undefined) return rotationOf(sliding ?? {}, ["rope_local_base_freq", localTheta], context, true);
  return sliding && rotationOf(sliding, ["rope_theta", 10000], context, true);
}

/** One rotation; theta and the partial factor inside the dictionary win over those outside, whose key and default `outerTheta` is. */
function rotationOf(
  json: JsonRecord,
  outerTheta: readonly [key: string, fallback: number],
  context: Context,
  isNested: boolean,
): LocalRotation {
  const { config, headDim, maxPositionEmbeddings, longRopeNames } = context;
  const outer = new JsonFields(config, "config.json", "rope-invalid", REMEDY);
  const type = json["rope_type"] ?? json["type"];
  const named = typeof type === "string" && longRopeNames.includes(type) ? { ...json, rope_type: "longrope" } : json;
  const partial = named["partial_rotary_factor"] ?? config["partial_rotary_factor"] ?? 1;
  const known = { ...ropeFields(named, config, maxPositionEmbeddings, isNested), partial_rotary_factor: partial };
  const inner = new JsonFields(known, "config.json RoPE parameters", "rope-invalid", REMEDY);
  const theta = inner.optionalNumber("rope_theta") ?? outer.number(...outerTheta);
  if (theta <= 1) throw bad(`${outerTheta[0]} ${theta} must be above 1`);
  const share = inner.number("partial_rotary_factor");
  const kind = kindOf(named);
  // Proportional scaling turns part of the pairs of the whole head; the others turn all pairs of a part of it.
  const rotaryDim = kind === "proportional" ? headDim : Math.trunc(headDim * share);
  if (rotaryDim < 2 || rotaryDim > headDim || rotaryDim % 2 !== 0) {
    throw bad(
      `head_dim ${headDim} with partial_rotary_factor ${share} gives ${rotaryDim} rotary dimensions; an even number is needed`,
    );
  }
  const base = { theta, rotaryDim, maxPositionEmbeddings, trainedLength: maxPositionEmbeddings };
  const rope: RopeScaling = readScaling(kind, inner, { base, originalContext: maxPositionEmbeddings });
  checkScaling(rope, base);
  if (isReindexing(rope)) throw bad(`rope_type ${rope.kind} is a setting of this program, not of a model`);
  return { theta, rotaryDim, rope };
}

/** The dictionary as Hugging Face reads it: a top-level original context wins where nothing is nested, YaRN's zeros count as absent, its factor has a default. */
function ropeFields(json: JsonRecord, config: JsonRecord, maxPositionEmbeddings: number, isNested: boolean): JsonRecord {
  const outerOriginal = isNested ? undefined : config["original_max_position_embeddings"];
  const original = outerOriginal ?? json["original_max_position_embeddings"] ?? undefined;
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
    // Transformers reads `truncate` from the outer dictionary only.
    truncate: isNested ? undefined : json["truncate"],
  };
}

/** Ministral 3 writes the temperature of its queries beside the scaling. */
function temperatureOf(json: JsonRecord, maxPositionEmbeddings: number): DecoderSpec["queryTemperature"] {
  const fields = new JsonFields(json, "config.json RoPE parameters", "rope-invalid", REMEDY);
  const beta = fields.optionalNumber("llama_4_scaling_beta");
  if (beta === undefined || beta === 0) return undefined;
  const length = fields.positiveInteger("original_max_position_embeddings", maxPositionEmbeddings);
  return { beta, length };
}

/** Qwen2.5-1M's `dual_chunk_attention_config`; its original context is also the length its query scale counts from. */
function dualChunk(config: JsonRecord, main: LocalRotation, maxPositionEmbeddings: number): RopeScaling | undefined {
  const json = config["dual_chunk_attention_config"] ?? undefined;
  if (json === undefined) return undefined;
  if (!isRecord(json)) throw bad(`dual_chunk_attention_config is ${shown(json)}, not an object`);
  if (main.rope.kind !== "none") {
    const message = `config.json has a dual_chunk_attention_config and the RoPE type ${main.rope.kind}`;
    throw new EngineError("unsupported-model", message, "remove one of the two from config.json");
  }
  const fields = new JsonFields(json, "config.json dual_chunk_attention_config", "rope-invalid", REMEDY);
  const original = fields.optionalNumber("original_max_position_embeddings");
  const scheme: RopeScaling = {
    kind: "dual_chunk",
    chunkSize: fields.number("chunk_size"),
    localSize: fields.number("local_size"),
    ...(original === undefined ? {} : { originalContext: original }),
  };
  checkScaling(scheme, { ...main, maxPositionEmbeddings, trainedLength: maxPositionEmbeddings });
  return scheme;
}

function bad(what: string): EngineError {
  return new EngineError("unsupported-model", `config.json: ${what}`, REMEDY);
}
