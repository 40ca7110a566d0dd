/** The line that says before a question is asked how much would be computed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import type { AskPlan } from "../../../engine/generate/api.ts";
import type { EngineClient, Host } from "../../../webview/engine.ts";
import { followPrompt } from "../../../webview/promptPlan.ts";
import type { BudgetSnapshot, CountedFile, HostCalls } from "../../../webview/protocol/panel.ts";
import { planSubject, promptPlan } from "../../../webview/state/promptPlan.ts";
import { snapshotOf } from "../../../webview/state/snapshot.ts";
import { createStore, initialState } from "../../../webview/state/store.ts";
import { panelSettings, savedRun, sessionInfo } from "./panelFixtures.ts";

const plan: AskPlan = {
  promptTokens: 6144,
  reusedTokens: 5832,
  restoredTokens: 0,
  recomputedTokens: 312,
  limit: { tokens: 8192, because: "trained length", explanation: "", wouldBe: 8192 },
  rope: { kind: "none" },
  rows: [],
};
const file: CountedFile = { path: "a.ts", hash: "1", sizeBytes: 9, tokens: 4, level: "outline", lines: [{ first: 1, last: 2 }] };
const budget: BudgetSnapshot = {
  ...{ revision: 1, state: "ready", tokenizer: "t", doneFiles: 1, totalFiles: 1, tokens: 4, packTokens: 4 },
  ...{ approximate: false, window: 4096, reserve: 128, bytes: 9, excluded: 0 },
};

/** A panel with a model and counts, whose pauses end when the test says so. */
function panel(answer: EngineClient["plan"]) {
  const store = createStore(initialState({ tab: "ask", question: "" }));
  const pauses: { signal: AbortSignal; then: () => void }[] = [];
  const asked: Parameters<EngineClient["plan"]>[0][] = [];
  const replies: { [Name in keyof HostCalls]?: HostCalls[Name]["result"] } = {
    "workspace/files": { root: "r", revision: 1, files: [file] },
  };
  const never = (): never => assert.fail("only the files are asked for");
  const host: Host = {
    call: async (name) => {
      const reply = replies[name];
      assert.ok(reply, name);
      return reply;
    },
    publish: never,
    subscribe: never,
    ready: Promise.resolve(),
    close: never,
  };
  followPrompt({
    store,
    host,
    engine: {
      plan: (params, signal) => {
        asked.push(params);
        return answer(params, signal);
      },
    },
    dispatch: (action) => store.dispatch(action),
    later: (_, signal, then) => void pauses.push({ signal, then }),
  });
  store.dispatch({ type: "settings", settings: panelSettings({ kind: "none" }) });
  store.dispatch({ type: "engineReady", info: sessionInfo() });
  store.dispatch({ type: "budget", budget });
  return { store, pauses, asked, settled: () => new Promise((resolve) => setImmediate(resolve)) };
}

describe("the cost of a question that is typed", () => {
  it("is planned when typing pauses, for the question as it would be asked", async () => {
    const { store, pauses, asked, settled } = panel(async () => plan);
    assert.equal(pauses.length, 0, "nothing is typed");
    store.dispatch({ type: "question", text: " where? " });
    assert.equal(asked.length, 0);
    pauses[0].then();
    await settled();
    const { question, history, options, files } = asked[0];
    assert.deepEqual(
      [question, history, options.attention, files],
      ["where?", [], store.state.settings?.attention, snapshotOf([file])],
    );
    assert.deepEqual(promptPlan(store.state), { key: planSubject(store.state)?.key, plan });
  });

  it("is given up and forgotten as soon as the question, a setting or the files change, or it is asked", async () => {
    const { store, pauses, settled } = panel(async () => plan);
    store.dispatch({ type: "question", text: "where?" });
    store.dispatch({ type: "tab", tab: "inspect" });
    assert.equal(pauses.length, 1, "what changes nothing starts nothing");
    pauses[0].then();
    await settled();
    const changes: [string, () => void][] = [
      ["question", () => store.dispatch({ type: "question", text: "where is it?" })],
      ["setting", () => store.dispatch({ type: "settings", settings: panelSettings({ kind: "linear", factor: 2 }) })],
      ["files", () => store.dispatch({ type: "budget", budget: { ...budget, revision: 2 } })],
      ["cache", () => store.dispatch({ type: "runFinished", run: savedRun("r") })],
    ];
    for (const [what, change] of changes) {
      const before = pauses.at(-1);
      change();
      if (what === "cache") store.dispatch({ type: "question", text: "and now?" });
      assert.equal(before?.signal.aborted, true, what);
      assert.equal(promptPlan(store.state), undefined, what);
      pauses.at(-1)?.then();
      await settled();
      assert.ok(promptPlan(store.state), what);
    }
    store.dispatch({ type: "runStarted", id: "r2", question: "and now?" });
    assert.equal(pauses.at(-1)?.signal.aborted, true);
    assert.equal(promptPlan(store.state), undefined);
  });

  it("says why it would be refused, and nothing of what was given up", async () => {
    const refuse = panel(() =>
      Promise.reject(new EngineError("context-too-long", "the question alone is too long", "shorten it")),
    );
    refuse.store.dispatch({ type: "question", text: "where?" });
    refuse.pauses[0].then();
    await refuse.settled();
    const shown = promptPlan(refuse.store.state);
    assert.ok(shown && "problem" in shown && shown.problem === "the question alone is too long");
    const stop = panel(() => Promise.reject(new EngineError("aborted", "stopped", "")));
    stop.store.dispatch({ type: "question", text: "where?" });
    stop.pauses[0].then();
    await stop.settled();
    assert.equal(promptPlan(stop.store.state), undefined);
  });

  it("takes files at the levels of the Budget view, with the lines of their outlines", () => {
    assert.deepEqual(snapshotOf([file, { path: "b.ts", hash: "2", sizeBytes: 1, tokens: 9 }]), [
      { path: "a.ts", hash: "1", sizeBytes: 9, level: "outline", lines: [{ first: 1, last: 2 }] },
      { path: "b.ts", hash: "2", sizeBytes: 1 },
    ]);
  });
});
