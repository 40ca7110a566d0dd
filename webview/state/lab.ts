/** State of the RoPE lab beside its fields: a preview of the last answer, and LongRoPE's search. Pure. */
import type { DecoderSpec, RopeScaling } from "../../engine/api.ts";
import type { AskEvent } from "../../engine/generate/api.ts";
import type { PlainError } from "../../engine/errors.ts";
import type {
  RopePreview,
  RopeSearchEvent,
  RopeSearchProgress,
  RopeSearchRequest,
  RopeSearchResult,
  RopeSearchState,
} from "../../engine/eval/api.ts";
import { trainedLength } from "../../engine/position/scaling.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { bestOf, divisorsOf, searchedScaling, searchOfSize } from "../../engine/position/search.ts";

export type PreviewState =
  | { status: "idle" }
  | { status: "running"; id: string; runId: string; phase: "turning keys" | "reading the question" | "answering"; text: string }
  | { status: "ready"; runId: string; preview: RopePreview }
  | { status: "failed"; error: PlainError };

/** Text per field, as typed. */
export interface SearchForm {
  targetTokens: string;
  documents: string;
  population: string;
  iterations: string;
}

export interface SearchView {
  /** Undefined: as the model suggests. */
  form: SearchForm | undefined;
  status:
    | { kind: "idle" }
    | { kind: "running"; id: string; stopping: boolean; doing: string; fraction: number }
    | { kind: "failed"; error: PlainError };
  /** Of the search that is going on. */
  progress: RopeSearchProgress | undefined;
  /** What can be gone on with, or used. */
  saved: RopeSearchState | undefined;
}

export interface LabState {
  preview: PreviewState;
  search: SearchView;
}

export type LabAction =
  | { type: "previewStarted"; id: string; runId: string }
  | { type: "previewReady"; id: string; preview: RopePreview }
  | { type: "previewFailed"; id: string; error: PlainError }
  | { type: "searchForm"; form: SearchForm }
  | { type: "searchLoaded"; saved: RopeSearchState | undefined }
  | { type: "searchStarted"; id: string }
  | { type: "searchEvent"; searchId: string; event: RopeSearchEvent }
  | { type: "searchStopping" }
  | { type: "searchEnded"; id: string; result: RopeSearchResult }
  | { type: "searchFailed"; id: string; error: PlainError };

export const freshLab: LabState = {
  preview: { status: "idle" },
  search: { form: undefined, status: { kind: "idle" }, progress: undefined, saved: undefined },
};

export function reduceLab(lab: LabState, action: LabAction): LabState {
  const search = (change: Partial<SearchView>): LabState => ({ ...lab, search: { ...lab.search, ...change } });
  const { status } = lab.search;
  switch (action.type) {
    case "previewStarted":
      return { ...lab, preview: { ...action, status: "running", phase: "turning keys", text: "" } };
    case "previewReady":
      if (!isPreview(lab, action.id)) return lab;
      return { ...lab, preview: { status: "ready", runId: lab.preview.runId, preview: action.preview } };
    case "previewFailed":
      if (!isPreview(lab, action.id)) return lab;
      return {
        ...lab,
        preview: action.error.code === "aborted" ? { status: "idle" } : { status: "failed", error: action.error },
      };
    case "searchForm":
      return search({ form: action.form });
    case "searchLoaded":
      return search({ saved: action.saved, form: action.saved && formOf(action.saved) });
    case "searchStarted":
      return search({
        status: { kind: "running", id: action.id, stopping: false, doing: "reading the files", fraction: 0 },
        progress: undefined,
      });
    case "searchStopping":
      return status.kind === "running" ? search({ status: { ...status, stopping: true } }) : lab;
    case "searchEvent":
      if (status.kind !== "running" || status.id !== action.searchId) return lab;
      return search(advanceSearch(status, action.event));
    case "searchEnded":
      return isSearch(lab, action.id) ? search({ status: { kind: "idle" }, saved: action.result.state }) : lab;
    case "searchFailed": {
      if (!isSearch(lab, action.id)) return lab;
      return search({ status: action.error.code === "aborted" ? { kind: "idle" } : { kind: "failed", error: action.error } });
    }
  }
}

/** What streams while a preview answers; undefined where the run is no preview. */
export function advancePreview(lab: LabState, runId: string, event: AskEvent): LabState | undefined {
  const { preview } = lab;
  if (preview.status !== "running" || preview.id !== runId) return undefined;
  switch (event.type) {
    case "prefill":
      return { ...lab, preview: { ...preview, phase: "reading the question" } };
    case "token":
      return { ...lab, preview: { ...preview, phase: "answering", text: preview.text + event.text } };
    case "candidate":
      return { ...lab, preview: { ...preview, phase: "answering", text: event.text } };
    default:
      return lab;
  }
}

