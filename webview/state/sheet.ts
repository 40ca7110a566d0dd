/** What is off about a question before anything is computed, what can be done about it, and what the user has accepted already. Pure. */
import type { ContextLimit, SessionInfo } from "../../engine/api.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import type { AskPlan } from "../../engine/generate/api.ts";
import { missingRows, missingTokens, type PackRow } from "../../engine/pack/api.ts";
import type { PackWindow } from "./derived.ts";
import type { PanelSettings, SavedRun, SuspectedSecret } from "../protocol/panel.ts";
import type { Action } from "./store.ts";

/** Everything the decision rests on. */
export interface AskFacts {
  plan: AskPlan;
  /** Tokens that stay free for the answer. */
  maxAnswerTokens: number;
  /** In the files that go in. */
  secrets: readonly SuspectedSecret[];
  /** Of reading what is not cached; undefined where nothing was measured. */
  estimate: PrefillEstimate | undefined;
  /** From how many seconds on the user wants to be asked; 0: never. */
  coldPrefixSeconds: number;
  /** What it was packed for. */
  window: PackWindow;
  accepted: Accepted;
}

export interface PrefillEstimate {
  seconds: number;
  because: "the last question" | "a measurement";
}

/** What the user said to go on with; it is not asked again. */
export interface Accepted {
  /** As `secretKey` writes them. */
  secrets: readonly string[];
  /** The limit that was too small, in this conversation. */
  overLimitTokens: number | undefined;
  /** Computing the prefix of the question that is being asked. */
  cold: boolean;
}

export type SheetChoice = "ask" | "leave-out" | "fit" | "widen" | "cancel";

export interface Sheet {
  /** Present where not every file fits. */
  overBudget?: {
    /** Files that would not go in, or only in part; the most missing tokens first. */
    leftOut: readonly PackRow[];
    /** Files in all. */
    files: number;
    /** What everything, with the question and the answer, needs beyond the limit. */
    overTokens: number;
    limit: ContextLimit;
    /** For a fit: what of the limit is not for files. */
    reserveTokens: number;
    widerTokens: number | undefined;
  };
  secrets?: { found: readonly SuspectedSecret[]; paths: readonly string[] };
  cold?: PrefillEstimate & { recomputedTokens: number; promptTokens: number };
  /** What Enter does is the first. */
  choices: readonly SheetChoice[];
}

export type SheetState = { accepted: Accepted } & (
  | { status: "closed" }
  | { status: "checking"; question: string }
  /** `without` are the files that are left out of this question already. */
  | { status: "shown"; question: string; without: readonly string[]; sheet: Sheet }
);

export type SheetAction =
  | { type: "sheetChecking"; question: string }
  | { type: "sheetShown"; question: string; without: readonly string[]; sheet: Sheet }
  | { type: "sheetClosed" }
  /** What the sheet says is accepted, but for the secrets where their files are left out. */
  | { type: "sheetAccepted"; secrets: boolean };

export const closedSheet: SheetState = {
  status: "closed",
  accepted: { secrets: [], overLimitTokens: undefined, cold: false },
};

/** The sheet for a question; undefined where nothing is off, so that it is asked at once. */
export function sheetFor(facts: AskFacts): Sheet | undefined {
  const overBudget = overBudgetOf(facts);
  const secrets = secretsOf(facts);
  const cold = coldOf(facts);
  if (!overBudget && !secrets && !cold) return undefined;
  const included = facts.plan.rows.filter((row) => row.included).length;
  const choices: SheetChoice[] = [
    ...(secrets && secrets.paths.length < included ? (["leave-out"] as const) : []),
    "ask",
    ...(overBudget ? (["fit"] as const) : []),
    ...(overBudget?.widerTokens === undefined ? [] : (["widen"] as const)),
    "cancel",
  ];
  return { ...(overBudget && { overBudget }), ...(secrets && { secrets }), ...(cold && { cold }), choices };
}

