import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeChoice } from "../../../engine/api.ts";
import { abortedError } from "../../../engine/errors.ts";
import type { RopePreview, RopeSearchResult, RopeSearchState } from "../../../engine/eval/api.ts";
import { parseRope } from "../../../engine/position/ropeJson.ts";
import { searchOfSize, startSearch } from "../../../engine/position/search.ts";
import type { EngineClient, Host } from "../../../webview/engine.ts";
import type { HostCalls } from "../../../webview/protocol/panel.ts";
import { createRopeLab, keepSearch, loadSearch } from "../../../webview/ropeLab.ts";
import { suggestedForm } from "../../../webview/state/lab.ts";
import { createStore, initialState } from "../../../webview/state/store.ts";
import type { Action } from "../../../webview/state/store.ts";
import { modelSpec } from "./modelSpec.ts";
import { askResult, panelSettings, sessionInfo } from "./panelFixtures.ts";

const spec = modelSpec();
const limit = { tokens: 2048, because: "rope scaling", explanation: "", wouldBe: 1024 } as const;
const common = {
  question: "where?",
  answer: "there",
  absent: false,
  stoppedBy: "end",
  citations: [],
  lookedAt: [],
  prose: "",
  attended: [],
} as const;
const preview: RopePreview = {
  ...common,
  promptTokens: 900,
  answerTokens: 3,
  approximate: true,
  rope: { kind: "linear", factor: 2 },
  limit,
  recomputedTokens: 20,
  timings: { repositionMs: 1, prefillMs: 1, decodeMs: 1 },
};
const result = askResult({ answerTokens: 3 });
const info = sessionInfo({ spec });
const settings = panelSettings({ kind: "linear", factor: 2 });
const options = searchOfSize(8, 2, 0);

function searchState(judged: number): RopeSearchState {
  const search = startSearch(new Array<number>(32).fill(1), 4, options);
  const population = search.pending.slice(0, judged).map((steps, index) => ({ steps, perplexity: 9 - index }));
  const model = { rotaryDim: 64, theta: 10000, trainedTokens: 1024 };
  const whole = { ...search, population, pending: search.pending.slice(judged) };
  return { model, targetTokens: 4096, documents: 1, texts: "0", plain: 30, yarn: 20, search: whole };
}

function searched(judged: number): RopeSearchResult {
  const progress = { generation: 0, generations: 2, judged, planned: 16, plain: 30, yarn: 20 };
  return { state: searchState(judged), finished: false, best: undefined, progress };
}

/** A lab over fakes of host and engine, which answer what a test says; with one answered question. */
function labOf(answers: Partial<Pick<EngineClient, "previewRope" | "searchRope">>, stored?: RopeSearchState) {
  const store = createStore(initialState({ tab: "inspect", question: "" }));
  const calls: { name: string; params: unknown }[] = [];
  const asked: string[] = [];
  const ropes: RopeChoice[] = [];
  const replies: { [Name in keyof HostCalls]?: HostCalls[Name]["result"] } = {
    "workspace/files": { root: "ferry", revision: 1, files: [{ path: "a.ts", hash: "1", sizeBytes: 9, tokens: 4 }] },
    "file/save": { saved: true },
    "search/save": {},
    "search/read": { state: stored },
  };
  const host: Host = {
    call: async (name, params) => {
      calls.push({ name, params });
      const reply = replies[name];
      assert.ok(reply, name);
      return reply;
    },
    publish: () => undefined,
    subscribe: () => () => undefined,
    ready: Promise.resolve(),
    close: () => undefined,
  };
  const never = (): never => assert.fail("the engine is asked for something else");
  const engine: EngineClient = {
    open: never,
    ask: never,
    plan: never,
    reply: never,
    planAttention: never,
    pool: never,
    headFacts: never,
    loseDevice: never,
    previewRope: never,
    checkAnswer: never,
    searchRope: never,
    ...answers,
  };
  const work: Promise<unknown>[] = [];
  const dispatch = (action: Action): void => {
    store.dispatch(action);
    const kept = keepSearch(host, action);
    if (kept) work.push(kept);
  };
  const lab = createRopeLab({
    store,
    host,
    engine,
    dispatch,
    attempt: (effect) => void work.push(effect),
    ask: (question) => asked.push(question) > 0,
    engineFree: () => Promise.resolve(),
    changeRope: (rope) => void ropes.push(rope),
  });
  dispatch({ type: "settings", settings });
  dispatch({ type: "engineReady", info });
  dispatch({ type: "runStarted", id: "r", question: "where?" });
  dispatch({ type: "runFinished", run: { id: "r", askedAt: "2026-01-01T00:00:00.000Z", result } });
  return { lab, store, host, dispatch, calls, asked, ropes, settled: () => Promise.all(work) };
}

