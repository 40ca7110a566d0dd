/** The panel's whole state as one value, and the only function that changes it. Pure: every effect is in playground.ts. */
import type { ContextLimit, RopeChoice, RopeScaling, SessionInfo } from "../../engine/api.ts";
import type { AttentionChoice, AttentionFacts } from "../../engine/attention/api.ts";
import type { AskEvent, AskPlan } from "../../engine/generate/api.ts";
import type { PlainError } from "../../engine/errors.ts";
import type { PackRow } from "../../engine/pack/api.ts";
import type { ColorScale } from "../heatmap/colormap.ts";
import type { Cell, HeatPicture, HeatWindow } from "../heatmap/model.ts";
import type { BudgetSnapshot, PanelSettings, PanelState, PanelTab, SavedRun } from "../protocol/panel.ts";
import { freshAnswerView, mergeRuns, reduceAnswerView, threadOf, turnsBefore } from "./answerView.ts";
import type { AnswerAction, AnswerView } from "./answerView.ts";
import type { AttentionDraft } from "./attentionDraft.ts";
import { reduceCheck } from "./answerCheck.ts";
import type { CheckAction, CheckState } from "./answerCheck.ts";
import { reduceAttentionPlan } from "./attentionPlan.ts";
import type { AttentionPlan, AttentionPlanAction } from "./attentionPlan.ts";
import type { HeadShade } from "./headShade.ts";
import { freshHeat, withoutPicture, zoomedOut } from "./heat.ts";
import { advancePreview, freshLab, reduceLab } from "./lab.ts";
import type { LabAction, LabState } from "./lab.ts";
import type { PromptPlan } from "./promptPlan.ts";
import type { RopeDraft } from "./ropeDraft.ts";
import { closedSheet, reduceSheet } from "./sheet.ts";
import type { SheetAction, SheetState } from "./sheet.ts";

export type Tab = PanelTab;
export type Chip = "model" | "backend" | "window" | "rope" | "attention";

export type EngineState =
  | { status: "starting"; stage: string; doneBytes: number; totalBytes: number }
  | { status: "ready"; info: SessionInfo }
  | { status: "failed"; error: PlainError };

/** A run from the question to its result; afterwards only the saved run remains. */
export interface LiveRun {
  id: string;
  question: string;
  phase: "listing" | "packing" | "prefill" | "answering";
  stopping: boolean;
  packing?: { doneFiles: number; totalFiles: number };
  packed?: { rows: readonly PackRow[]; promptTokens: number; limit: ContextLimit; rope: RopeScaling };
  prefill?: Omit<Extract<AskEvent, { type: "prefill" }>, "type">;
  text: string;
  /** The text is only the quote that leads at the moment; another one may replace it. */
  provisional: boolean;
  /** Why the engine started again in the middle, if it did. */
  recovered?: string;
}

/** A run that ended without a result: what it was about and why. */
export interface FailedRun {
  question: string;
  error: PlainError;
  /** Prompt tokens that were in the cache by then, of all. */
  doneTokens: number;
  totalTokens: number;
}

export interface HeatState {
  layer: number | "mean";
  head: number | "mean";
  scale: ColorScale;
  window: HeatWindow;
  /** Windows to go back to, outermost first. */
  outer: readonly HeatWindow[];
  /** Row -1 is the pinned row of the answer. */
  cursor: Cell;
  status: { kind: "idle" } | { kind: "pooling" } | { kind: "failed"; error: PlainError };
  picture: HeatPicture | undefined;
  /** One row: the mean over the answer's queries. */
  answerRow: HeatPicture | undefined;
  /** What each head did in the run whose keys are cached. */
  heads: AttentionFacts | undefined;
  /** What the heads are shaded by. */
  shade: HeadShade;
}

