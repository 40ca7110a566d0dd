/** Facts that follow from the state and are kept nowhere: the window, the rotation in force. Pure. */
import type { ContextLimit, ModelSpec, RopeScaling } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { shownRun } from "./store.ts";
import type { State } from "./store.ts";

export interface WindowFacts {
  usedTokens: number;
  /** What the used tokens are a count of. */
  usedIs: "this prompt" | "the last prompt" | "the whole workspace";
  /** Tokens kept free for the answer. */
  reservedTokens: number;
  limit: ContextLimit;
  rope: RopeScaling;
}

/** How full the window is, by the same resolution of `auto` that the engine makes; a problem in words where the setting cannot be applied. */
export function windowFacts(state: State): WindowFacts | { problem: string } | undefined {
  const { engine, settings } = state;
  if (engine.status !== "ready" || !settings) return undefined;
  const { usedTokens, usedIs } = promptTokens(state);
  const reservedTokens = settings.maxAnswerTokens;
  try {
    const { spec, capacityTokens } = engine.info;
    const { limit, scaling } = resolveRope(settings.rope, spec, Math.max(1, usedTokens + reservedTokens), capacityTokens);
    return { usedTokens, usedIs, reservedTokens, limit, rope: scaling };
  } catch (error) {
    if (EngineError.is(error)) return { problem: `${error.message}; ${error.remedy}` };
    throw error;
  }
}

/** The model that is open, if one is. */
export function openSpec(state: State): ModelSpec | undefined {
  return state.engine.status === "ready" ? state.engine.info.spec : undefined;
}

function promptTokens(state: State): Pick<WindowFacts, "usedTokens" | "usedIs"> {
  if (state.live?.packed) return { usedTokens: state.live.packed.promptTokens, usedIs: "this prompt" };
  const last = shownRun(state);
  if (last) return { usedTokens: last.result.promptTokens, usedIs: "the last prompt" };
  return { usedTokens: state.budget?.tokens ?? 0, usedIs: "the whole workspace" };
}
