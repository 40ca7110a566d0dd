/** From Ask to computing: what is found out, what is shown, and with which files the question is asked in the end. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import type { AskPlan } from "../../../engine/generate/api.ts";
import type { EngineClient, Host } from "../../../webview/engine.ts";
import { createPreSend } from "../../../webview/preSend.ts";
import type { HostCalls } from "../../../webview/protocol/panel.ts";
import { createStore, initialState } from "../../../webview/state/store.ts";
import { panelSettings, runSettings, savedRun, sessionInfo } from "./panelFixtures.ts";

type Check = HostCalls["ask/check"]["result"];

const files = ["a.ts", "b.ts", "c.ts"].map((path) => ({ path, hash: path, sizeBytes: 1, tokens: 100 }));
const secret = { path: "b.ts", line: 2, rule: "aws", message: "looks like an AWS secret access key" };

/** A panel with a model; of its files those that are not over the budget go in. */
function panel(script: { check?: Partial<Check>; over?: string[]; plan?: () => Promise<AskPlan>; applied?: boolean } = {}) {
  const store = createStore(initialState({ tab: "ask", question: "q" }));
  const asked: { question: string; without: readonly string[] }[] = [];
  const called: string[] = [];
  const problems: unknown[] = [];
  const planned: string[][] = [];
  const call = async (name: string, params: unknown): Promise<unknown> => {
    called.push(name === "workspace/files" ? name : `${name} ${JSON.stringify(params)}`);
    if (name === "workspace/files") return { root: "r", revision: 1, files };
    if (name === "ask/check") return { secrets: [], coldPrefixSeconds: 60, ...script.check };
    if (name === "levels/fit") return { applied: script.applied ?? false };
    throw new EngineError("internal", `${name} is not asked for here`, "");
  };
  const plan: EngineClient["plan"] = async (params) => {
    planned.push(params.files.map(({ path }) => path));
    if (script.plan) return script.plan();
    const rows = params.files.map(({ path }) => ({
      ...{ path, tokens: 100, reason: "" },
      included: !script.over?.includes(path),
    }));
    const promptTokens = 50 + 100 * rows.filter(({ included }) => included).length;
    return {
      ...{ promptTokens, reusedTokens: 0, restoredTokens: 0, recomputedTokens: promptTokens, rope: { kind: "none" }, rows },
      limit: { tokens: 256, because: "trained length", explanation: "", wouldBe: 256 },
    };
  };
  store.dispatch({ type: "settings", settings: panelSettings({ kind: "auto" }) });
  store.dispatch({ type: "engineReady", info: sessionInfo({ device: "gpu" }) });
  const preSend = createPreSend({
    store,
    host: { call: call as Host["call"] },
    engine: { plan, planAttention: () => assert.fail("nothing is measured for a short prompt") },
    dispatch: (action) => store.dispatch(action),
    attempt: (work) => void work.catch((error: unknown) => problems.push(error)),
    engineFree: async () => undefined,
    changeRope: () => undefined,
    start: (question, without) => void asked.push({ question, without }),
  });
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  return { store, preSend, asked, called, planned, problems, settled };
}

