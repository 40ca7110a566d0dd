/** What follows from an attention setting and the model that is open. Pure. */
import type { SessionInfo } from "../../engine/api.ts";
import type { AttentionChoice } from "../../engine/attention/api.ts";
import { checkTopPages } from "../../engine/attention/patterns/quest.ts";
import { checkWhole } from "../../engine/attention/wholeOnly.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import { EngineError } from "../../engine/errors.ts";
import { formatKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import { windowFacts } from "./derived.ts";
import { promptPlan } from "./promptPlan.ts";
import type { State } from "./store.ts";

/** Why the engine that is open would refuse a question with this attention, in its own words; undefined where it would not. */
export function attentionProblem(choice: AttentionChoice, info: SessionInfo | undefined): string | undefined {
  if (info?.spec.kind !== "decoder") return undefined;
  try {
    if (info.backend === "ort") checkWhole(choice, "WASM");
    checkTopPages(info.spec, choice);
    return undefined;
  } catch (error) {
    if (EngineError.is(error)) return `${error.message}; ${error.remedy}`;
    throw error;
  }
}

/** A few words for the header's chip, as `--attention` and `--kv` would have them. */
export function attentionWord({ settings, engine }: Pick<State, "settings" | "engine">): string {
  if (engine.status === "ready" && engine.info.spec.kind !== "decoder") return "no attention";
  if (!settings) return "attention: …";
  const kv = formatKvFormats(settings.kv);
  return formatAttention(settings.attention) + (kv === "f32" ? "" : ` · ${kv} cache`);
}

/** Tokens to plan for: of the question that is typed, else of the last prompt or the workspace. */
export function plannedTokens(state: State): number {
  const typed = promptPlan(state);
  if (typed && "plan" in typed) return typed.plan.promptTokens;
  const facts = windowFacts(state);
  return Math.max(1, facts && "usedTokens" in facts ? facts.usedTokens : (state.budget?.tokens ?? 0));
}
