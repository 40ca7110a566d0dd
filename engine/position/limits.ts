/** The one place that says how long a context may be, and why. */
import type { AttentionChoice } from "../attention/api.ts";
import type { ContextLimit, ModelSpec, Reindexing, RopeScaling } from "../api.ts";
import { isReindexing, isRotating, longRopeStretch, ownFrequencies, trainedLength } from "./scaling.ts";

/** `auto` fills a window of at most this many times the trained length: YaRN without fine-tuning is measured that far; more is a person's choice. */
export const AUTO_REACH = 8;

/**
 * Tokens a request (prompt and answer) may have under `scaling`, capped by what the KV cache holds.
 * `wouldBe` is the limit without the reason that binds: memory gone, or the scaling gone; MAX_SAFE_INTEGER stands for no limit.
 */
export function contextLimit(
  spec: ModelSpec,
  scaling: RopeScaling,
  capacityTokens: number,
  attention?: AttentionChoice,
): ContextLimit {
  const trained = trainedLength(spec);
  const scaled = scaledLength(spec, scaling);
  const seen = farthestSeen(attention);
  const isBounded = seen < Infinity && seen <= scaled;
  const reach = isBounded ? Infinity : scaled;
  const reason = isBounded
    ? `no token attends farther than ${tokens(seen)}, which the model has seen, and what lies beyond is not recalled`
    : reach === Infinity
      ? `${label(scaling)} itself has no limit: it shows the model no distance that it has not seen`
      : reach === trained
        ? `the model was trained on ${tokens(trained)}`
        : `${label(scaling)} carries the trained ${tokens(trained)} to ${tokens(reach)}`;
  if (capacityTokens < reach) return memoryLimit(spec, reason, capacityTokens, reach);
  const explanation = `${capital(reason)}.`;
  if (reach === trained) return { tokens: reach, because: "trained length", explanation, wouldBe: capacityTokens };
  return { tokens: reach, because: "rope scaling", explanation, wouldBe: trained };
}

/** The same for ALiBi and recurrent models, which nothing can scale: they read on past the trained length where they are let. */
export function unrotatedLimit(
  spec: ModelSpec,
  isLetOn: boolean,
  capacityTokens: number,
  attention?: AttentionChoice,
): ContextLimit {
  if (!isLetOn) return contextLimit(spec, { kind: "none" }, capacityTokens, attention);
  const trained = trainedLength(spec);
  const reach = AUTO_REACH * trained;
  const reason = `the model was trained on ${tokens(trained)} and may read on to ${AUTO_REACH} times as many, ${tokens(reach)}`;
  if (capacityTokens < reach) return memoryLimit(spec, reason, capacityTokens, reach);
  const explanation = `${capital(reason)}; how well it does there is for you to measure.`;
  return { tokens: reach, because: "past the trained length", explanation, wouldBe: trained };
}

function memoryLimit(spec: ModelSpec, reason: string, capacityTokens: number, reach: number): ContextLimit {
  const holder = spec.kind === "decoder" ? "The KV cache holds" : "This backend reads";
  const explanation = `${holder} ${tokens(capacityTokens)} on this device; ${reason}.`;
  return { tokens: capacityTokens, because: "kv-cache memory", explanation, wouldBe: Math.min(reach, Number.MAX_SAFE_INTEGER) };
}

/** The largest distance, in tokens, that a policy shows every layer; Infinity where far keys are seen. */
export function farthestSeen(attention: AttentionChoice | undefined): number {
  if (attention === undefined || attention.topPages !== undefined) return Infinity;
  const { policy } = attention;
  if (policy.kind === "window") return policy.window;
  return policy.kind === "sinks" ? policy.sinks + policy.window : Infinity;
}

/** Tokens a scaling reaches when memory is no matter; Infinity where no distance can be new to the model. */
export function scaledLength(spec: ModelSpec, scaling: RopeScaling): number {
  if (isReindexing(scaling)) return reindexedLength(spec, scaling);
  switch (scaling.kind) {
    case "none":
      return trainedLength(spec);
    case "linear":
    case "ntk":
    case "dynamic":
    case "proportional":
      return Math.floor(trainedLength(spec) * scaling.factor);
    case "yarn":
      return Math.floor(scaling.originalContext * scaling.factor);
    case "longrope":
      return Math.floor(scaling.originalContext * longRopeStretch(scaling, spec.maxPositionEmbeddings));
    case "llama3":
      return Math.max(spec.maxPositionEmbeddings, Math.floor(scaling.originalContext * scaling.factor));
  }
}

/** Distances the model has seen under the frequencies that a re-indexing leaves alone. */
export function seenLength(spec: ModelSpec): number {
  return isRotating(spec) ? scaledLength(spec, ownFrequencies(spec)) : trainedLength(spec);
}

function reindexedLength(spec: ModelSpec, scheme: Reindexing): number {
  const seen = seenLength(spec);
  switch (scheme.kind) {
    case "self_extend":
      return Math.max(seen, (seen - scheme.window) * scheme.group + scheme.window);
    case "rerope":
      if (scheme.window >= seen) return seen;
      return scheme.leak === undefined ? Infinity : Math.floor(scheme.window + (seen - scheme.window) * scheme.leak);
    case "dual_chunk":
      if (scheme.chunkSize > seen) return seen;
      return isRotating(spec) && spec.rope.kind === "dual_chunk" ? spec.maxPositionEmbeddings : Infinity;
  }
}

/** A scaling in a few words, e.g. "YaRN ×4". */
export function label(scaling: RopeScaling): string {
  const factor = "factor" in scaling && scaling.factor !== undefined ? ` ×${Number(scaling.factor.toPrecision(4))}` : "";
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