describe("between Ask and computing", () => {
  it("asks at once where nothing is off, after looking at the files that go in", async () => {
    const { preSend, asked, called, store, settled } = panel();
    preSend.ask("q");
    assert.equal(store.state.sheet.status, "checking");
    await settled();
    assert.deepEqual(asked, [{ question: "q", without: [] }]);
    assert.deepEqual(called, ["workspace/files", 'ask/check {"paths":["a.ts","b.ts","c.ts"]}']);
    assert.equal(store.state.sheet.status, "closed");
  });

  it("looks for secrets only in what goes in", async () => {
    const { preSend, called, settled } = panel({ over: ["b.ts"] });
    preSend.ask("q");
    await settled();
    assert.equal(called.at(-1), 'ask/check {"paths":["a.ts","c.ts"]}');
  });

  it("shows what does not fit, asks nothing by itself, and asks with what fits when told to, once for a conversation", async () => {
    const { preSend, asked, store, settled } = panel({ over: ["c.ts"] });
    preSend.ask("q");
    await settled();
    assert.equal(store.state.sheet.status, "shown");
    assert.deepEqual(asked, []);
    preSend.choose("ask");
    assert.deepEqual(asked, [{ question: "q", without: [] }]);
    assert.equal(store.state.sheet.status, "closed");
    preSend.ask("and then?");
    await settled();
    assert.equal(asked.length, 2);
    store.dispatch({ type: "newQuestion" });
    preSend.ask("something else?");
    await settled();
    assert.equal(asked.length, 2);
  });

  it("leaves files with secrets out of the question, and looks at what goes in then", async () => {
    const check: Partial<Check> = { secrets: [secret] };
    const { preSend, asked, called, planned, settled } = panel({ check });
    preSend.ask("q");
    await settled();
    check.secrets = [];
    preSend.choose("leave-out");
    await settled();
    assert.deepEqual(planned.at(-1), ["a.ts", "c.ts"]);
    assert.equal(called.at(-1), 'ask/check {"paths":["a.ts","c.ts"]}');
    assert.deepEqual(asked, [{ question: "q", without: ["b.ts"] }]);
  });

  it("cancels without asking, and keeps the question", async () => {
    const { preSend, asked, store, settled } = panel({ check: { secrets: [secret] } });
    preSend.ask("q");
    await settled();
    preSend.choose("cancel");
    assert.deepEqual([asked.length, store.state.sheet.status, store.state.question], [0, "closed", "q"]);
    preSend.ask("q");
    preSend.stop();
    assert.equal(store.state.sheet.status, "closed");
    await settled();
    assert.deepEqual([asked.length, store.state.sheet.status], [0, "closed"], "what was given up changes nothing");
  });

  it("fits the levels to the window beside what is no file, and asks when they fit", async () => {
    const script = { over: ["c.ts"], applied: false };
    const { preSend, asked, called, store, settled } = panel(script);
    preSend.ask("q");
    await settled();
    preSend.choose("fit");
    await settled();
    const { sheet } = store.state;
    assert.ok(sheet.status === "shown" && sheet.sheet.overBudget);
    const window = sheet.sheet.overBudget.limit.tokens;
    assert.notEqual(window, 256, "that is the one of what fits already");
    assert.equal(called.at(-1), `levels/fit ${JSON.stringify({ window, reserve: 114, question: "q" })}`);
    assert.deepEqual([asked.length, store.state.sheet.status], [0, "shown"], "the preview was closed");
    Object.assign(script, { applied: true, over: [] });
    preSend.choose("fit");
    await settled();
    assert.deepEqual(asked, [{ question: "q", without: [] }]);
  });

  it("says how long a cold prefix takes by the user's setting", async () => {
    const check: Partial<Check> = { coldPrefixSeconds: 20 };
    const { preSend, asked, store, settled } = panel({ check });
    // 900 tokens in 90 s: 350 take 35 s.
    const timings = { packMs: 1, prefillMs: 90_000, decodeMs: 1 };
    store.dispatch({
      type: "runsListed",
      runs: [{ ...savedRun("r", { device: "gpu", timings }), settings: runSettings("tiny") }],
    });
    preSend.ask("q");
    await settled();
    const { sheet } = store.state;
    assert.ok(sheet.status === "shown" && sheet.sheet.cold);
    assert.deepEqual([sheet.sheet.cold.seconds, sheet.sheet.cold.recomputedTokens], [35, 350]);
    preSend.choose("cancel");
    for (const seconds of [40, 0]) {
      check.coldPrefixSeconds = seconds;
      preSend.ask("q");
      await settled();
    }
    assert.equal(asked.length, 2);
  });

  it("asks a question that cannot be planned, so that its run says why, and none while secrets cannot be looked for", async () => {
    const refused = panel({ plan: () => Promise.reject(new EngineError("context-too-long", "too long", "shorten it")) });
    refused.preSend.ask("q");
    await refused.settled();
    assert.equal(refused.asked.length, 1);
    const check = {
      get secrets(): Check["secrets"] {
        throw new EngineError("internal", "the token server does not answer", "reload the window");
      },
    };
    const failing = panel({ check });
    failing.preSend.ask("q");
    await failing.settled();
    assert.deepEqual([failing.asked.length, failing.problems.length, failing.store.state.sheet.status], [0, 1, "closed"]);
  });
});
