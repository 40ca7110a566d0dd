/** The part of a run before the answer: as little as possible is computed, and what was is kept. */
import type { AttentionChoice } from "../attention/api.ts";
import { EngineError } from "../errors.ts";
import { SpanMap } from "../pack/spanMap.ts";
import type { OnEvent, PackedPrompt } from "./ask.ts";
import type { HeldTokens } from "./heldTokens.ts";
import { keptPrefix, type KeptPrefix } from "./keptPrefix.ts";
import type { PrefixPlace } from "./prefixPlace.ts";

/** Of a prompt's tokens, those that were not computed, and of these those that were restored. */
export interface Prefilled {
  reusedTokens: number;
  restoredTokens: number;
}

/** Tokens after which finished pages are taken out of the cache: about what a closed window loses. */
const SAVE_TOKENS = 1024;
/** The last piece may be longer, for a few tokens are not worth one of their own. A layer with a window keeps no fewer than these. */
export const LONGEST_PIECE_TOKENS = SAVE_TOKENS + SAVE_TOKENS / 2;
/** Tokens in front of the files and behind them belong to no path. */
const THE_QUESTION = "the question";
/** At most twenty events a second. */
export const EVENT_MS = 50;

/**
 * Makes the cache hold the prompt: what it holds already stays, what is kept beyond it is restored, the rest is computed. A stop keeps the
 * finished chunks.
 */
export async function prefill(
  engine: { held: HeldTokens; prefixes?: PrefixPlace | undefined },
  packed: PackedPrompt,
  attention: AttentionChoice | undefined,
  signal: AbortSignal,
  onEvent: OnEvent,
): Promise<Prefilled> {
  const { ids, rope, pack } = packed;
  const { runner } = engine.held;
  const heldTokens = engine.held.prepare(ids, rope.plan, attention);
  const prefix = await keptPrefix(engine.prefixes, runner, { ids, plan: rope.plan, attention });
  const spans = new SpanMap(pack.files);
  const report = throttle(EVENT_MS);
  let reusedTokens = heldTokens;
  let started = performance.now();
  const progress = (position: number, must = false): void => {
    if (!report(must || position === ids.length)) return;
    const seconds = (performance.now() - started) / 1000;
    const computed = position - reusedTokens;
    onEvent({
      type: "prefill",
      doneTokens: position,
      totalTokens: ids.length,
      reusedTokens,
      restoredTokens: Math.max(0, reusedTokens - heldTokens),
      path: spans.at(Math.min(position, ids.length - 1))?.path ?? THE_QUESTION,
      tokensPerSecond: computed > 0 && seconds > 0 ? computed / seconds : 0,
    });
  };
  const known = Math.max(heldTokens, (await prefix?.tokens()) ?? 0);
  if (tokensToReuse(attention, known, ids.length) === 0) runner.truncate(0);
  else
    await prefix?.restore(signal, (length) => {
      reusedTokens = length;
      progress(length);
    });
  reusedTokens = runner.length;
  started = performance.now();
  progress(reusedTokens, true);
  await compute(engine.held, ids, isRing(attention) ? "whole" : "pieces", prefix, signal, progress);
  return { reusedTokens, restoredTokens: Math.max(0, reusedTokens - heldTokens) };
}

/**
 * Tokens behind which a prefill begins, of those that are known already: all, but a ring reads a prompt from its beginning, so that they are worth
 * it only where they are most of the prompt.
 */
export function tokensToReuse(attention: AttentionChoice | undefined, knownTokens: number, promptTokens: number): number {
  return isRing(attention) && 2 * knownTokens < promptTokens ? 0 : knownTokens;
}

function isRing(attention: AttentionChoice | undefined): boolean {
  return attention?.policy.kind === "ring";
}

/** Appends the rest of the prompt, in pieces behind which pages are kept where they can be, or as a whole. */
async function compute(
  held: HeldTokens,
  ids: Int32Array,
  inParts: "whole" | "pieces",
  prefix: KeptPrefix | undefined,
  signal: AbortSignal,
  progress: (position: number) => void,
): Promise<void> {
  const { runner } = held;
  for (let begin = runner.length, end = begin; begin < ids.length; begin = end) {
    const pieceEnd = (Math.floor(begin / SAVE_TOKENS) + 1) * SAVE_TOKENS;
    const isLast = ids.length - pieceEnd < LONGEST_PIECE_TOKENS - SAVE_TOKENS;
    end = prefix === undefined || inParts === "whole" || isLast ? ids.length : pieceEnd;
    const options = { signal, moreFollows: end < ids.length, onProgress: progressFrom(begin, progress) };
    try {
      await runner.append(ids.subarray(begin, end), options);
    } catch (error) {
      if (EngineError.is(error, "aborted")) await prefix?.save();
      throw error;
    }
    await prefix?.save();
  }
}

function progressFrom(begin: number, progress: (position: number) => void): (doneTokens: number) => void {
  return (doneTokens) => progress(begin + doneTokens);
}

/** True at most once per interval, and whenever it must. */
export function throttle(intervalMs: number): (must: boolean) => boolean {
  let last = -Infinity;
  return (must) => {
    const now = performance.now();
    if (!must && now - last < intervalMs) return false;
    last = now;
    return true;
  };
}
