/** Planning a prompt in the panel: asked for on demand, given up for a question, and laid out as a table. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { abortedError, EngineError } from "../../../engine/errors.ts";
import type { AttentionTable, AttentionTableRequest, Plan, PlannedWay } from "../../../engine/planner/api.ts";
import { createAttentionLab } from "../../../webview/attentionLab.ts";
import type { EngineClient } from "../../../webview/engine.ts";
import type { BudgetSnapshot } from "../../../webview/protocol/panel.ts";
import { plannedTokens } from "../../../webview/state/attentionFacts.ts";
import { planRows } from "../../../webview/state/attentionPlan.ts";
import { planSubject } from "../../../webview/state/promptPlan.ts";
import { createStore, initialState } from "../../../webview/state/store.ts";
import { panelSettings, savedRun, sessionInfo } from "./panelFixtures.ts";

const plan: Plan = {
  ...{
    tokens: 900,
    weightsBytes: 4,
    kvBytes: 8,
    kvAllocatedBytes: 16,
    kvHostBytes: 0,
    kvBytesPerLayer: [8],
    workspaceBytes: 1,
    workspace: [],
  },
  ...{ totalBytes: 21, prefillFlops: 1e9, linearFlops: 5e8, attentionFlops: 5e8, flopsAreExact: true, prefillSeconds: 1 },
  ...{ decodeSecondsPerToken: 0.1, decodeBytesPerToken: 12, fits: true, largestTokens: 4096, because: "it is small" },
};
const way = (attention: string, kv: string): PlannedWay => ({ attention, kv, plan });
const table: AttentionTable = {
  tokens: 900,
  chosen: way("flash", "f32"),
  ways: [way("flash", "f32"), way("flash", "q8"), way("window:4096", "f32"), way("window:4096", "q8")],
  timeBecause: "as measured",
};

function lab(planAttention: EngineClient["planAttention"]) {
  const store = createStore(initialState({ tab: "inspect", question: "" }));
  const made = createAttentionLab({
    store,
    engine: { planAttention },
    dispatch: (action) => store.dispatch(action),
    changeSettings: () => assert.fail("no setting changes"),
  });
  store.dispatch({ type: "settings", settings: panelSettings({ kind: "none" }) });
  store.dispatch({ type: "engineReady", info: sessionInfo() });
  store.dispatch({ type: "runFinished", run: savedRun("r") });
  return { store, lab: made };
}

describe("the plan of a prompt", () => {
  it("is made for the last prompt under the settings in force, one at a time", async () => {
    const requests: AttentionTableRequest[] = [];
    const { store, lab: made } = lab(async (request) => {
      requests.push(request);
      assert.equal(store.state.attentionPlan.status, "running");
      return table;
    });
    made.plan();
    made.plan();
    await new Promise((resolve) => setImmediate(resolve));
    const { rope, attention, kv } = panelSettings({ kind: "none" });
    assert.deepEqual(requests, [{ tokens: 900, rope, attention, kv }]);
    assert.deepEqual(store.state.attentionPlan, { status: "ready", table });
    store.dispatch({ type: "engineStarting", stage: "", doneBytes: 0, totalBytes: 0 });
    assert.equal(store.state.attentionPlan.status, "idle", "another engine has other rates");
  });

  it("is made for the question that is typed once that is packed", () => {
    const { store } = lab(() => assert.fail("not asked for"));
    assert.equal(plannedTokens(store.state), 900);
    store.dispatch({ type: "question", text: "and where?" });
    const budget: BudgetSnapshot = {
      ...{ revision: 1, state: "ready", tokenizer: "t", doneFiles: 1, totalFiles: 1, tokens: 4, packTokens: 4 },
      ...{ approximate: false, window: 4096, reserve: 128, bytes: 9, excluded: 0 },
    };
    store.dispatch({ type: "budget", budget });
    const key = planSubject(store.state)?.key ?? "";
    const limit = { tokens: 8192, because: "trained length", explanation: "", wouldBe: 8192 } as const;
    const typed = { promptTokens: 912, reusedTokens: 900, restoredTokens: 0, recomputedTokens: 12, limit };
    store.dispatch({ type: "promptPlanned", key, plan: { ...typed, rope: { kind: "none" }, rows: [] } });
    assert.equal(plannedTokens(store.state), 912);
  });

  it("gives way to whatever a person asks for, and says why it failed", async () => {
    const stopped = lab(
      (_, signal) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(abortedError()))),
    );
    stopped.lab.plan();
    await stopped.lab.engineFree();
    assert.equal(stopped.store.state.attentionPlan.status, "idle");
    const failed = lab(() => Promise.reject(new EngineError("bad-argument", "not on the reference", "choose auto")));
    failed.lab.plan();
    await failed.lab.engineFree();
    const shown = failed.store.state.attentionPlan;
    assert.ok(shown.status === "failed" && shown.error.remedy === "choose auto");
  });

  it("has a row for each policy and a column for each format", () => {
    const { formats, rows } = planRows(table);
    assert.deepEqual(formats, ["f32", "q8"]);
    assert.deepEqual(
      rows.map(({ attention, cells }) => [attention, cells.map((way) => way?.kv)]),
      [
        ["flash", ["f32", "q8"]],
        ["window:4096", ["f32", "q8"]],
      ],
    );
    const lacking = planRows({ ...table, ways: table.ways.filter(({ attention, kv }) => attention === "flash" || kv === "q8") });
    assert.deepEqual(
      lacking.rows[1]?.cells.map((way) => way?.kv),
      [undefined, "q8"],
      "a format that a policy does not take leaves its column empty",
    );
  });
});
