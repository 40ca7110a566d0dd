import { CUT_TOKENS, type DecoderSpec, type PositionPlan } from "../api.ts";
import type { AttentionChoice, KeptMass, Pattern } from "../attention/api.ts";
import { gatherKept, keptShare } from "../attention/patterns/keptMass.ts";
import { ESTIMATE_CHUNK_TOKENS } from "../attention/patterns/minference.ts";
import { checkTopPages, choosesPages } from "../attention/patterns/quest.ts";
import { checkAttention, formatAttention } from "../attention/policy.ts";
import { canEvict, sinksPlan } from "../position/sinks.ts";
import { attentionRow, type ScoredLayer } from "./attend.ts";
import type { PatternOf } from "./decoder.ts";
import { patternChooser, type ChunkOfQueries } from "./choosePattern.ts";

/** Every so many queries of a prompt, and the last of each chunk, are also attended exactly, to tell what the pattern keeps. */
const SAMPLE_STRIDE = 16;

/** How a reference runner attends now, and what each cached token saw. */
export interface Attending {
  /** Throws `bad-argument` for a choice without sense; false where what is cached was made under another one and has to go. */
  set(next: AttentionChoice): boolean;
  /** The plan with eviction where the policy evicts and the plan lets it. */
  planFor(asked: PositionPlan): PositionPlan;
  /** A new append, or one that goes on with the prompt of the one before. Throws `bad-argument` where the policy evicts and the plan does not let it. */
  begin(asked: PositionPlan, isDecoding: boolean, goesOn: boolean): void;
  /** Most tokens that are taken at once behind `length`. */
  room(length: number): number;
  /** What a chunk sees in one layer; chosen, measured and remembered. */
  readonly pattern: PatternOf;
  /** What the query at a position saw in one layer. */
  seen(layer: number, position: number): Pattern | undefined;
  /** Forgets everything from `lengthTokens` on. */
  cut(lengthTokens: number): void;
  /** Of the last prompt and what was decoded behind it; undefined where nothing was left out. */
  readonly keptMass: KeptMass | undefined;
}

export function openAttending(spec: DecoderSpec, first: AttentionChoice): Attending {
  check(first);
  let choice = first;
  let choosePattern = patternChooser(choice, spec);
  let isDecoding = false;
  let kept = gatherKept();
  /** Rising; a chunk ends where the next begins. */
  let chunks: { start: number; isDecoding: boolean; patterns: (Pattern | undefined)[] }[] = [];

  function check(next: AttentionChoice): void {
    checkAttention(next);
    checkTopPages(spec, next);
  }

  function measure(layer: number, scored: ScoredLayer, pattern: Pattern, { start, tokens }: ChunkOfQueries): void {
    for (let token = 0; token < tokens; token++) {
      if ((start + token + 1) % SAMPLE_STRIDE !== 0 && token + 1 < tokens) continue;
      for (let head = 0; head < spec.headCount; head++) {
        kept.add(layer, head, keptShare(pattern, head, attentionRow(scored, spec, token, head, start + token)));
      }
    }
  }

  return {
    set(next) {
      check(next);
      const hasDecoded = chunks.some((chunk) => chunk.isDecoding);
      const keeps = cachedAs(next) === cachedAs(choice) && (next.topPages === choice.topPages || !hasDecoded);
      choice = next;
      choosePattern = patternChooser(choice, spec);
      return keeps;
    },
    planFor(asked) {
      const { policy } = choice;
      return policy.kind === "sinks" && canEvict(asked) ? sinksPlan(asked, policy.sinks, policy.window) : asked;
    },
    begin(asked, isOne, goesOn) {
      const { policy } = choice;
      if (policy.kind === "sinks") sinksPlan(asked, policy.sinks, policy.window);
      isDecoding = isOne && !goesOn;
      if (!isDecoding && !goesOn) kept = gatherKept();
    },
    room(length) {
      const isByContent = ["vertical-slash", "blocks", "minference"].includes(choice.policy.kind);
      const border = isByContent ? ESTIMATE_CHUNK_TOKENS : CUT_TOKENS;
      return border - (length % border);
    },
    pattern: (layer, scored, start, tokens) => {
      const chunk = { start, tokens, isDecoding };
      const readsAll = isDecoding && choice.topPages !== undefined && !choosesPages(spec, layer);
      const pattern = readsAll ? undefined : choosePattern(scored, chunk);
      if (pattern !== undefined && (!isDecoding || choice.topPages !== undefined)) measure(layer, scored, pattern, chunk);
      if (chunks.at(-1)?.start !== start) chunks.push({ start, isDecoding, patterns: [] });
      chunks[chunks.length - 1].patterns[layer] = pattern;
      return pattern;
    },
    seen: (layer, position) => chunks.findLast(({ start }) => start <= position)?.patterns[layer],
    cut(lengthTokens) {
      chunks = chunks.filter(({ start }) => start < lengthTokens);
    },
    get keptMass() {
      return kept.summary();
    },
  };
}

/** Equal iff two choices compute the same numbers for a prompt: here, what only reads keys in another order is flash. */
function cachedAs({ policy }: AttentionChoice): string {
  const isWhole = ["dense", "flash", "flash3", "ring", "stream"].includes(policy.kind);
  return isWhole ? "whole" : formatAttention({ policy });
}