export interface State {
  tab: Tab;
  chip: Chip | undefined;
  question: string;
  budget: BudgetSnapshot | undefined;
  settings: PanelSettings | undefined;
  /** RoPE fields that cannot be read yet; undefined: as in the settings. */
  ropeDraft: RopeDraft | undefined;
  /** Fields of attention that cannot be read yet; undefined: as in the settings. */
  attentionDraft: AttentionDraft | undefined;
  /** Memory and time of a prompt in every way to attend. */
  attentionPlan: AttentionPlan;
  engine: EngineState;
  /** What the question that was typed last would cost; only while its key is that of now. */
  prompt: PromptPlan | undefined;
  /** What is off about the question that was asked last, before it is computed. */
  sheet: SheetState;
  live: LiveRun | undefined;
  /** The engine writes a reply for VS Code's chat; what is asked here waits for it. */
  replying: boolean;
  failed: FailedRun | undefined;
  runs: readonly SavedRun[];
  /** Runs of the conversation that a follow-up continues, oldest first. */
  thread: readonly string[];
  shownRun: string | undefined;
  /** What is kept about the answer on screen. */
  answer: AnswerView;
  /** The RoPE setting under which the last run was asked: while it is the current one, the run says what it came to. */
  askedRope: RopeChoice | undefined;
  /** The same for attention. */
  askedAttention: AttentionChoice | undefined;
  /** The run whose keys are in the engine's cache, so that its attention can be pooled. */
  cachedRun: string | undefined;
  /** The run whose context is in the engine's cache, under whichever scaling: what a preview answers again. */
  contextRun: string | undefined;
  lab: LabState;
  /** Of the last answer, by leaving out what it cites. */
  check: CheckState;
  heat: HeatState;
  /** One thing that went wrong beside a run, until it is dismissed. */
  notice: { message: string; remedy: string } | undefined;
}

export type Action =
  | { type: "tab"; tab: Tab }
  | { type: "chip"; chip: Chip | undefined }
  | { type: "question"; text: string }
  | { type: "budget"; budget: BudgetSnapshot }
  | { type: "settings"; settings: PanelSettings }
  | { type: "ropeDraft"; draft: RopeDraft }
  | { type: "attentionDraft"; draft: AttentionDraft }
  | { type: "promptPlanned"; key: string; plan: AskPlan }
  | { type: "promptPlanFailed"; key: string; problem: string }
  | { type: "engineStarting"; stage: string; doneBytes: number; totalBytes: number }
  | { type: "engineReady"; info: SessionInfo }
  | { type: "engineFailed"; error: PlainError }
  | { type: "runsListed"; runs: readonly SavedRun[] }
  | { type: "runStarted"; id: string; question: string }
  | { type: "runEvent"; runId: string; event: AskEvent }
  | { type: "runStopping" }
  | { type: "runFinished"; run: SavedRun }
  | { type: "runFailed"; runId: string; error: PlainError }
  | { type: "newQuestion" }
  /** The engine writes a reply that is no run of the panel: its cache holds no run's keys any more. */
  | { type: "replyStarted" }
  | { type: "replyEnded" }
  /** The conversation goes back to before this run, which is asked again. */
  | { type: "rewound"; runId: string }
  | { type: "runShown"; id: string }
  | { type: "runDeleted"; id: string }
  | { type: "heat"; change: Partial<Pick<HeatState, "layer" | "head" | "scale" | "cursor" | "shade">> }
  | { type: "heatZoomed"; window: HeatWindow }
  | { type: "heatZoomedOut" }
  | { type: "heatPooling" }
  | { type: "headsMeasured"; heads: AttentionFacts }
  | { type: "heatPooled"; picture: HeatPicture; answerRow: HeatPicture | undefined }
  | { type: "heatStopped" }
  | { type: "heatFailed"; error: PlainError }
  | { type: "notice"; notice: { message: string; remedy: string } | undefined }
  | AnswerAction
  | AttentionPlanAction
  | CheckAction
  | SheetAction
  | LabAction;

