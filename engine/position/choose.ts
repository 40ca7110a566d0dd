import type { ContextLimit, ModelSpec, RopeChoice, RopeScaling, RopeTable } from "../api.ts";
import { EngineError } from "../errors.ts";
import { contextLimit, scaledLength, trainedLength } from "./limits.ts";
import { defaultYarn } from "./ropeJson.ts";
import { ropeBase, ropeTable } from "./scaling.ts";

/** A setting made definite for one request. */
export interface ResolvedRope {
  scaling: RopeScaling;
  table: RopeTable;
  limit: ContextLimit;
}

/**
 * What a setting means for a request of `lengthTokens` tokens (prompt and answer) on a device whose KV cache holds `capacityTokens`.
 * Every scaling gets its table for the whole request, because cached keys keep the rotation they were written with: `dynamic` and
 * `longrope` would otherwise change it in the middle of an answer.
 */
export function resolveRope(choice: RopeChoice, spec: ModelSpec, lengthTokens: number, capacityTokens: number): ResolvedRope {
  if (!Number.isSafeInteger(lengthTokens) || lengthTokens < 1) {
    throw new EngineError("bad-argument", `a request of ${lengthTokens} tokens has no rotation`, "ask for at least one token");
  }
  const scaling = definite(choice, spec, lengthTokens, capacityTokens);
  const limit = contextLimit(spec, scaling, capacityTokens);
  return { scaling, table: ropeTable(scaling, ropeBase(spec), lengthTokens), limit };
}

/** Room for a few follow-up questions, so that the next turn does not change the rotation and lose the cache. */
export const FOLLOW_UP_TOKENS = 128;

/** `auto` fills a window of at most this many times the trained length: YaRN without fine-tuning is measured that far; more is a person's choice. */
export const AUTO_REACH = 8;

/** The length to resolve a setting for when prompt and answer want `neededTokens`: with room to go on, and within what `auto` may reach. */
export function requestLength(choice: RopeChoice, spec: ModelSpec, neededTokens: number): number {
  const roomy = neededTokens + FOLLOW_UP_TOKENS;
  if (choice.kind !== "auto") return roomy;
  return Math.min(roomy, Math.max(AUTO_REACH * trainedLength(spec), scaledLength(spec, spec.rope)));
}

function definite(choice: RopeChoice, spec: ModelSpec, lengthTokens: number, capacityTokens: number): RopeScaling {
  if (choice.kind === "model") return spec.rope;
  if (choice.kind !== "auto") return choice;
  if (lengthTokens <= scaledLength(spec, spec.rope)) return spec.rope;
  return outgrown(spec, Math.min(lengthTokens, capacityTokens));
}

/** The model's own scaling where memory ends before it does, else YaRN by the smallest power of two that covers the length. */
function outgrown(spec: ModelSpec, lengthTokens: number): RopeScaling {
  if (lengthTokens <= scaledLength(spec, spec.rope)) return spec.rope;
  const trained = trainedLength(spec);
  let factor = 2;
  while (trained * factor < lengthTokens) factor *= 2;
  return defaultYarn(factor, trained);
}
