/** The RoPE settings as a person edits them: text per field, read back into a RopeChoice or a problem per field. Pure. */
import type { ModelSpec, RopeChoice, RopeScaling } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { defaultScaling, defaultYarn } from "../../engine/position/ropeJson.ts";
import { checkScaling, ropeBase, yarnDivisors } from "../../engine/position/scaling.ts";

export type RopeKind = RopeChoice["kind"];

export interface RopeField {
  name: string;
  label: string;
  /** What the field does, in one line. */
  help: string;
  type: "number" | "optional number" | "switch" | "list";
}

export interface RopeDraft {
  kind: RopeKind;
  /** Text per field; a switch is "true" or "false". */
  text: Readonly<Record<string, string>>;
}

export type RopeReading = { choice: RopeChoice } | { problems: Readonly<Record<string, string>> };

export const ropeLabels: Record<RopeKind, string> = {
  auto: "auto (YaRN if needed)",
  model: "model (config.json)",
  none: "none (plain RoPE)",
  linear: "linear (interpolation)",
  ntk: "NTK-aware",
  dynamic: "dynamic NTK",
  yarn: "YaRN",
  longrope: "LongRoPE",
  llama3: "Llama 3",
};

/** Kinds in the order of the list. */
export const ropeKindOrder: readonly RopeKind[] = [
  "auto",
  "model",
  "none",
  "linear",
  "ntk",
  "dynamic",
  "yarn",
  "longrope",
  "llama3",
];

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
    },
    {
      name: "mscaleAllDim",
      label: "mscale all dims",
      help: "divides the attention factor; needs mscale",
      type: "optional number",
    },
  ],
  longrope: [
    { name: "shortFactor", label: "Short factors", help: "divisor per pair up to the original context", type: "list" },
    { name: "longFactor", label: "Long factors", help: "divisor per pair beyond it", type: "list" },
    originalContext,
    { ...factor, help: "enters the attention factor; empty: stated over original length", type: "optional number" },
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
};

/** A choice as text; fields that the choice leaves open stay empty. */
export function ropeDraft(choice: RopeChoice): RopeDraft {
  const values = new Map<string, unknown>(Object.entries(choice));
  const text = Object.fromEntries(ropeFields[choice.kind].map(({ name }) => [name, valueText(values.get(name))]));
  return { kind: choice.kind, text };
}

/** First values of a kind for this model: its own where it is of that kind. */
export function defaultRope(kind: RopeKind, spec: ModelSpec): RopeChoice {
  return kind === "auto" || kind === "model" ? { kind } : defaultScaling(kind, spec);
}

/** LongRoPE's search starts from what YaRN divides each pair by; rounded to 1/10000 so that the list can be read. */
export function factorsFromYarn(spec: ModelSpec, stretch: number, original: number): number[] {
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
    const want = spec.rotaryDim / 2;
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
    checkScaling(scaling, ropeBase(spec));
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