/** An earlier question's sheet goes when another one is typed; what was accepted of its window goes with the conversation. */
export function reduceSheet(state: SheetState, action: Action): SheetState {
  const { accepted } = state;
  switch (action.type) {
    case "sheetChecking":
      return { status: "checking", question: action.question, accepted };
    case "sheetShown": {
      const { question, without, sheet } = action;
      return { status: "shown", question, without, sheet, accepted };
    }
    case "sheetClosed":
      return { status: "closed", accepted: { ...accepted, cold: false } };
    case "sheetAccepted":
      return state.status === "shown" ? { ...state, accepted: acceptedWith(accepted, state.sheet, action.secrets) } : state;
    case "question":
      return state.status === "shown" && action.text.trim() !== state.question ? { status: "closed", accepted } : state;
    case "newQuestion":
    case "runShown":
    case "engineStarting": {
      const forgotten = { ...accepted, overLimitTokens: undefined };
      return state.status === "shown" ? { status: "closed", accepted: forgotten } : { ...state, accepted: forgotten };
    }
    default:
      return state;
  }
}

/** Seconds to read `plan.recomputedTokens`, by the newest run that this engine read in the same way; undefined where there is none. */
export function estimateByRuns(
  plan: AskPlan,
  runs: readonly SavedRun[],
  info: Pick<SessionInfo, "model" | "backend" | "device">,
  { attention }: Pick<PanelSettings, "attention">,
): PrefillEstimate | undefined {
  const asNow = formatAttention(attention);
  const alike = runs.filter(({ settings, result }) => {
    const sameEngine = settings?.model === info.model && result.backend === info.backend && result.device === info.device;
    const sameWay = result.attention === undefined || formatAttention(result.attention) === asNow;
    return sameEngine && sameWay && computedTokens(result) >= LEAST_MEASURED_TOKENS && result.timings.prefillMs > 0;
  });
  const last = alike.at(-1)?.result;
  if (!last) return undefined;
  const seconds = (plan.recomputedTokens * last.timings.prefillMs) / 1000 / computedTokens(last);
  return { seconds, because: "the last question" };
}

/** Names a finding for as long as it stands where it does. */
export function secretKey({ path, line, rule }: SuspectedSecret): string {
  return `${path}:${line} ${rule}`;
}

/** A shorter prefill measures what surrounds it. */
const LEAST_MEASURED_TOKENS = 256;

function computedTokens({ promptTokens, reusedTokens }: SavedRun["result"]): number {
  return promptTokens - reusedTokens;
}

function overBudgetOf({ plan, maxAnswerTokens, window, accepted }: AskFacts): Sheet["overBudget"] {
  const { rows, promptTokens } = plan;
  const { limit, widerTokens } = window;
  const leftOut = missingRows(rows);
  if (leftOut.length === 0 || accepted.overLimitTokens === limit.tokens) return undefined;
  const included = rows.reduce((sum, row) => sum + (row.included ? row.tokens : 0), 0);
  const missing = leftOut.reduce((sum, row) => sum + missingTokens(row), 0);
  return {
    leftOut: leftOut.sort((a, b) => missingTokens(b) - missingTokens(a)),
    files: rows.length,
    overTokens: Math.max(0, promptTokens + missing + maxAnswerTokens - limit.tokens),
    limit,
    reserveTokens: promptTokens - included + maxAnswerTokens,
    widerTokens,
  };
}

function secretsOf({ secrets, accepted }: AskFacts): Sheet["secrets"] {
  const found = secrets.filter((secret) => !accepted.secrets.includes(secretKey(secret)));
  return found.length === 0 ? undefined : { found, paths: [...new Set(found.map(({ path }) => path))] };
}

function coldOf({ plan, estimate, coldPrefixSeconds, accepted }: AskFacts): Sheet["cold"] {
  if (accepted.cold || coldPrefixSeconds === 0 || !estimate || estimate.seconds <= coldPrefixSeconds) return undefined;
  const { recomputedTokens, promptTokens } = plan;
  return { ...estimate, recomputedTokens, promptTokens };
}

function acceptedWith(before: Accepted, { overBudget, secrets, cold }: Sheet, andSecrets: boolean): Accepted {
  return {
    secrets: andSecrets && secrets ? [...before.secrets, ...secrets.found.map(secretKey)] : before.secrets,
    overLimitTokens: overBudget?.limit.tokens ?? before.overLimitTokens,
    cold: before.cold || cold !== undefined,
  };
}