export function initialState(view: { tab: Tab; question: string }): State {
  return {
    ...view,
    chip: undefined,
    budget: undefined,
    settings: undefined,
    ropeDraft: undefined,
    attentionDraft: undefined,
    attentionPlan: { status: "idle" },
    prompt: undefined,
    sheet: closedSheet,
    engine: { status: "starting", stage: "starting", doneBytes: 0, totalBytes: 0 },
    live: undefined,
    replying: false,
    failed: undefined,
    runs: [],
    thread: [],
    shownRun: undefined,
    answer: freshAnswerView,
    askedRope: undefined,
    askedAttention: undefined,
    cachedRun: undefined,
    contextRun: undefined,
    lab: freshLab,
    check: { status: "idle" },
    heat: freshHeat({ layer: "mean", head: "mean", scale: "log" }, 1),
    notice: undefined,
  };
}

export function reduce(state: State, action: Action): State {
  const sheet = reduceSheet(state.sheet, action);
  return reduceRest(sheet === state.sheet ? state : { ...state, sheet }, action);
}

function reduceRest(state: State, action: Action): State {
  switch (action.type) {
    case "tab":
      return { ...state, tab: action.tab };
    case "chip":
      return { ...state, chip: state.chip === action.chip ? undefined : action.chip };
    case "question":
      return { ...state, question: action.text };
    case "sheetChecking":
      return { ...state, failed: undefined };
    case "budget":
      return (state.budget?.revision ?? -1) > action.budget.revision ? state : { ...state, budget: action.budget };
    case "settings":
      return { ...state, settings: action.settings, ropeDraft: undefined, attentionDraft: undefined };
    case "ropeDraft":
      return { ...state, ropeDraft: action.draft };
    case "attentionDraft":
      return { ...state, attentionDraft: action.draft };
    case "attentionPlanStarted":
    case "attentionPlanReady":
    case "attentionPlanFailed":
      return { ...state, attentionPlan: reduceAttentionPlan(state.attentionPlan, action) };
    case "sheetShown":
    case "sheetClosed":
    case "sheetAccepted":
      return state;
    case "promptPlanned":
      return { ...state, prompt: { key: action.key, plan: action.plan } };
    case "promptPlanFailed":
      return { ...state, prompt: { key: action.key, problem: action.problem } };
    case "engineStarting":
      return { ...withoutCache(state), attentionPlan: { status: "idle" }, engine: { ...action, status: "starting" } };
    case "engineReady":
      return { ...state, engine: { status: "ready", info: action.info } };
    case "engineFailed":
      return {
        ...endLive(state, action.error),
        engine: { status: "failed", error: action.error },
        cachedRun: undefined,
        contextRun: undefined,
      };
    case "runsListed":
      return { ...state, runs: mergeRuns(action.runs, state.runs) };
    case "runStarted":
      return {
        ...withoutCache(state),
        lab: keptPreview(state.lab, action.question),
        check: { status: "idle" },
        live: { id: action.id, question: action.question, phase: "listing", stopping: false, text: "", provisional: false },
        failed: undefined,
        thread: askedAfter(state),
        answer: freshAnswerView,
        askedRope: state.settings?.rope,
        askedAttention: state.settings?.attention,
      };
    case "runEvent": {
      if (state.live?.id === action.runId) return { ...state, live: advance(state.live, action.event) };
      const lab = advancePreview(state.lab, action.runId, action.event);
      return lab ? { ...state, lab } : state;
    }
    case "runStopping":
      return state.live ? { ...state, live: { ...state.live, stopping: true } } : state;
    case "runFinished":
      return finish(state, action.run);
    case "runFailed":
      return state.live?.id === action.runId ? endLive(state, action.error) : state;
    case "replyStarted":
      return { ...withoutCache(state), replying: true };
    case "replyEnded":
      return { ...state, replying: false };
    case "newQuestion":
      return { ...state, thread: [], shownRun: undefined, answer: freshAnswerView, failed: undefined, question: "" };
    case "rewound":
      return { ...state, thread: state.thread.slice(0, Math.max(0, state.thread.indexOf(action.runId))) };
    case "runShown":
      return show(state, action.id);
    case "runDeleted":
      return withoutRun(state, action.id);
    case "editStarted":
      return {
        ...state,
        question: state.runs.find(({ id }) => id === action.runId)?.result.question ?? state.question,
        answer: reduceAnswerView(state.answer, action),
      };
    case "editCancelled":
      return { ...state, question: "", answer: reduceAnswerView(state.answer, action) };
    case "citationShown":
    case "noted":
      return { ...state, answer: reduceAnswerView(state.answer, action) };
    case "heat":
      return { ...state, heat: { ...state.heat, ...action.change } };
    case "heatZoomed":
      return {
        ...state,
        heat: {
          ...state.heat,
          window: action.window,
          outer: [...state.heat.outer, state.heat.window],
          cursor: { row: 0, column: 0 },
        },
      };
    case "heatZoomedOut":
      return { ...state, heat: zoomedOut(state.heat) };
    case "heatPooling":
      return { ...state, heat: { ...state.heat, status: { kind: "pooling" } } };
    case "heatPooled":
      return {
        ...state,
        heat: { ...state.heat, status: { kind: "idle" }, picture: action.picture, answerRow: action.answerRow },
      };
    case "headsMeasured":
      return { ...state, heat: { ...state.heat, heads: action.heads } };
    case "heatStopped":
      return { ...state, heat: { ...state.heat, status: { kind: "idle" } } };
    case "heatFailed":
      return { ...state, heat: { ...state.heat, status: { kind: "failed", error: action.error } } };
    case "notice":
      return { ...state, notice: action.notice };
    // Turned keys are not what the run computed, so its attention cannot be pooled any more; a search leaves no context at all.
    case "previewStarted":
      return { ...withoutCache(state), contextRun: state.contextRun, lab: reduceLab(state.lab, action) };
    case "checkStarted":
      return { ...withoutCache(state), contextRun: state.contextRun, check: reduceCheck(state.check, action) };
    // A check that did not come to its end leaves a prompt in the cache that nobody asked.
    case "checkFailed":
      return { ...state, contextRun: undefined, check: reduceCheck(state.check, action) };
    case "checkEvent":
    case "checkStopping":
      return { ...state, check: reduceCheck(state.check, action) };
    case "checkReady":
      return checked(state, action);
    case "searchStarted":
      return { ...withoutCache(state), lab: reduceLab(state.lab, action) };
    case "previewReady":
    case "previewFailed":
    case "searchForm":
    case "searchLoaded":
    case "searchEvent":
    case "searchStopping":
    case "searchEnded":
    case "searchFailed":
      return { ...state, lab: reduceLab(state.lab, action) };
  }
}

