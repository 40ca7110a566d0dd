/** The RoPE settings as a person edits them: text per field, read back into a RopeChoice or a problem per field. Pure. */
import type { DecoderSpec, ModelSpec, RopeChoice, RopeScaling } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { defaultScaling, defaultYarn, ropeKinds } from "../../engine/position/ropeJson.ts";
import { checkScaling, isRotating, ropeBase, rotating, yarnDivisors } from "../../engine/position/scaling.ts";

export type RopeKind = RopeChoice["kind"];

export interface RopeField {
  name: string;
  label: string;
  /** What the field does, in one line. */
  help: string;
  type: "number" | "optional number" | "switch" | "list";
  /** What an empty optional number stands for. */
  empty?: string;
}

export interface RopeDraft {
  kind: RopeKind;
  /** Text per field; a switch is "true" or "false". */
  text: Readonly<Record<string, string>>;
}

export type RopeReading = { choice: RopeChoice } | { problems: Readonly<Record<string, string>> };

const ropeLabels: Record<RopeKind, string> = {
  auto: "auto (YaRN if needed)",
  model: "model (config.json)",
  none: "none (plain RoPE)",
  linear: "linear (interpolation)",
  ntk: "NTK-aware",
  dynamic: "dynamic NTK",
  yarn: "YaRN",
  longrope: "LongRoPE",
  llama3: "Llama 3",
  proportional: "proportional",
  self_extend: "Self-Extend (positions in groups)",
  rerope: "ReRoPE (capped distances)",
  dual_chunk: "dual chunk attention",
};

/** What the list calls a kind for a model; where nothing turns, `auto` has no YaRN to resort to. */
export function ropeLabel(kind: RopeKind, spec: ModelSpec | undefined): string {
  const reads = kind === "auto" && spec !== undefined && !isRotating(spec);
  return reads ? "auto (past the trained length)" : ropeLabels[kind];
}

/** Kinds in the order of the list. */
export const ropeKindOrder: readonly RopeKind[] = ["auto", "model", ...ropeKinds];

/** The kinds that mean something to a model: nothing can be scaled where nothing turns. */
export function ropeKindsOf(spec: ModelSpec): readonly RopeKind[] {
  return isRotating(spec) ? ropeKindOrder : ["auto", "model"];
}

const factor: RopeField = {
  name: "factor",
  label: "Factor",
  help: "how many times longer than trained; at least 1",
  type: "number",
};
const originalContext: RopeField = {
  name: "originalContext",
  label: "Original context",
  help: "tokens the model was trained on",
  type: "number",
};
const attentionFactor: RopeField = {
  name: "attentionFactor",
  label: "Attention factor",
  help: "multiplies cos and sin; empty: from the formula",
  type: "optional number",
  empty: "from the formula",
};

/** The fields of each kind, exactly those of RopeScaling. */
export const ropeFields: Record<RopeKind, readonly RopeField[]> = {
  auto: [],
  model: [],
  none: [],
  linear: [factor],
  ntk: [factor],
  dynamic: [factor],
  yarn: [
    factor,
    originalContext,
    {
      name: "betaFast",
      label: "β fast",
      help: "pairs that turn more often than this in the original context are kept",
      type: "number",
    },
    { name: "betaSlow", label: "β slow", help: "pairs that turn less often than this are divided by the factor", type: "number" },
    { name: "truncate", label: "Whole pairs", help: "round the ramp's ends to whole pairs", type: "switch" },
    attentionFactor,
    {
      name: "mscale",
      label: "mscale",
      help: "weight of the factor in the attention factor; needs mscale all dims",
      type: "optional number",
      empty: "none",
    },
    {
      name: "mscaleAllDim",
      label: "mscale all dims",
      help: "divides the attention factor; needs mscale",
      type: "optional number",
      empty: "none",
    },
  ],
  longrope: [
    { name: "shortFactor", label: "Short factors", help: "divisor per pair up to the original context", type: "list" },
    { name: "longFactor", label: "Long factors", help: "divisor per pair beyond it", type: "list" },
    originalContext,
    {
      ...factor,
      help: "enters the attention factor and the reach; empty: stated over original length",
      type: "optional number",
      empty: "stated / original",
    },
    attentionFactor,
  ],
  llama3: [
    factor,
    originalContext,
    {
      name: "lowFreqFactor",
      label: "Low frequency factor",
      help: "wavelengths above original / this are divided by the factor",
      type: "number",
    },
    {
      name: "highFreqFactor",
      label: "High frequency factor",
      help: "wavelengths below original / this are kept",
      type: "number",
    },
  ],
  proportional: [
    { ...factor, help: "divides every frequency that is left; at least 1" },
    {
      name: "rotaryShare",
      label: "Share that turns",
      help: "pairs behind this share of them are not rotated at all; above 0, at most 1",
      type: "number",
    },
  ],
  self_extend: [
    { name: "group", label: "Group", help: "tokens that share a position where they are far away", type: "number" },
    {
      name: "window",
      label: "Neighbours, tokens",
      help: "nearer keys keep their exact distance; a multiple of the group is best",
      type: "number",
    },
    {
      name: "logBase",
      label: "Log-n base",
      help: "queries are scaled by ln(position) / ln(this) where that is above 1; the trained length is usual",
      type: "optional number",
      empty: "no scaling of queries",
    },
  ],
  rerope: [
    { name: "window", label: "Window, tokens", help: "every distance from here on is shown as this one", type: "number" },
    {
      name: "leak",
      label: "Leak",
      help: "distances beyond the window grow this many times slower; above 1",
      type: "optional number",
      empty: "they do not grow",
    },
  ],
  dual_chunk: [
    {
      name: "chunkSize",
      label: "Chunk, tokens",
      help: "no distance is shown as longer than this; at most the trained length",
      type: "number",
    },
    {
      name: "localSize",
      label: "Local, tokens",
      help: "tokens of the chunk before that keep their exact distance; positions repeat every chunk less this",
      type: "number",
    },
    {
      ...originalContext,
      help: "queries of longer requests are scaled by 0.1 ln(length / this) + 1",
      type: "optional number",
      empty: "no scaling of queries",
    },
  ],
};

