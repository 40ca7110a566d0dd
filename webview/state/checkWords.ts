/** The check of an answer in words: whether it can begin, and what came of it. Pure. */
import { DEPENDS_AT_MOST, HARDLY_AT_LEAST } from "../../engine/generate/api.ts";
import type { AnswerCheck } from "../../engine/generate/api.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { busyWith } from "./store.ts";
import type { State } from "./store.ts";
import { percent, plural } from "./words.ts";

/** Whether the check can begin now, and if not, why. */
export function startable(run: SavedRun, state: State): { disabled: boolean; title: string } {
  if (busyWith(state) !== undefined) return { disabled: true, title: "The engine is busy; stop what it does, or wait" };
  if (state.contextRun !== run.id)
    return {
      disabled: true,
      title: "Ask the question again: only the answer whose files are in the engine's cache can be checked",
    };
  return {
    disabled: false,
    title: "Scores this answer again with the cited lines left out of the prompt; the prompt is read anew from there on, twice",
  };
}

/** Both probabilities, what follows from them, and from which thresholds on. */
export function checkText({ leftOut, answerTokens, withLines, withoutLines, verdict }: AnswerCheck): string {
  const what = leftOut.every(({ startLine }) => startLine > 0) ? "these lines" : "the cited places";
  const follows = {
    depends: `the answer depends on them (at most ${percent(DEPENDS_AT_MOST)} as probable without)`,
    partly: `the answer depends on them in part (between ${percent(DEPENDS_AT_MOST)} and ${percent(HARDLY_AT_LEAST)} as probable without)`,
    hardly: `the answer hardly depends on them (at least ${percent(HARDLY_AT_LEAST)} as probable without)`,
  }[verdict];
  return `With ${what}: ${probability(withLines)} per token; without: ${probability(withoutLines)}: ${follows}. Geometric mean over ${plural(answerTokens, "token")}, ${plural(leftOut.length, "place")} left out.`;
}

function probability(value: number): string {
  return value >= 0.005 ? value.toFixed(2) : value === 0 ? "0" : value.toExponential(0);
}