/** The newest run of the same question under the same scaling. */
export function exactRunOf(runs: readonly SavedRun[], { question, rope }: RopePreview): SavedRun | undefined {
  return runs.findLast(({ result }) => result.question === question && sameScaling(result.rope, rope));
}

function sameScaling(a: RopeScaling, b: RopeScaling): boolean {
  const sorted = (scaling: RopeScaling): string =>
    JSON.stringify(Object.entries(scaling).sort(([left], [right]) => (left < right ? -1 : 1)));
  return sorted(a) === sorted(b);
}

/** Four times the trained length if the cache holds it, on one text, with a budget of some minutes for a small model. */
export function suggestedForm(spec: DecoderSpec, capacityTokens: number): SearchForm {
  const targetTokens = Math.max(trainedLength(spec) + 1, Math.min(4 * trainedLength(spec), capacityTokens));
  return { targetTokens: String(targetTokens), documents: "1", population: "16", iterations: "8" };
}

export type SearchReading = { request: SearchSettings } | { problems: Readonly<Record<string, string>> };
export type SearchSettings = Pick<RopeSearchRequest, "targetTokens" | "documents" | "options">;

export function readSearchForm(form: SearchForm, spec: DecoderSpec, capacityTokens: number): SearchReading {
  const problems: Record<string, string> = {};
  const whole = (name: keyof SearchForm, least: number, most = Number.MAX_SAFE_INTEGER): number => {
    const value = form[name].trim() === "" ? NaN : Number(form[name]);
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
    const upTo = most === Number.MAX_SAFE_INTEGER ? "" : ` up to ${most}`;
    problems[name] = `a whole number from ${least}${upTo}`;
    return least;
  };
  const targetTokens = whole("targetTokens", trainedLength(spec) + 1, capacityTokens);
  const documents = whole("documents", 1, 64);
  const options = searchOfSize(whole("population", 4, 1024), whole("iterations", 0, 1000), 0);
  return Object.keys(problems).length > 0 ? { problems } : { request: { targetTokens, documents, options } };
}

/** Why a saved search cannot be gone on with under these settings; undefined where it can. */
export function resumeProblem(saved: RopeSearchState, request: SearchSettings, spec: DecoderSpec): string | undefined {
  if (!isOfModel(saved, spec)) return "it was begun with another model";
  const before = { targetTokens: saved.targetTokens, documents: saved.documents, ...saved.search.options, iterations: 0 };
  const now = { targetTokens: request.targetTokens, documents: request.documents, ...request.options, iterations: 0 };
  return JSON.stringify(before) === JSON.stringify(now) ? undefined : "it was begun with other settings";
}

/** The best factors of a saved search as a scaling of this model; undefined before the first judgement, or for another model. */
export function searchedBest(
  saved: RopeSearchState,
  spec: DecoderSpec,
): { scaling: RopeScaling; perplexity: number } | undefined {
  const best = bestOf(saved.search);
  if (best === undefined || !isOfModel(saved, spec)) return undefined;
  const divisors = divisorsOf(best.steps, saved.search.options.step);
  return { scaling: searchedScaling(spec, saved.targetTokens, divisors), perplexity: best.perplexity };
}

function isOfModel({ model }: RopeSearchState, spec: DecoderSpec): boolean {
  return model.rotaryDim === spec.rotaryDim && model.theta === spec.ropeTheta && model.trainedTokens === trainedLength(spec);
}

function formOf({ targetTokens, documents, search }: RopeSearchState): SearchForm {
  const { population, iterations } = search.options;
  return {
    targetTokens: String(targetTokens),
    documents: String(documents),
    population: String(population),
    iterations: String(iterations),
  };
}

function advanceSearch(status: SearchView["status"] & { kind: "running" }, event: RopeSearchEvent): Partial<SearchView> {
  const doing = (what: string, done: number, total: number): Partial<SearchView> => ({
    status: { ...status, doing: what, fraction: total > 0 ? done / total : 0 },
  });
  switch (event.type) {
    case "reading":
      return doing("reading the files", event.doneTokens, event.totalTokens);
    case "scoring":
      return doing(SCORING[event.what], event.doneTokens, event.totalTokens);
    case "judged":
      return { progress: event };
    case "state":
      return { saved: event.state };
    case "recovered":
      return doing(`going on: ${event.because}`, 0, 1);
  }
}

const SCORING = {
  plain: "measuring the model without scaling",
  yarn: "measuring YaRN",
  factors: "judging a list of factors",
} as const;

function isPreview(lab: LabState, id: string): lab is LabState & { preview: PreviewState & { status: "running" } } {
  return lab.preview.status === "running" && lab.preview.id === id;
}

function isSearch({ search: { status } }: LabState, id: string): boolean {
  return status.kind === "running" && status.id === id;
}
