/** What the panel keeps about the answer on screen beside the run itself: the turn that is edited, the citation that is open, a note. Pure. */
import type { Citation } from "../../engine/generate/api.ts";
import type { CitedLines, SavedRun } from "../protocol/panel.ts";

export interface AnswerView {
  /** The turn whose place the next question takes; the conversation is cut in front of it. */
  editing: string | undefined;
  /** Index of the citation that is shown in the editor. */
  citation: number | undefined;
  /** What the last action on the answer came to. */
  note: string | undefined;
}

export type AnswerAction =
  | { type: "editStarted"; runId: string }
  | { type: "editCancelled" }
  | { type: "citationShown"; index: number }
  | { type: "noted"; note: string | undefined };

export const freshAnswerView: AnswerView = { editing: undefined, citation: undefined, note: undefined };

export function reduceAnswerView(view: AnswerView, action: AnswerAction): AnswerView {
  switch (action.type) {
    case "editStarted":
      return { ...view, editing: action.runId, note: undefined };
    case "editCancelled":
      return { ...view, editing: undefined };
    case "citationShown":
      return { ...view, citation: action.index };
    case "noted":
      return { ...view, note: action.note };
  }
}

/** The conversation in front of a run; all of it where the run is none of its turns. */
export function turnsBefore(thread: readonly string[], runId: string): readonly string[] {
  const at = thread.indexOf(runId);
  return at < 0 ? thread : thread.slice(0, at);
}

/** The conversation that a saved run ended, oldest first, without the turns that were deleted since. */
export function threadOf(run: SavedRun, runs: readonly SavedRun[]): string[] {
  const known = new Set(runs.map(({ id }) => id));
  return [...(run.earlier ?? []).filter((id) => known.has(id)), run.id];
}

/** Runs of both by the time they were asked; of one that is in both, the later. */
export function mergeRuns(earlier: readonly SavedRun[], later: readonly SavedRun[]): SavedRun[] {
  const byId = new Map([...earlier, ...later].map((run) => [run.id, run]));
  return [...byId.values()].sort((a, b) => a.askedAt.localeCompare(b.askedAt));
}

/** Editors that one click opens at most. */
export const MAX_OPENED_FILES = 10;

/** Verified citations by file in the order of their first one, and how many files are beyond the limit. */
export function filesToOpen(citations: readonly Citation[]): {
  files: { path: string; lines: CitedLines[] }[];
  leftFiles: number;
} {
  const linesOf = new Map<string, CitedLines[]>();
  for (const { path, startLine, endLine, verified } of citations) {
    if (!verified) continue;
    const lines = linesOf.get(path) ?? [];
    if (!lines.some((other) => other.startLine === startLine && other.endLine === endLine)) lines.push({ startLine, endLine });
    linesOf.set(path, lines);
  }
  const files = [...linesOf].map(([path, lines]) => ({ path, lines }));
  return { files: files.slice(0, MAX_OPENED_FILES), leftFiles: Math.max(0, files.length - MAX_OPENED_FILES) };
}

/** The citation after the open one, or before it, counted round among those whose lines are known; undefined where there is none. */
export function stepped(citations: readonly Citation[], open: number | undefined, step: 1 | -1): number | undefined {
  const indices = citations.flatMap(({ verified }, index) => (verified ? [index] : []));
  if (indices.length === 0) return undefined;
  const at = open === undefined ? -1 : indices.indexOf(open);
  const next = at < 0 ? (step > 0 ? 0 : indices.length - 1) : (at + step + indices.length) % indices.length;
  return indices[next];
}

/** What is inserted into an editor: the quote that is open, else the first one, else the answer; undefined where there is nothing. */
export function insertion({ result }: SavedRun, open: number | undefined): { text: string; what: string } | undefined {
  if (result.absent) return undefined;
  const chosen = open === undefined ? undefined : result.citations[open];
  const quoted = chosen?.verified ? chosen : result.citations.find(({ verified }) => verified);
  if (quoted) return { text: quoted.quote, what: `the quote of ${quoted.path}:${quoted.startLine}` };
  return result.answer === "" ? undefined : { text: result.answer, what: "the answer" };
}
