import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PlainError } from "../../../engine/errors.ts";
import type { RopePreview, RopeSearchResult, RopeSearchState } from "../../../engine/eval/api.ts";
import { checkScaling, ropeBase } from "../../../engine/position/scaling.ts";
import { searchOfSize, startSearch } from "../../../engine/position/search.ts";
import { exactRunOf, readSearchForm, resumeProblem, searchedBest, suggestedForm } from "../../../webview/state/lab.ts";
import type { SearchSettings } from "../../../webview/state/lab.ts";
import { busyWith, initialState, reduce } from "../../../webview/state/store.ts";
import type { Action, State } from "../../../webview/state/store.ts";
import { modelSpec } from "./modelSpec.ts";
import { savedRun, sessionInfo } from "./panelFixtures.ts";

const spec = modelSpec();
const boom: PlainError = { code: "device-lost", message: "gone", remedy: "ask again", facts: {} };
const aborted: PlainError = { ...boom, code: "aborted" };
const limit = { tokens: 2048, because: "rope scaling", explanation: "", wouldBe: 1024 } as const;

const preview: RopePreview = {
  question: "where?",
  answer: "there",
  absent: false,
  stoppedBy: "end",
  citations: [],
  lookedAt: [],
  prose: "",
  attended: [],
  promptTokens: 900,
  answerTokens: 3,
  approximate: true,
  rope: { kind: "linear", factor: 2 },
  limit,
  recomputedTokens: 20,
  timings: { repositionMs: 1, prefillMs: 1, decodeMs: 1 },
};

function searchState(judged = 0): RopeSearchState {
  const search = startSearch(new Array<number>(32).fill(1), 4, searchOfSize(8, 2, 0));
  const population = search.pending.slice(0, judged).map((steps, index) => ({ steps, perplexity: 9 - index }));
  return {
    model: { rotaryDim: 64, theta: 10000, trainedTokens: 1024 },
    targetTokens: 4096,
    documents: 1,
    texts: "0",
    plain: 30,
    yarn: 20,
    search: { ...search, population, pending: search.pending.slice(judged) },
  };
}

function resultOf(state: RopeSearchState): RopeSearchResult {
  const progress = { generation: 0, generations: 2, judged: 0, planned: 16, plain: 30, yarn: 20 };
  return { state, finished: false, best: undefined, progress };
}

function after(...actions: Action[]): State {
  return actions.reduce(reduce, initialState({ tab: "ask", question: "" }));
}

const answered: Action[] = [
  { type: "engineReady", info: sessionInfo({ spec }) },
  { type: "runStarted", id: "r", question: "where?" },
  { type: "runFinished", run: savedRun("r") },
];