describe("what the RoPE lab does", () => {
  it("previews the setting in force on the context in the cache", async () => {
    const ropes: RopeChoice[] = [];
    const { lab, store, settled } = labOf({
      previewRope: async ({ rope }) => {
        ropes.push(rope);
        assert.equal(store.state.lab.preview.status, "running");
        return preview;
      },
    });
    lab.preview();
    lab.preview();
    await settled();
    assert.deepEqual(ropes, [settings.rope]);
    assert.deepEqual(store.state.lab.preview, { status: "ready", runId: "r", preview });
  });

  it("asks nothing of the engine where no context is in the cache", async () => {
    const { lab, dispatch, settled } = labOf({});
    dispatch({ type: "engineStarting", stage: "", doneBytes: 0, totalBytes: 0 });
    lab.preview();
    await settled();
  });

  it("stops a preview", async () => {
    const { lab, store, settled } = labOf({
      previewRope: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(abortedError()));
        }),
    });
    lab.preview();
    await Promise.resolve();
    await Promise.resolve();
    lab.stopPreview();
    await settled();
    assert.equal(store.state.lab.preview.status, "idle");
  });

  it("asks the same question again from before it", () => {
    const { lab, store, asked } = labOf({});
    assert.deepEqual(store.state.thread, ["r"]);
    lab.runExactly();
    assert.deepEqual(asked, ["where?"]);
    assert.deepEqual(store.state.thread, []);
  });

  it("changes one field of the search after another, from what the model suggests", () => {
    const { lab, store } = labOf({});
    lab.editSearch({ population: "4" });
    lab.editSearch({ iterations: "1" });
    assert.deepEqual(store.state.lab.search.form, {
      ...suggestedForm(spec, info.capacityTokens),
      population: "4",
      iterations: "1",
    });
  });

  it("searches on the workspace's files, keeps every state with the host, and resumes from the last", async () => {
    const resumes: (RopeSearchState | undefined)[] = [];
    const made = labOf({
      searchRope: async ({ searchId, request }) => {
        resumes.push(request.resume);
        assert.deepEqual(request.files, [{ path: "a.ts", hash: "1", sizeBytes: 9 }]);
        made.dispatch({ type: "searchEvent", searchId, event: { type: "state", state: searchState(2) } });
        return searched(3);
      },
    });
    const { lab, store, calls, settled } = made;
    lab.search({ targetTokens: 4096, documents: 1, options }, false);
    lab.search({ targetTokens: 4096, documents: 1, options }, false);
    await settled();
    assert.deepEqual(resumes, [undefined]);
    const saved = calls.filter(({ name }) => name === "search/save").map(({ params }) => params);
    assert.deepEqual(saved, [{ state: searchState(2) }, { state: searchState(3) }]);
    lab.search({ targetTokens: 4096, documents: 1, options }, true);
    await settled();
    assert.deepEqual(resumes, [undefined, searchState(3)]);
    assert.equal(store.state.lab.search.status.kind, "idle");
  });

  it("stops a search, which answers with what it has", async () => {
    const { lab, store, settled } = labOf({
      searchRope: (_, signal) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => resolve(searched(1)));
        }),
    });
    lab.search({ targetTokens: 4096, documents: 1, options }, false);
    await new Promise((resolve) => setImmediate(resolve));
    lab.stopSearch();
    await settled();
    assert.equal(store.state.lab.search.saved?.search.population.length, 1);
  });

  it("reads the search that an earlier panel left, uses its best factors, and saves them as JSON", async () => {
    const { lab, store, host, dispatch, calls, ropes, settled } = labOf({}, searchState(3));
    await loadSearch(host, dispatch);
    assert.equal(store.state.lab.search.saved?.search.population.length, 3);
    lab.useSearched();
    const [rope] = ropes;
    assert.ok(rope.kind === "longrope" && rope.factor === 4);
    lab.exportSearched();
    await settled();
    const [saving] = calls
      .filter(({ name }) => name === "file/save")
      .map(({ params }) => params as { name: string; text: string });
    assert.equal(saving.name, "rope.json");
    assert.deepEqual(parseRope(saving.text, spec), rope);
  });
});
