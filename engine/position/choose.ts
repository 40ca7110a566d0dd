import type { AttentionChoice } from "../attention/api.ts";
import type { ContextLimit, DecoderSpec, ModelSpec, PositionPlan, RopeChoice, RopeScaling } from "../api.ts";
import { EngineError } from "../errors.ts";
import { positionPlan } from "./bands.ts";
import { AUTO_REACH, contextLimit, farthestSeen, scaledLength, unrotatedLimit } from "./limits.ts";
import { defaultYarn } from "./ropeJson.ts";
import { isRotating, trainedLength } from "./scaling.ts";

/** A setting made definite for one request. */
export interface ResolvedRope {
  scaling: RopeScaling;
  plan: PositionPlan;
  limit: ContextLimit;
}

/**
 * What a setting means for a request of `lengthTokens` tokens (prompt and answer) on a device whose KV cache holds `capacityTokens`.
 * Every scaling gets its table for the whole request, because cached keys keep the rotation they were written with: `dynamic` and
 * `longrope` would otherwise change it in the middle of an answer.
 */
export function resolveRope(
  choice: RopeChoice,
  spec: ModelSpec,
  lengthTokens: number,
  capacityTokens: number,
  attention?: AttentionChoice,
): ResolvedRope {
  if (!Number.isSafeInteger(lengthTokens) || lengthTokens < 1) {
    throw new EngineError("bad-argument", `a request of ${lengthTokens} tokens has no rotation`, "ask for at least one token");
  }
  const scaling = definite(choice, spec, Math.min(lengthTokens, farthestSeen(attention)), capacityTokens);
  const plan = positionPlan(scaling, spec, lengthTokens);
  if (!isRotating(spec)) return { scaling, plan, limit: unrotatedLimit(spec, choice.kind === "auto", capacityTokens, attention) };
  return { scaling, plan, limit: contextLimit(spec, scaling, capacityTokens, attention) };
}

/** Room for a few follow-up questions, so that the next turn does not change the rotation and lose the cache. */
export const FOLLOW_UP_TOKENS = 128;

/** The length to resolve a setting for when prompt and answer want `neededTokens`: with room to go on, and within what `auto` may reach. */
export function requestLength(choice: RopeChoice, spec: ModelSpec, neededTokens: number, attention?: AttentionChoice): number {
  const roomy = neededTokens + FOLLOW_UP_TOKENS;
  if (choice.kind !== "auto" || farthestSeen(attention) <= trainedLength(spec)) return roomy;
  return Math.min(roomy, Math.max(AUTO_REACH * trainedLength(spec), scaledLength(spec, ownScaling(spec))));
}

function definite(choice: RopeChoice, spec: ModelSpec, lengthTokens: number, capacityTokens: number): RopeScaling {
  if (choice.kind === "model") return ownScaling(spec);
  if (choice.kind !== "auto") return choice;
  if (!isRotating(spec) || lengthTokens <= scaledLength(spec, spec.rope)) return ownScaling(spec);
  return outgrown(spec, Math.min(lengthTokens, capacityTokens));
}

function ownScaling(spec: ModelSpec): RopeScaling {
  return isRotating(spec) ? spec.rope : { kind: "none" };
}

/** The model's own scaling where memory ends before it does, else YaRN by the smallest power of two that covers the length. */
function outgrown(spec: DecoderSpec, lengthTokens: number): RopeScaling {
  if (lengthTokens <= scaledLength(spec, spec.rope)) return spec.rope;
  const trained = trainedLength(spec);
  let factor = 2;
  while (trained * factor < lengthTokens) factor *= 2;
  return defaultYarn(factor, trained);
}