/** The run on screen when none is going on: the chosen one, if it exists. */
export function shownRun(state: State): SavedRun | undefined {
  return state.runs.find((run) => run.id === state.shownRun);
}

/** Turns that the next question goes on from: all, or those in front of the one that is edited. */
export function askedAfter({ thread, answer }: State): readonly string[] {
  return answer.editing === undefined ? thread : turnsBefore(thread, answer.editing);
}

/** Earlier turns for the next question, oldest first. */
export function threadHistory(state: State): { question: string; answer: string }[] {
  return askedAfter(state).flatMap((id) => {
    const run = state.runs.find((candidate) => candidate.id === id);
    return run ? [{ question: run.result.question, answer: run.result.answer }] : [];
  });
}

/** Whether two conversations said the same. */
export function sameTurns(
  a: readonly { question: string; answer: string }[],
  b: readonly { question: string; answer: string }[],
): boolean {
  return a.length === b.length && a.every(({ question, answer }, i) => question === b[i]?.question && answer === b[i].answer);
}

/** What the engine does now, of which it does one thing at a time; undefined where it is free. */
export function busyWith({ live, lab, check, sheet }: State): "answering" | "previewing" | "searching" | "checking" | undefined {
  if (live || sheet.status === "checking") return "answering";
  if (check.status === "running") return "checking";
  if (lab.preview.status === "running") return "previewing";
  return lab.search.status.kind === "running" ? "searching" : undefined;
}

/** What the host is told on "panel/state". */
export function panelState(state: State): PanelState {
  const phase = state.live?.phase;
  return {
    engine: state.engine.status,
    run: phase === undefined ? "idle" : phase === "listing" ? "packing" : phase,
    backend: state.engine.status === "ready" ? state.engine.info.backend : "",
    runs: state.runs.length,
  };
}

