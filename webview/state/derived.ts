/** Facts that follow from the state and are kept nowhere: the window, the rotation in force. Pure. */
import type { ContextLimit, ModelSpec, RopeChoice, RopeScaling, SessionInfo } from "../../engine/api.ts";
import type { AttentionChoice } from "../../engine/attention/api.ts";
import type { AskPlan } from "../../engine/generate/api.ts";
import { F32_CACHE } from "../../engine/attention/wholeOnly.ts";
import { EngineError } from "../../engine/errors.ts";
import { cacheCapacity } from "../../engine/kv-cache/capacity.ts";
import { MAX_CHUNK_TOKENS } from "../../engine/models/chunkSizes.ts";
import { missingTokens } from "../../engine/pack/api.ts";
import { farthestSeen } from "../../engine/position/limits.ts";
import { requestLength, resolveRope } from "../../engine/position/choose.ts";
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
  const actual = engineFacts(state);
  const isAsAsked = state.askedRope === settings.rope && state.askedAttention === settings.attention;
  if (actual && isAsAsked) return { usedTokens, usedIs, reservedTokens, ...actual };
  try {
    const { spec } = engine.info;
    const attention = spec.kind === "decoder" ? settings.attention : undefined;
    const { limit, scaling } = resolveRope(
      settings.rope,
      spec,
      requestLength(settings.rope, spec, usedTokens + reservedTokens, attention),
      capacityUnder(engine.info, attention),
      attention,
    );
    return { usedTokens, usedIs, reservedTokens, limit, rope: scaling };
  } catch (error) {
    if (EngineError.is(error)) return { problem: `${error.message}; ${error.remedy}` };
    throw error;
  }
}

/** The window that a prompt was packed for, and what automatic scaling would reach where it is not chosen and reaches further. */
export interface PackWindow {
  limit: ContextLimit;
  widerTokens: number | undefined;
}

/**
 * Packing resolves the scaling for everything that wants to go in; the plan's own limit is the one for what was kept, which `auto` may choose
 * smaller. By the same resolution as the engine's. Undefined while no model is open.
 */
export function packWindow({ engine, settings }: State, { rows, promptTokens }: AskPlan): PackWindow | undefined {
  if (engine.status !== "ready" || !settings) return undefined;
  const { spec } = engine.info;
  const attention = spec.kind === "decoder" ? settings.attention : undefined;
  const leftOut = rows.reduce((sum, row) => sum + missingTokens(row), 0);
  const limitOf = (rope: RopeChoice): ContextLimit => {
    const length = requestLength(rope, spec, promptTokens + leftOut + settings.maxAnswerTokens, attention);
    return resolveRope(rope, spec, length, capacityUnder(engine.info, attention), attention).limit;
  };
  const limit = limitOf(settings.rope);
  const wider = limitOf({ kind: "auto" }).tokens;
  return { limit, widerTokens: wider > limit.tokens ? wider : undefined };
}

/** Tokens that the cache holds under a choice: one that evicts holds more than the session says of itself. */
function capacityUnder({ spec, backend, kv, capacityTokens }: SessionInfo, attention: AttentionChoice | undefined): number {
  if (spec.kind !== "decoder" || backend !== "wgsl" || farthestSeen(attention) === Infinity || attention === undefined)
    return capacityTokens;
  return cacheCapacity(spec, kv ?? F32_CACHE, attention, MAX_CHUNK_TOKENS, undefined);
}

/** The model that is open, if one is. */
export function openSpec(state: State): ModelSpec | undefined {
  return state.engine.status === "ready" ? state.engine.info.spec : undefined;
}

/** What the engine itself resolved for the prompt in its cache: `auto` leaves room for follow-ups and keeps a rotation that still reaches. */
function engineFacts({ live, runs, cachedRun, shownRun: shown }: State): Pick<WindowFacts, "limit" | "rope"> | undefined {
  if (live) return live.packed && { limit: live.packed.limit, rope: live.packed.rope };
  const result = cachedRun === shown ? runs.find((run) => run.id === cachedRun)?.result : undefined;
  return result && { limit: result.limit, rope: result.rope };
}

function promptTokens(state: State): Pick<WindowFacts, "usedTokens" | "usedIs"> {
  if (state.live?.packed) return { usedTokens: state.live.packed.promptTokens, usedIs: "this prompt" };
  const last = shownRun(state);
  if (last) return { usedTokens: last.result.promptTokens, usedIs: "the last prompt" };
  return { usedTokens: state.budget?.tokens ?? 0, usedIs: "the whole workspace" };
}