describe("a preview in the panel", () => {
  it("needs a context in the cache: what a run left, until another run, a search or another engine takes it", () => {
    assert.equal(after().contextRun, undefined);
    assert.equal(after(...answered).contextRun, "r");
    assert.equal(after(...answered, { type: "runStarted", id: "s", question: "what?" }).contextRun, undefined);
    assert.equal(after(...answered, { type: "searchStarted", id: "x" }).contextRun, undefined);
    assert.equal(after(...answered, { type: "engineFailed", error: boom }).contextRun, undefined);
    const opening: Action = { type: "engineStarting", stage: "", doneBytes: 0, totalBytes: 0 };
    assert.equal(after(...answered, opening).contextRun, undefined);
  });

  it("keeps the context for other previews, but its attention is no longer that of the run", () => {
    const state = after(...answered, { type: "previewStarted", id: "p", runId: "r" });
    assert.deepEqual([state.contextRun, state.cachedRun], ["r", undefined]);
    assert.equal(busyWith(state), "previewing");
  });

  it("streams by its own id, and ends in a result beside the run", () => {
    const begun = after(...answered, { type: "previewStarted", id: "p", runId: "r" });
    const events: Action[] = [
      { type: "runEvent", runId: "other", event: { type: "token", text: "no" } },
      { type: "runEvent", runId: "p", event: { type: "token", text: "the" } },
      { type: "runEvent", runId: "p", event: { type: "token", text: "re" } },
    ];
    const streaming = events.reduce(reduce, begun);
    assert.ok(streaming.lab.preview.status === "running");
    assert.deepEqual([streaming.lab.preview.text, streaming.lab.preview.phase], ["there", "answering"]);
    const candidate: Action = { type: "runEvent", runId: "p", event: { type: "candidate", text: "line" } };
    const compared = reduce(streaming, candidate);
    assert.ok(compared.lab.preview.status === "running" && compared.lab.preview.text === "line");
    assert.deepEqual(reduce(streaming, { type: "previewReady", id: "old", preview }), streaming);
    const ready = reduce(streaming, { type: "previewReady", id: "p", preview });
    assert.deepEqual(ready.lab.preview, { status: "ready", runId: "r", preview });
    assert.equal(busyWith(ready), undefined);
  });

  it("says why it failed, and nothing where it was stopped", () => {
    const begun: Action[] = [...answered, { type: "previewStarted", id: "p", runId: "r" }];
    assert.deepEqual(after(...begun, { type: "previewFailed", id: "p", error: boom }).lab.preview, {
      status: "failed",
      error: boom,
    });
    assert.deepEqual(after(...begun, { type: "previewFailed", id: "p", error: aborted }).lab.preview, { status: "idle" });
  });

  it("stays while the same question is asked exactly, and finds that run", () => {
    const ready: Action[] = [
      ...answered,
      { type: "previewStarted", id: "p", runId: "r" },
      { type: "previewReady", id: "p", preview },
      { type: "rewound", runId: "r" },
    ];
    const same = after(...ready, { type: "runStarted", id: "rr", question: "where?" });
    assert.equal(same.lab.preview.status, "ready");
    assert.deepEqual(same.thread, []);
    const exact = savedRun("rr", { rope: { factor: 2, kind: "linear" } });
    const finished = reduce(same, { type: "runFinished", run: exact });
    assert.equal(exactRunOf(finished.runs, preview), exact);
    assert.deepEqual(finished.thread, ["rr"]);
    assert.equal(after(...ready, { type: "runStarted", id: "s", question: "what?" }).lab.preview.status, "idle");
    const others = [savedRun("r"), savedRun("o", { question: "what?", rope: preview.rope })];
    assert.equal(exactRunOf(others, preview), undefined);
  });

  it("rewinds a conversation to before the run that is asked again", () => {
    const second: Action[] = [
      { type: "runStarted", id: "two", question: "what?" },
      { type: "runFinished", run: savedRun("two") },
    ];
    const state = after(...answered, ...second);
    assert.deepEqual(state.thread, ["r", "two"]);
    assert.deepEqual(reduce(state, { type: "rewound", runId: "two" }).thread, ["r"]);
    assert.deepEqual(reduce(state, { type: "rewound", runId: "elsewhere" }).thread, []);
  });
});

