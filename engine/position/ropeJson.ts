/** RoPE settings as JSON in Hugging Face's keys (`rope_parameters`, formerly `rope_scaling`), both ways. */
import type { DecoderSpec, ModelSpec, RopeChoice, RopeScaling } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, parseJson, shown, type JsonRecord } from "../formats/json.ts";
import { seenLength } from "./limits.ts";
import {
  checkScaling,
  ropeBase,
  rotating,
  trainedLength,
  yarnDivisors,
  type LongRope,
  type RopeBase,
  type Yarn,
} from "./scaling.ts";

type Kind = RopeScaling["kind"];

/** Every kind of scaling, in the order a menu shows them. */
export const ropeKinds = [
  "none",
  "linear",
  "ntk",
  "dynamic",
  "yarn",
  "longrope",
  "llama3",
  "proportional",
  "self_extend",
  "rerope",
  "dual_chunk",
] as const satisfies readonly Kind[];

/** What a bare kind stretches the context by. */
const DEFAULT_FACTOR = 2;

/** What a scaling is read against: the model's rotation, and the context that absent keys fall back to. */
export interface ScalingFacts {
  base: RopeBase;
  originalContext: number;
}

/**
 * A RoPE setting: "auto", "model", a kind with the defaults of `defaultScaling`, or Hugging Face keys such as
 * {"rope_type": "yarn", "factor": 4}; the last also as JSON text. Unknown kinds, unknown keys and bad values are `rope-invalid`.
 */
export function parseRope(json: unknown, spec: ModelSpec): RopeChoice {
  if (typeof json === "string") return parseText(json.trim(), spec);
  if (!isRecord(json)) throw new EngineError("rope-invalid", `a RoPE setting cannot be ${shown(json)}`, KIND_REMEDY);
  const type = json["rope_type"] ?? json["type"];
  if (type === "auto" || type === "model") {
    refuseUnread(new JsonFields(json, type, "rope-invalid", KIND_REMEDY), ["rope_type", "type"]);
    return { kind: type };
  }
  const fields = new JsonFields(json, "rope", "rope-invalid", KIND_REMEDY);
  const kind = kindOf(json);
  const base = ropeBase(rotating(spec));
  const scaling = readScaling(kind, fields, { base, originalContext: trainedLength(spec) });
  refuseForeignTheta(fields, base.theta);
  refuseUnread(fields, ["rope_type", "type"]);
  checkScaling(scaling, base);
  return scaling;
}

/** Hugging Face keys of a scaling; `ntk` is our own name, because Hugging Face writes it as a larger rope_theta. */
export function formatRope(scaling: RopeScaling): JsonRecord {
  switch (scaling.kind) {
    case "none":
      return { rope_type: "default" };
    case "linear":
    case "ntk":
    case "dynamic":
      return { rope_type: scaling.kind, factor: scaling.factor };
    case "yarn":
      return present({
        rope_type: "yarn",
        factor: scaling.factor,
        original_max_position_embeddings: scaling.originalContext,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        truncate: scaling.truncate,
        attention_factor: scaling.attentionFactor,
        mscale: scaling.mscale,
        mscale_all_dim: scaling.mscaleAllDim,
      });
    case "longrope":
      return present({
        rope_type: "longrope",
        short_factor: [...scaling.shortFactor],
        long_factor: [...scaling.longFactor],
        original_max_position_embeddings: scaling.originalContext,
        factor: scaling.factor,
        attention_factor: scaling.attentionFactor,
      });
    case "llama3":
      return {
        rope_type: "llama3",
        factor: scaling.factor,
        original_max_position_embeddings: scaling.originalContext,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
      };
    case "proportional":
      return { rope_type: "proportional", factor: scaling.factor, partial_rotary_factor: scaling.rotaryShare };
    case "self_extend":
      return present({
        rope_type: "self_extend",
        group: scaling.group,
        window: scaling.window,
        log_base: scaling.logBase,
      });
    case "rerope":
      return present({ rope_type: "rerope", window: scaling.window, leak: scaling.leak });
    case "dual_chunk":
      return present({
        rope_type: "dual_chunk",
        chunk_size: scaling.chunkSize,
        local_size: scaling.localSize,
        original_max_position_embeddings: scaling.originalContext,
      });
  }
}

/** A kind by its name alone: the model's own where it is of that kind, else `factor` times the trained length. */
export function defaultScaling(kind: Kind, spec: DecoderSpec, factor = DEFAULT_FACTOR): RopeScaling {
  if (spec.rope.kind === kind && factor === DEFAULT_FACTOR) return spec.rope;
  const originalContext = trainedLength(spec);
  switch (kind) {
    case "none":
      return { kind };
    case "linear":
    case "ntk":
    case "dynamic":
      return { kind, factor };
    case "yarn":
      return defaultYarn(factor, originalContext);
    case "longrope":
      return longRopeFromYarn(factor, originalContext, ropeBase(spec));
    case "llama3":
      return { kind, factor, originalContext, lowFreqFactor: 1, highFreqFactor: 4 };
    case "proportional":
      return { kind, factor, rotaryShare: 1 };
    case "self_extend":
      return defaultSelfExtend(seenLength(spec));
    case "rerope":
      return { kind, window: Math.max(1, Math.floor(seenLength(spec) / 2)) };
    case "dual_chunk":
      return { kind, chunkSize: seenLength(spec), localSize: Math.max(1, Math.floor(seenLength(spec) / 32)) };
  }
}