export interface Store {
  readonly state: State;
  dispatch(action: Action): void;
  subscribe(listener: () => void): void;
}

export function createStore(first: State): Store {
  let state = first;
  const listeners = new Set<() => void>();
  return {
    get state() {
      return state;
    },
    dispatch(action) {
      const next = reduce(state, action);
      if (next === state) return;
      state = next;
      for (const listener of listeners) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
    },
  };
}

function advance(live: LiveRun, event: AskEvent): LiveRun {
  switch (event.type) {
    case "packing":
      return { ...live, phase: "packing", packing: { doneFiles: event.doneFiles, totalFiles: event.totalFiles } };
    case "packed":
      return { ...live, phase: "prefill", packed: event };
    case "prefill":
      return { ...live, phase: "prefill", prefill: event };
    case "token":
      return { ...live, phase: "answering", text: live.text + event.text };
    case "candidate":
      return { ...live, phase: "answering", text: event.text, provisional: true };
    case "recovered":
      return { ...live, recovered: event.because, text: "" };
  }
}

/** A finished run replaces the live one, joins the conversation, and its keys are the ones in the cache. */
function finish(state: State, run: SavedRun): State {
  return {
    ...state,
    live: undefined,
    question: "",
    runs: mergeRuns(state.runs, [run]),
    thread: [...state.thread, run.id],
    shownRun: run.id,
    answer: freshAnswerView,
    cachedRun: run.id,
    contextRun: run.id,
    heat: freshHeat(state.heat, run.result.answerStart, run.result.attentionFrom),
  };
}

/** A check that came to its end read the run's own prompt and answer last: the keys are in the cache again, to be inspected. */
function checked(state: State, action: Extract<Action, { type: "checkReady" }>): State {
  const check = reduceCheck(state.check, action);
  const run = check !== state.check && "runId" in check ? state.runs.find(({ id }) => id === check.runId) : undefined;
  if (!run) return { ...state, check };
  return { ...state, check, cachedRun: run.id, heat: freshHeat(state.heat, run.result.answerStart, action.check.attentionFrom) };
}

/** A saved run with the conversation that led to it, which a follow-up continues. */
function show(state: State, id: string): State {
  const run = state.runs.find((candidate) => candidate.id === id);
  if (!run) return state;
  return { ...state, shownRun: id, thread: threadOf(run, state.runs), answer: freshAnswerView, failed: undefined };
}

/** Whatever was about a deleted run goes with it. Its keys stay in the engine's cache, where a next prompt may find them. */
function withoutRun(state: State, id: string): State {
  const kept = (other: string | undefined): string | undefined => (other === id ? undefined : other);
  const { cachedRun, shownRun: shown, answer } = state;
  return {
    ...state,
    runs: state.runs.filter((run) => run.id !== id),
    thread: state.thread.filter((turn) => turn !== id),
    shownRun: kept(shown),
    answer: shown === id || answer.editing === id ? freshAnswerView : answer,
    cachedRun: kept(cachedRun),
    contextRun: kept(state.contextRun),
    heat: cachedRun === id ? withoutPicture(state.heat) : state.heat,
  };
}

function endLive(state: State, error: PlainError): State {
  const { live } = state;
  if (!live) return state;
  const { doneTokens = 0, totalTokens = 0 } = live.prefill ?? {};
  return {
    ...state,
    live: undefined,
    question: live.question,
    failed: { question: live.question, error, doneTokens, totalTokens },
  };
}

/** Nothing that was computed is in the engine's cache any more. */
function withoutCache(state: State): State {
  return { ...state, cachedRun: undefined, contextRun: undefined, heat: withoutPicture(state.heat) };
}

/** A preview stays beside the exact answer to the same question. */
function keptPreview(lab: LabState, question: string): LabState {
  const { preview } = lab;
  return preview.status === "ready" && preview.preview.question === question ? lab : { ...lab, preview: { status: "idle" } };
}
