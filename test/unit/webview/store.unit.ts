import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PlainError } from "../../../engine/errors.ts";
import type { BudgetSnapshot } from "../../../webview/protocol/panel.ts";
import { initialState, panelState, reduce, shownRun, threadHistory } from "../../../webview/state/store.ts";
import type { Action, State } from "../../../webview/state/store.ts";
import { panelSettings, savedRun, sessionInfo } from "./panelFixtures.ts";

const boom: PlainError = { code: "device-lost", message: "the device is gone", remedy: "restart", facts: {} };
const settings = panelSettings({ kind: "auto" });
const info = sessionInfo();
const limit = { tokens: 1024, because: "trained length", explanation: "", wouldBe: 2048 } as const;

function budget(revision: number, tokens: number): BudgetSnapshot {
  return {
    revision,
    state: "ready",
    tokenizer: "t",
    doneFiles: 1,
    totalFiles: 1,
    tokens,
    packTokens: tokens,
    approximate: false,
    window: 1000,
    reserve: 100,
    bytes: 1,
    excluded: 0,
  };
}

function after(...actions: Action[]): State {
  return actions.reduce(reduce, initialState({ tab: "ask", question: "" }));
}

const started: Action = { type: "runStarted", id: "r1", question: "where?" };

describe("store", () => {
  it("keeps the budget of the highest revision", () => {
    const state = after({ type: "budget", budget: budget(3, 30) }, { type: "budget", budget: budget(2, 20) });
    assert.equal(state.budget?.tokens, 30);
  });

  it("opens one chip at a time and closes it on a second click", () => {
    assert.equal(after({ type: "chip", chip: "rope" }, { type: "chip", chip: "model" }).chip, "model");
    assert.equal(after({ type: "chip", chip: "rope" }, { type: "chip", chip: "rope" }).chip, undefined);
  });

  it("follows a run through its phases", () => {
    const event = (state: State, action: Extract<Action, { type: "runEvent" }>["event"]): State =>
      reduce(state, { type: "runEvent", runId: "r1", event: action });
    let state = after(started);
    assert.equal(state.live?.phase, "listing");
    state = event(state, { type: "packing", doneFiles: 1, totalFiles: 2 });
    assert.deepEqual(state.live?.packing, { doneFiles: 1, totalFiles: 2 });
    state = event(state, { type: "packed", rows: [], promptTokens: 900, limit, rope: { kind: "none" } });
    assert.equal(state.live?.packed?.promptTokens, 900);
    state = event(state, {
      type: "prefill",
      doneTokens: 300,
      totalTokens: 900,
      reusedTokens: 0,
      restoredTokens: 0,
      path: "a.ts",
      tokensPerSecond: 10,
    });
    assert.equal(state.live?.phase, "prefill");
    state = event(state, { type: "token", text: "foo" });
    state = event(state, { type: "token", text: " bar" });
    assert.deepEqual([state.live?.phase, state.live?.text], ["answering", "foo bar"]);
    assert.equal(event(state, { type: "recovered", because: "device lost" }).live?.text, "");
  });

  it("ignores events of another run", () => {
    const state = after(started);
    assert.equal(reduce(state, { type: "runEvent", runId: "old", event: { type: "token", text: "x" } }), state);
    assert.equal(reduce(state, { type: "runFailed", runId: "old", error: boom }), state);
  });

  it("turns a finished run into the shown one, the thread and the cached one", () => {
    const state = after({ type: "question", text: "where?" }, started, {
      type: "runFinished",
      run: savedRun("r1", { question: "question r1" }),
    });
    assert.equal(state.live, undefined);
    assert.equal(state.question, "");
    assert.equal(shownRun(state)?.id, "r1");
    assert.equal(state.cachedRun, "r1");
    assert.deepEqual(threadHistory(state), [{ question: "question r1", answer: "answer r1" }]);
    assert.deepEqual(state.heat.window.key, { start: 0, end: 900 });
  });

  it("draws attention from the first query that is there: those of restored tokens are not", () => {
    const window = (attentionFrom: number) =>
      after(started, { type: "runFinished", run: savedRun("r1", { attentionFrom }) }).heat.window;
    const key = { start: 0, end: 900 };
    assert.deepEqual(window(0), { query: key, key });
    assert.deepEqual(window(512), { query: { start: 512, end: 900 }, key });
    assert.deepEqual(window(900).query, { start: 899, end: 900 });
  });

  it("ends a failed run with its progress, its question back in the box, and no spinner", () => {
    const prefill = {
      type: "prefill",
      doneTokens: 300,
      totalTokens: 900,
      reusedTokens: 0,
      restoredTokens: 0,
      path: "a.ts",
      tokensPerSecond: 1,
    } as const;
    const state = after(
      started,
      { type: "runEvent", runId: "r1", event: prefill },
      { type: "runStopping" },
      { type: "runFailed", runId: "r1", error: boom },
    );
    assert.equal(state.live, undefined);
    assert.deepEqual(state.failed, { question: "where?", error: boom, doneTokens: 300, totalTokens: 900 });
    assert.equal(state.question, "where?");
  });

  it("ends the run in flight when the engine dies, and keeps finished runs", () => {
    const state = after(
      started,
      { type: "runFinished", run: savedRun("r1") },
      { ...started, id: "r2" },
      { type: "engineFailed", error: boom },
    );
    assert.equal(state.live, undefined);
    assert.equal(state.engine.status, "failed");
    assert.equal(state.cachedRun, undefined);
    assert.equal(state.runs.length, 1);
  });

  it("forgets the cached run when the engine opens anew", () => {
    const state = after(
      started,
      { type: "runFinished", run: savedRun("r1") },
      { type: "engineStarting", stage: "x", doneBytes: 0, totalBytes: 0 },
    );
    assert.equal(state.cachedRun, undefined);
    assert.equal(reduce(state, { type: "engineReady", info }).engine.status, "ready");
  });

  it("lists saved runs by time, each once", () => {
    const late = savedRun("b", {}, "2026-01-02T00:00:00.000Z");
    const state = after({ type: "runFinished", run: late }, { type: "runsListed", runs: [late, savedRun("a")] });
    assert.deepEqual(
      state.runs.map((run) => run.id),
      ["a", "b"],
    );
  });

  it("starts a new thread for a new question and for a run picked from the list", () => {
    const asked = after(started, { type: "runFinished", run: savedRun("r1") });
    assert.deepEqual(reduce(asked, { type: "newQuestion" }).thread, []);
    assert.deepEqual(reduce(asked, { type: "runShown", id: "r1" }).thread, ["r1"]);
  });

  it("drops the draft when settings are saved", () => {
    const state = after({ type: "ropeDraft", draft: { kind: "linear", text: { factor: "x" } } });
    assert.equal(state.ropeDraft?.kind, "linear");
    assert.equal(reduce(state, { type: "settings", settings }).ropeDraft, undefined);
  });

  it("zooms in and back out of the map", () => {
    const window = { query: { start: 10, end: 20 }, key: { start: 0, end: 5 } };
    const asked = after({ type: "runFinished", run: savedRun("r1") });
    const zoomed = reduce(asked, { type: "heatZoomed", window });
    assert.deepEqual(zoomed.heat.window, window);
    const out = reduce(zoomed, { type: "heatZoomedOut" });
    assert.deepEqual(out.heat.window, asked.heat.window);
    assert.deepEqual(reduce(out, { type: "heatZoomedOut" }).heat.window, asked.heat.window);
  });

  it("shows pooling, its picture, its failure and its end", () => {
    const pooling = after({ type: "heat", change: { layer: 2 } }, { type: "heatPooling" });
    assert.deepEqual([pooling.heat.layer, pooling.heat.status.kind], [2, "pooling"]);
    assert.equal(reduce(pooling, { type: "heatFailed", error: boom }).heat.status.kind, "failed");
    assert.equal(reduce(pooling, { type: "heatStopped" }).heat.status.kind, "idle");
    const edges = Uint32Array.of(0, 1);
    const picture = { queryEdges: edges, keyEdges: edges, pooled: { rows: 1, columns: 1, cells: Float32Array.of(1) } };
    const drawn = reduce(pooling, { type: "heatPooled", picture, answerRow: undefined });
    assert.equal(drawn.heat.picture, picture);
    assert.equal(drawn.heat.status.kind, "idle");
    assert.equal(reduce(drawn, started).heat.picture, undefined);
  });

  it("switches the tab and shows and dismisses a notice", () => {
    assert.equal(after({ type: "tab", tab: "inspect" }).tab, "inspect");
    const noticed = after({ type: "notice", notice: boom });
    assert.equal(noticed.notice?.message, boom.message);
    assert.equal(reduce(noticed, { type: "notice", notice: undefined }).notice, undefined);
  });

  it("tells the host what the panel is doing", () => {
    const state = after({ type: "engineReady", info }, started);
    assert.deepEqual(panelState(state), { engine: "ready", run: "packing", backend: "wgsl", runs: 0 });
    assert.equal(panelState(after({ type: "engineFailed", error: boom })).engine, "failed");
  });
});