/** A choice as text; fields that the choice leaves open stay empty. */
export function ropeDraft(choice: RopeChoice): RopeDraft {
  const values = new Map<string, unknown>(Object.entries(choice));
  const text = Object.fromEntries(ropeFields[choice.kind].map(({ name }) => [name, valueText(values.get(name))]));
  return { kind: choice.kind, text };
}

/** First values of a kind for this model: its own where it is of that kind. Throws `rope-invalid` for a kind that it cannot have. */
export function defaultRope(kind: RopeKind, spec: ModelSpec): RopeChoice {
  return kind === "auto" || kind === "model" ? { kind } : defaultScaling(kind, rotating(spec));
}

/** LongRoPE's search starts from what YaRN divides each pair by; rounded to 1/10000 so that the list can be read. */
export function factorsFromYarn(spec: DecoderSpec, stretch: number, original: number): number[] {
  return yarnDivisors(defaultYarn(stretch, original), ropeBase(spec)).map((divisor) => Math.round(divisor * 1e4) / 1e4);
}

/** Reads the text back; every problem names its field, and the engine's own check has the last word (field ""). */
export function readRopeDraft(draft: RopeDraft, spec: ModelSpec): RopeReading {
  const problems: Record<string, string> = {};
  const raw = (name: string): string => (draft.text[name] ?? "").trim();
  const number = (name: string): number => {
    const value = raw(name) === "" ? NaN : Number(raw(name));
    if (!Number.isFinite(value)) problems[name] = "a number, please";
    return value;
  };
  const optional = (name: string): number | undefined => (raw(name) === "" ? undefined : number(name));
  const list = (name: string): number[] => {
    const values = raw(name)
      .split(/[\s,]+/)
      .filter((part) => part !== "")
      .map(Number);
    const want = isRotating(spec) ? spec.rotaryDim / 2 : 0;
    if (values.length !== want) problems[name] = `${want} numbers, one per pair; these are ${values.length}`;
    else if (values.some((value) => !(value > 0) || !Number.isFinite(value)))
      problems[name] = "every factor must be a number above 0";
    return values;
  };
  const choice = ((): RopeChoice => {
    switch (draft.kind) {
      case "auto":
      case "model":
      case "none":
        return { kind: draft.kind };
      case "linear":
      case "ntk":
      case "dynamic":
        return { kind: draft.kind, factor: number("factor") };
      case "yarn":
        return defined({
          kind: "yarn",
          factor: number("factor"),
          originalContext: number("originalContext"),
          betaFast: number("betaFast"),
          betaSlow: number("betaSlow"),
          truncate: raw("truncate") === "true",
          attentionFactor: optional("attentionFactor"),
          mscale: optional("mscale"),
          mscaleAllDim: optional("mscaleAllDim"),
        });
      case "longrope":
        return defined({
          kind: "longrope",
          shortFactor: list("shortFactor"),
          longFactor: list("longFactor"),
          originalContext: number("originalContext"),
          factor: optional("factor"),
          attentionFactor: optional("attentionFactor"),
        });
      case "llama3":
        return {
          kind: "llama3",
          factor: number("factor"),
          originalContext: number("originalContext"),
          lowFreqFactor: number("lowFreqFactor"),
          highFreqFactor: number("highFreqFactor"),
        };
      case "proportional":
        return { kind: "proportional", factor: number("factor"), rotaryShare: number("rotaryShare") };
      case "self_extend":
        return defined({
          kind: "self_extend",
          group: number("group"),
          window: number("window"),
          logBase: optional("logBase"),
        });
      case "rerope":
        return defined({ kind: "rerope", window: number("window"), leak: optional("leak") });
      case "dual_chunk":
        return defined({
          kind: "dual_chunk",
          chunkSize: number("chunkSize"),
          localSize: number("localSize"),
          originalContext: optional("originalContext"),
        });
    }
  })();
  if (Object.keys(problems).length === 0 && choice.kind !== "auto" && choice.kind !== "model") {
    const refused = refusal(choice, spec);
    if (refused) return { problems: { "": refused } };
  }
  return Object.keys(problems).length > 0 ? { problems } : { choice };
}

function refusal(scaling: RopeScaling, spec: ModelSpec): string | undefined {
  try {
    checkScaling(scaling, ropeBase(rotating(spec)));
    return undefined;
  } catch (error) {
    if (EngineError.is(error)) return `${error.message}; ${error.remedy}`;
    throw error;
  }
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.join(", ");
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

/** Without the keys whose value is undefined: an empty field is absent, not `undefined`, in what is saved. */
function defined<T extends object>(value: T): T {
  for (const key of Object.keys(value) as (keyof T)[]) if (value[key] === undefined) Reflect.deleteProperty(value, key);
  return value;
}
