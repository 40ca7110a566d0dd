/** What is off about a question, as a decision: facts in, a sheet or nothing out. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AskPlan } from "../../../engine/generate/api.ts";
import type { PackRow } from "../../../engine/pack/api.ts";
import { type AskFacts, estimateByRuns, type Sheet, sheetFor } from "../../../webview/state/sheet.ts";
import { packWindow } from "../../../webview/state/derived.ts";
import { initialState, reduce, type State } from "../../../webview/state/store.ts";
import { panelSettings, runSettings, savedRun, sessionInfo } from "./panelFixtures.ts";

const row = (path: string, tokens: number, included: boolean): PackRow => ({
  path,
  tokens,
  included,
  reason: included ? "everything fits" : `needs ${tokens} tokens, 5 left`,
});
const plan: AskPlan = {
  ...{ promptTokens: 1000, reusedTokens: 0, restoredTokens: 0, recomputedTokens: 1000, rope: { kind: "none" } },
  limit: { tokens: 2048, because: "trained length", explanation: "The model was trained on 2,048 tokens.", wouldBe: 65536 },
  rows: [row("a.ts", 600, true), row("b.ts", 350, true)],
};
const facts: AskFacts = {
  ...{ plan, maxAnswerTokens: 64, secrets: [], estimate: undefined, coldPrefixSeconds: 60 },
  window: { limit: plan.limit, widerTokens: undefined },
  accepted: { secrets: [], overLimitTokens: undefined, cold: false },
};
const overPlan: AskPlan = { ...plan, rows: [...plan.rows, row("big.ts", 1500, false), row("bigger.ts", 1600, false)] };
const key = { path: "a.ts", line: 3, rule: "aws", message: "looks like an AWS secret access key" };

describe("the sheet before a question", () => {
  it("is not shown while nothing is off", () => {
    assert.equal(sheetFor(facts), undefined);
    assert.equal(sheetFor({ ...facts, estimate: { seconds: 60, because: "a measurement" } }), undefined);
  });

  it("says what would be left out, by how many tokens, and what a fit must keep free", () => {
    const sheet = sheetFor({ ...facts, plan: overPlan });
    assert.deepEqual(sheet?.choices, ["ask", "fit", "cancel"]);
    assert.deepEqual(
      sheet.overBudget?.leftOut.map(({ path, reason }) => `${path}: ${reason}`),
      ["bigger.ts: needs 1600 tokens, 5 left", "big.ts: needs 1500 tokens, 5 left"],
    );
    // 1,000 of the prompt, 3,100 left out and 64 for the answer, of 2,048.
    assert.equal(sheet.overBudget?.overTokens, 2116);
    // 50 of the prompt are no file's.
    assert.equal(sheet.overBudget.reserveTokens, 50 + 64);
    assert.equal(sheet.overBudget.files, 4);
  });

  it("counts of a file that is read in part what is missing, for the window too", () => {
    const part = { ...row("huge.ts", 400, true), wholeTokens: 2500, reason: "in part, 40 of 250 lines: seems to define x" };
    const inPart: AskPlan = { ...overPlan, promptTokens: 1400, rows: [...overPlan.rows, part] };
    const sheet = sheetFor({ ...facts, plan: inPart });
    assert.deepEqual(
      sheet?.overBudget?.leftOut.map(({ path }) => path),
      ["huge.ts", "bigger.ts", "big.ts"],
    );
    // 1,400 of the prompt, 3,100 left out, 2,100 of the file that is read in part, and 64 for the answer, of 2,048.
    assert.equal(sheet?.overBudget?.overTokens, 1400 + 3100 + 2100 + 64 - 2048);
    assert.equal(sheet.overBudget.reserveTokens, 50 + 64);
    const state = reduce(
      reduce(initialState({ tab: "ask", question: "" }), { type: "settings", settings: panelSettings({ kind: "auto" }) }),
      { type: "engineReady", info: sessionInfo() },
    );
    const whole = { ...inPart, promptTokens: 3500, rows: [...overPlan.rows, row("huge.ts", 2500, true)] };
    assert.deepEqual(packWindow(state, inPart), packWindow(state, whole));
  });

  it("offers a wider window only where there is one", () => {
    const state = (rope: "none" | "auto"): State =>
      reduce(reduce(initialState({ tab: "ask", question: "" }), { type: "settings", settings: panelSettings({ kind: rope }) }), {
        type: "engineReady",
        info: sessionInfo(),
      });
    const trained = packWindow(state("none"), overPlan);
    assert.ok(trained);
    const large = { ...overPlan, rows: [...overPlan.rows, row("all.ts", 3 * trained.limit.tokens, false)] };
    const window = packWindow(state("none"), large);
    assert.equal(window?.limit.tokens, trained.limit.tokens, "the model's own, however much wants to go in");
    assert.ok((window.widerTokens ?? 0) > window.limit.tokens);
    const auto = packWindow(state("auto"), large);
    assert.ok(auto);
    assert.equal(auto.widerTokens, undefined, "automatic already");
    assert.ok(auto.limit.tokens > large.limit.tokens, "not the smaller one of what was kept");
    assert.deepEqual(sheetFor({ ...facts, plan: large, window })?.choices, ["ask", "fit", "widen", "cancel"]);
    assert.equal(sheetFor({ ...facts, plan: large, window: auto })?.overBudget?.limit, auto.limit);
  });

  it("puts leaving files with secrets out first, unless nothing would be left", () => {
    const sheet = sheetFor({ ...facts, secrets: [key, { ...key, line: 9 }] });
    assert.deepEqual(sheet?.choices, ["leave-out", "ask", "cancel"]);
    assert.deepEqual(sheet.secrets?.paths, ["a.ts"]);
    const everywhere = sheetFor({ ...facts, secrets: [key, { ...key, path: "b.ts" }] });
    assert.deepEqual(everywhere?.choices, ["ask", "cancel"]);
  });

  it("says how long reading takes only above the user's limit, and never at 0", () => {
    const slow = { ...facts, estimate: { seconds: 90, because: "the last question" as const } };
    assert.deepEqual(sheetFor(slow)?.cold, {
      ...{ seconds: 90, because: "the last question" },
      ...{ recomputedTokens: 1000, promptTokens: 1000 },
    });
    assert.equal(sheetFor({ ...slow, coldPrefixSeconds: 120 }), undefined);
    assert.equal(sheetFor({ ...slow, coldPrefixSeconds: 0 }), undefined);
  });

  it("does not say again what was accepted: a finding where it stands, the window of this conversation", () => {
    const all = { ...facts, plan: overPlan, secrets: [key], estimate: { seconds: 90, because: "a measurement" as const } };
    const sheet = sheetFor(all);
    assert.ok(sheet);
    const accepted = accept(sheet, true);
    assert.equal(sheetFor({ ...all, accepted }), undefined);
    assert.ok(sheetFor({ ...all, accepted, secrets: [key, { ...key, line: 4 }] })?.secrets, "another line");
    assert.ok(sheetFor({ ...all, accepted: accept(sheet, false) })?.secrets, "left out, not accepted");
    const smaller = { limit: { ...plan.limit, tokens: 1024 }, widerTokens: undefined };
    assert.ok(sheetFor({ ...all, window: smaller, accepted })?.overBudget, "another window");
  });

  /** What is accepted after such a sheet. */
  function accept(sheet: Sheet, secrets: boolean): AskFacts["accepted"] {
    const shown = reduce(initialState({ tab: "ask", question: "q" }), {
      ...{ type: "sheetShown", question: "q", without: [] },
      sheet,
    });
    return reduce(shown, { type: "sheetAccepted", secrets }).sheet.accepted;
  }
});

