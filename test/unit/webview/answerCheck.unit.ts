import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AnswerCheck, CheckProgress } from "../../../engine/generate/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { createAnswerChecks } from "../../../webview/answerCheck.ts";
import { checkText, startable } from "../../../webview/state/checkWords.ts";
import { busyWith, createStore, initialState, type Action } from "../../../webview/state/store.ts";
import { until } from "../../support/until.ts";
import { savedRun } from "./panelFixtures.ts";

const result: AnswerCheck = {
  ...{ leftOut: [{ path: "a.ts", startLine: 3, endLine: 3 }], answerTokens: 12 },
  ...{ withLines: 0.93, withoutLines: 0.02, verdict: "depends", attentionFrom: 2 },
};
const progress: CheckProgress = { reading: "without", doneTokens: 3, totalTokens: 9 };

function comesTrue(condition: () => boolean): Promise<true> {
  return until("the check", 5000, async () => (condition() ? true : undefined));
}

/** A panel whose run "r" was answered, and whose engine answers a check when `settle` is called. */
function panel() {
  const store = createStore(initialState({ tab: "ask", question: "" }));
  const dispatch = (action: Action): void => store.dispatch(action);
  dispatch({ type: "runStarted", id: "r", question: "where?" });
  dispatch({ type: "runFinished", run: savedRun("r") });
  let calls = 0;
  let settle: (check: AnswerCheck) => void = () => undefined;
  const checks = createAnswerChecks({
    store,
    dispatch,
    engineFree: () => Promise.resolve(),
    engine: {
      checkAnswer: ({ checkId }, signal) =>
        new Promise((resolve, reject) => {
          calls++;
          dispatch({ type: "checkEvent", checkId, progress });
          dispatch({ type: "checkEvent", checkId: "another", progress: { ...progress, doneTokens: 8 } });
          settle = resolve;
          signal.addEventListener("abort", () => reject(new EngineError("aborted", "stopped", "go on")));
        }),
    },
  });
  return { store, dispatch, checks, calls: () => calls, settle: (check: AnswerCheck) => settle(check) };
}

describe("the check of an answer", () => {
  it("runs once, says how far it is, blocks runs, and ends with both probabilities", async () => {
    const { store, checks, calls, settle } = panel();
    assert.equal(startable(savedRun("r"), store.state).disabled, false);
    checks.start();
    assert.equal(busyWith(store.state), "checking");
    assert.equal(startable(savedRun("r"), store.state).disabled, true);
    checks.start();
    await comesTrue(() => calls() === 1);
    const { check } = store.state;
    assert.equal(check.status, "running");
    assert.deepEqual("progress" in check && check.progress, progress);
    settle(result);
    await comesTrue(() => store.state.check.status === "ready");
    assert.equal(calls(), 1);
    assert.equal(busyWith(store.state), undefined);
    // The context is as the answer left it, so it can be checked and previewed again, and its attention inspected.
    assert.equal(store.state.contextRun, "r");
    assert.equal(store.state.cachedRun, "r");
    assert.equal(store.state.heat.window.query.start, 2);
  });

  it("of a run that is deleted meanwhile leaves nothing to inspect", async () => {
    const { store, dispatch, checks, calls, settle } = panel();
    checks.start();
    await comesTrue(() => calls() === 1);
    assert.equal(store.state.cachedRun, undefined);
    dispatch({ type: "runDeleted", id: "r" });
    settle(result);
    await comesTrue(() => store.state.check.status === "ready");
    assert.equal(store.state.cachedRun, undefined);
  });

  it("stopped, it says nothing, and the answer's context is gone", async () => {
    const { store, checks, calls } = panel();
    checks.start();
    await comesTrue(() => calls() === 1);
    checks.stop();
    await comesTrue(() => store.state.check.status === "idle");
    assert.equal(store.state.contextRun, undefined);
    assert.equal(startable(savedRun("r"), store.state).disabled, true);
    checks.start();
    assert.equal(calls(), 1);
  });

  it("is refused while a run goes on, for another answer, and is forgotten with the next question", async () => {
    const { store, dispatch, checks, calls, settle } = panel();
    assert.match(startable(savedRun("older"), store.state).title, /Ask the question again/);
    checks.start();
    await comesTrue(() => calls() === 1);
    settle(result);
    await comesTrue(() => store.state.check.status === "ready");
    dispatch({ type: "runStarted", id: "s", question: "what?" });
    assert.equal(store.state.check.status, "idle");
    checks.start();
    assert.equal(calls(), 1);
  });

  it("is told with its thresholds", () => {
    assert.equal(
      checkText(result),
      "With these lines: 0.93 per token; without: 0.02: the answer depends on them (at most 50 % as probable without). " +
        "Geometric mean over 12 tokens, 1 place left out.",
    );
    assert.match(checkText({ ...result, withoutLines: 0.91, verdict: "hardly" }), /hardly depends on them \(at least 90 %/);
    assert.match(checkText({ ...result, withoutLines: 0.7, verdict: "partly" }), /in part \(between 50 % and 90 %/);
    assert.match(checkText({ ...result, withoutLines: 0.00002 }), /without: 2e-5/);
  });
});