export function defaultYarn(factor: number, originalContext: number): Yarn {
  return { kind: "yarn", factor, originalContext, betaFast: 32, betaSlow: 1, truncate: true };
}

/** Groups of 8 beyond a quarter of the distances that the model has seen: more than five times its length. */
function defaultSelfExtend(seenTokens: number): Extract<RopeScaling, { kind: "self_extend" }> {
  const group = Math.min(8, Math.max(1, Math.floor(seenTokens / 4)));
  return { kind: "self_extend", group, window: Math.max(group, Math.floor(seenTokens / 4 / group) * group) };
}

/** The kind that `rope_type` (or the older `type`) names; absent is `none`. */
export function kindOf(json: JsonRecord): Kind {
  const type = json["rope_type"] ?? json["type"] ?? "default";
  if (type === "default") return "none";
  if (type === "su") return "longrope";
  const kind = ropeKinds.find((known) => known === type);
  if (kind !== undefined) return kind;
  throw new EngineError("rope-invalid", `unknown RoPE kind ${shown(type)}`, KIND_REMEDY);
}

/** The fields of one kind; what has no default in Hugging Face has none here. Values are judged by `checkScaling`. */
export function readScaling(kind: Kind, fields: JsonFields, facts: ScalingFacts): RopeScaling {
  switch (kind) {
    case "none":
      return { kind };
    case "linear":
    case "ntk":
    case "dynamic":
      return { kind, factor: fields.number("factor") };
    case "yarn":
      return {
        kind,
        factor: fields.number("factor"),
        originalContext: fields.number(ORIGINAL, facts.originalContext),
        betaFast: fields.number("beta_fast", 32),
        betaSlow: fields.number("beta_slow", 1),
        truncate: fields.boolean("truncate", true),
        ...definedOnly({
          attentionFactor: fields.optionalNumber("attention_factor"),
          mscale: fields.optionalNumber("mscale"),
          mscaleAllDim: fields.optionalNumber("mscale_all_dim"),
        }),
      };
    case "longrope":
      return {
        kind,
        shortFactor: fields.numbers("short_factor"),
        longFactor: fields.numbers("long_factor"),
        originalContext: fields.number(ORIGINAL, facts.originalContext),
        ...definedOnly({
          factor: fields.optionalNumber("factor"),
          attentionFactor: fields.optionalNumber("attention_factor"),
        }),
      };
    case "llama3":
      return {
        kind,
        factor: fields.number("factor"),
        originalContext: fields.number(ORIGINAL, facts.originalContext),
        lowFreqFactor: fields.number("low_freq_factor"),
        highFreqFactor: fields.number("high_freq_factor"),
      };
    case "proportional":
      return { kind, factor: fields.number("factor", 1), rotaryShare: fields.number("partial_rotary_factor", 1) };
    case "self_extend":
      return {
        kind,
        group: fields.number("group"),
        window: fields.number("window"),
        ...definedOnly({ logBase: fields.optionalNumber("log_base") }),
      };
    case "rerope":
      return { kind, window: fields.number("window"), ...definedOnly({ leak: fields.optionalNumber("leak") }) };
    case "dual_chunk":
      return {
        kind,
        chunkSize: fields.number("chunk_size"),
        localSize: fields.number("local_size"),
        ...definedOnly({ originalContext: fields.optionalNumber(ORIGINAL) }),
      };
  }
}

const ORIGINAL = "original_max_position_embeddings";
const KIND_REMEDY = `use auto, model, one of ${ropeKinds.join(", ")}, or JSON such as {"rope_type":"yarn","factor":4}`;

function parseText(text: string, spec: ModelSpec): RopeChoice {
  if (text.startsWith("{")) return parseRope(parseJson(text, "the RoPE setting", "rope-invalid", KIND_REMEDY), spec);
  if (text === "auto" || text === "model") return { kind: text };
  const kind = kindOf({ rope_type: text });
  const known = rotating(spec);
  const scaling = defaultScaling(kind, known);
  checkScaling(scaling, ropeBase(known));
  return scaling;
}

/** LongRoPE needs searched lists; without them the search's own starting point stands in: no change when short, YaRN's divisors when long. */
function longRopeFromYarn(factor: number, originalContext: number, base: RopeBase): LongRope {
  const longFactor = yarnDivisors(defaultYarn(factor, originalContext), base);
  return { kind: "longrope", shortFactor: longFactor.map(() => 1), longFactor, originalContext, factor };
}

/** Hugging Face writes rope_theta into the same object; another base than the model's is not a scaling. */
function refuseForeignTheta(fields: JsonFields, ownTheta: number): void {
  const theta = fields.optionalNumber("rope_theta");
  if (theta === undefined || theta === ownTheta) return;
  const message = `rope_theta ${theta} is not the model's ${ownTheta}`;
  throw new EngineError("rope-invalid", message, 'leave rope_theta out; {"rope_type":"ntk","factor":4} raises the base');
}

function refuseUnread(fields: JsonFields, known: readonly string[]): void {
  const unknown = fields.unreadKeys().filter((key) => !known.includes(key));
  if (unknown.length === 0) return;
  const keys = unknown.map((key) => JSON.stringify(key)).join(", ");
  throw new EngineError("rope-invalid", `RoPE keys that change nothing here: ${keys}`, "remove them, or correct their spelling");
}

function present(record: JsonRecord): JsonRecord {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}

function definedOnly<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