describe("the state of the sheet", () => {
  const sheet = sheetFor({ ...facts, plan: overPlan });
  assert.ok(sheet);
  const shown = reduce(initialState({ tab: "ask", question: "q" }), {
    ...{ type: "sheetShown", question: "q", without: [] },
    sheet,
  });

  it("goes when the question is changed, and stays when it is only drawn again", () => {
    assert.equal(reduce(shown, { type: "question", text: "q " }).sheet.status, "shown");
    assert.equal(reduce(shown, { type: "question", text: "q?" }).sheet.status, "closed");
    assert.equal(reduce(shown, { type: "tab", tab: "inspect" }).sheet.status, "shown");
    assert.equal(reduce(shown, { type: "newQuestion" }).sheet.status, "closed");
  });

  it("asks about the window again in a new conversation, about the time with every question", () => {
    const accepted = reduce(shown, { type: "sheetAccepted", secrets: true });
    assert.equal(accepted.sheet.accepted.overLimitTokens, 2048);
    assert.equal(reduce(accepted, { type: "newQuestion" }).sheet.accepted.overLimitTokens, undefined);
    const cold = { ...shown.sheet, accepted: { ...shown.sheet.accepted, cold: true } };
    assert.equal(reduce({ ...shown, sheet: cold }, { type: "sheetClosed" }).sheet.accepted.cold, false);
  });
});

describe("how long reading takes", () => {
  const info = sessionInfo({ model: "tiny", backend: "wgsl", device: "gpu" });
  const settings = panelSettings({ kind: "none" });
  /** 900 tokens of which 100 were cached, read in 2 s. */
  const run = (model: string, device = "gpu", promptTokens = 900) => ({
    ...savedRun("r", { device, promptTokens, reusedTokens: 100, timings: { packMs: 1, prefillMs: 2000, decodeMs: 1 } }),
    settings: runSettings(model),
  });

  it("follows from the newest run of this model on this device", () => {
    const estimate = estimateByRuns(plan, [run("tiny"), run("other")], info, settings);
    assert.deepEqual(estimate, { seconds: 2.5, because: "the last question" });
  });

  it("is not known from other models, other devices, another attention or a few tokens", () => {
    const others = [run("other"), run("tiny", "cpu"), run("tiny", "gpu", 200)];
    assert.equal(estimateByRuns(plan, others, info, settings), undefined);
    const windowed = { ...settings, attention: { ...settings.attention, policy: { kind: "window" as const, window: 64 } } };
    assert.equal(estimateByRuns(plan, [run("tiny")], info, windowed), undefined);
  });
});
