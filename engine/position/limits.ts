/** The one place that says how long a context may be, and why. */
import type { ContextLimit, ModelSpec, RopeScaling } from "../api.ts";
import { longRopeStretch } from "./scaling.ts";

/** Tokens the unscaled weights were trained on: the original context of the model's own scaling, else the length it states. */
export function trainedLength(spec: ModelSpec): number {
  return "originalContext" in spec.rope ? spec.rope.originalContext : spec.maxPositionEmbeddings;
}

/**
 * Tokens a request (prompt and answer) may have under `scaling`, capped by what the KV cache holds.
 * `wouldBe` is the limit without the reason that binds: memory gone, or the scaling gone.
 */
export function contextLimit(spec: ModelSpec, scaling: RopeScaling, capacityTokens: number): ContextLimit {
  const trained = trainedLength(spec);
  const reach = scaledLength(spec, scaling);
  const scaled = reach !== trained;
  const reason = scaled
    ? `${label(scaling)} carries the trained ${tokens(trained)} to ${tokens(reach)}`
    : `the model was trained on ${tokens(trained)}`;
  if (capacityTokens < reach) {
    const explanation = `The KV cache holds ${tokens(capacityTokens)} on this device; without that limit ${reason}.`;
    return { tokens: capacityTokens, because: "kv-cache memory", explanation, wouldBe: reach };
  }
  if (!scaled) return { tokens: reach, because: "trained length", explanation: `${capital(reason)}.`, wouldBe: capacityTokens };
  return { tokens: reach, because: "rope scaling", explanation: `${capital(reason)}.`, wouldBe: trained };
}

/** Tokens a scaling reaches when memory is no matter. */
export function scaledLength(spec: ModelSpec, scaling: RopeScaling): number {
  switch (scaling.kind) {
    case "none":
      return trainedLength(spec);
    case "linear":
    case "ntk":
    case "dynamic":
      return Math.floor(trainedLength(spec) * scaling.factor);
    case "yarn":
      return Math.floor(scaling.originalContext * scaling.factor);
    case "longrope":
      return Math.floor(scaling.originalContext * longRopeStretch(scaling, spec.maxPositionEmbeddings));
    case "llama3":
      return Math.max(spec.maxPositionEmbeddings, Math.floor(scaling.originalContext * scaling.factor));
  }
}

/** A scaling in a few words, e.g. "YaRN ×4". */
export function label(scaling: RopeScaling): string {
  const factor = "factor" in scaling && scaling.factor !== undefined ? ` ×${scaling.factor}` : "";
  return NAMES[scaling.kind] + factor;
}

const NAMES: Record<RopeScaling["kind"], string> = {
  none: "no scaling",
  linear: "linear",
  ntk: "NTK-aware",
  dynamic: "dynamic NTK",
  yarn: "YaRN",
  longrope: "LongRoPE",
  llama3: "Llama 3 scaling",
};

function tokens(count: number): string {
  return `${count.toLocaleString("en-US")} tokens`;
}

function capital(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