describe("LongRoPE's search in the panel", () => {
  it("suggests four times the trained length, as far as the cache holds", () => {
    assert.equal(suggestedForm(spec, 65536).targetTokens, "4096");
    assert.equal(suggestedForm(spec, 3000).targetTokens, "3000");
    const reading = readSearchForm(suggestedForm(spec, 65536), spec, 65536);
    assert.ok("request" in reading);
    assert.deepEqual(reading.request.options, searchOfSize(16, 8, 0));
  });

  it("names every field that it cannot read", () => {
    const form = { targetTokens: "1024", documents: "0", population: "x", iterations: "" };
    const reading = readSearchForm(form, spec, 65536);
    assert.deepEqual(Object.keys("problems" in reading ? reading.problems : {}), Object.keys(form));
    assert.match("problems" in reading ? reading.problems["targetTokens"] : "", /from 1025 up to 65536/);
  });

  it("goes on with a saved search under its own settings only, but for more generations", () => {
    const saved = searchState();
    const request: SearchSettings = { targetTokens: 4096, documents: 1, options: searchOfSize(8, 2, 0) };
    assert.equal(resumeProblem(saved, request, spec), undefined);
    assert.equal(resumeProblem(saved, { ...request, options: searchOfSize(8, 9, 0) }, spec), undefined);
    for (const change of [{ targetTokens: 2048 }, { documents: 2 }, { options: searchOfSize(16, 2, 0) }]) {
      assert.match(resumeProblem(saved, { ...request, ...change }, spec) ?? "", /other settings/);
    }
    assert.match(resumeProblem(saved, request, modelSpec({ ropeTheta: 5e5 })) ?? "", /another model/);
  });

  it("makes a scaling of the best factors of a saved search", () => {
    assert.equal(searchedBest(searchState(0), spec), undefined);
    const best = searchedBest(searchState(3), spec);
    assert.ok(best?.scaling.kind === "longrope");
    checkScaling(best.scaling, ropeBase(spec));
    assert.deepEqual([best.perplexity, best.scaling.factor, best.scaling.originalContext], [7, 4, 1024]);
    for (const change of [{ rotaryDim: 32 }, { ropeTheta: 5e5 }, { maxPositionEmbeddings: 2048 }]) {
      assert.equal(searchedBest(searchState(3), modelSpec(change)), undefined);
    }
  });

  it("shows how far it is, keeps whole states, and is free again when it ends", () => {
    const begun = after(...answered, { type: "searchStarted", id: "x" });
    assert.equal(busyWith(begun), "searching");
    const event = (value: (Action & { type: "searchEvent" })["event"]): Action => ({
      type: "searchEvent",
      searchId: "x",
      event: value,
    });
    const progress = { generation: 0, generations: 2, judged: 3, planned: 16, perplexity: 8, best: 7, plain: 30, yarn: 20 };
    const state = [
      event({ type: "scoring", what: "factors", doneTokens: 1, totalTokens: 4 }),
      event({ type: "judged", ...progress }),
      event({ type: "state", state: searchState(3) }),
    ].reduce(reduce, begun);
    const { search } = state.lab;
    assert.ok(search.status.kind === "running");
    assert.deepEqual([search.status.fraction, search.progress?.best, search.saved?.search.population.length], [0.25, 7, 3]);
    const stray: Action = { type: "searchEvent", searchId: "old", event: { type: "state", state: searchState(1) } };
    assert.deepEqual(reduce(state, stray), state);
    const stopping = reduce(state, { type: "searchStopping" });
    assert.ok(stopping.lab.search.status.kind === "running" && stopping.lab.search.status.stopping);
    const ended = reduce(stopping, { type: "searchEnded", id: "x", result: resultOf(searchState(4)) });
    assert.deepEqual(ended.lab.search.status, { kind: "idle" });
    assert.equal(ended.lab.search.saved?.search.population.length, 4);
    assert.equal(busyWith(ended), undefined);
  });

  it("that failed says why and keeps what was saved; one that was stopped early says nothing", () => {
    const begun: Action[] = [
      { type: "searchLoaded", saved: searchState(2) },
      { type: "searchStarted", id: "x" },
    ];
    const failed = after(...begun, { type: "searchFailed", id: "x", error: boom });
    assert.deepEqual(failed.lab.search.status, { kind: "failed", error: boom });
    assert.equal(failed.lab.search.saved?.search.population.length, 2);
    assert.deepEqual(failed.lab.search.form, { targetTokens: "4096", documents: "1", population: "8", iterations: "2" });
    assert.deepEqual(after(...begun, { type: "searchFailed", id: "x", error: aborted }).lab.search.status, { kind: "idle" });
  });
});
