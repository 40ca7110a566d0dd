/** The one place that says how long a context may be, and why. */
import type { ContextLimit, ModelSpec, RopeScaling } from "../api.ts";
import { isRotating, longRopeStretch } from "./scaling.ts";

/** Tokens the unscaled weights were trained on: the original context of the model's own scaling, else the length it states. */
export function trainedLength(spec: ModelSpec): number {
  if (isRotating(spec) && "originalContext" in spec.rope && spec.rope.originalContext !== undefined) {
    return spec.rope.originalContext;
  }
  return spec.maxPositionEmbeddings;
}

/**
 * Tokens a request (prompt and answer) may have under `scaling`, capped by what the KV cache holds.
 * `wouldBe` is the limit without the reason that binds: memory gone, or the scaling gone.
 */
export function contextLimit(spec: ModelSpec, scaling: RopeScaling, capacityTokens: number): ContextLimit {
  const trained = trainedLength(spec);
  const reach = scaledLength(spec, scaling);
  const scaled = reach !== trained;
  const reason =
    reach === Infinity
      ? `${label(scaling)} shows the model no distance it has not seen`
      : scaled
        ? `${label(scaling)} carries the trained ${tokens(trained)} to ${tokens(reach)}`
        : `the model was trained on ${tokens(trained)}`;
  if (capacityTokens < reach) {
    const explanation = `The KV cache holds ${tokens(capacityTokens)} on this device; without that limit ${reason}.`;
    return { tokens: capacityTokens, because: "kv-cache memory", explanation, wouldBe: Math.min(reach, Number.MAX_SAFE_INTEGER) };
  }
  if (!scaled) return { tokens: reach, because: "trained length", explanation: `${capital(reason)}.`, wouldBe: capacityTokens };
  return { tokens: reach, because: "rope scaling", explanation: `${capital(reason)}.`, wouldBe: trained };
}

/** Tokens a scaling reaches when memory is no matter; Infinity where no distance can be new to the model. */
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
    case "proportional":
      return Math.floor(trainedLength(spec) * scaling.factor);
    case "self_extend":
      return Math.max(trainedLength(spec), (trainedLength(spec) - scaling.window) * scaling.group + scaling.window);
    case "rerope":
      if (scaling.window >= trainedLength(spec)) return trainedLength(spec);
      return scaling.leak === undefined
        ? Infinity
        : Math.floor(scaling.window + (trainedLength(spec) - scaling.window) * scaling.leak);
    case "dual_chunk":
      if (scaling.chunkSize > trainedLength(spec)) return trainedLength(spec);
      return isRotating(spec) && spec.rope.kind === "dual_chunk" ? spec.maxPositionEmbeddings : Infinity;
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
  proportional: "proportional",
  self_extend: "Self-Extend",
  rerope: "ReRoPE",
  dual_chunk: "dual chunk attention",
};

function tokens(count: number): string {
  return `${count.toLocaleString("en-US")} tokens`;
}

function capital(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
