/** Attention in the panel: every policy and field can be chosen and changes the setting, and what cannot be is said where it is typed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AttentionChoice } from "../../../engine/attention/api.ts";
import { formatAttention, parseAttention } from "../../../engine/attention/policy.ts";
import { policyTable } from "../../../engine/attention/policyTable.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { createAttentionLab } from "../../../webview/attentionLab.ts";
import type { PanelSettings } from "../../../webview/protocol/panel.ts";
import {
  attentionDraft,
  attentionRows,
  draftOfKind,
  pagesRow,
  readAttentionDraft,
} from "../../../webview/state/attentionDraft.ts";
import type { AttentionDraft } from "../../../webview/state/attentionDraft.ts";
import { attentionProblem, attentionWord } from "../../../webview/state/attentionFacts.ts";
import { createStore, initialState } from "../../../webview/state/store.ts";
import { mambaSpec } from "./modelSpec.ts";
import { panelSettings, sessionInfo } from "./panelFixtures.ts";

const flash = attentionDraft(WHOLE);

function choiceOf(draft: AttentionDraft): AttentionChoice {
  const reading = readAttentionDraft(draft);
  assert.ok("choice" in reading, JSON.stringify(reading));
  return reading.choice;
}

function problemsOf(draft: AttentionDraft): Readonly<Record<string, string>> {
  const reading = readAttentionDraft(draft);
  assert.ok("problems" in reading);
  return reading.problems;
}

describe("attention settings in the panel", () => {
  it("offer every policy, with its defaults, and read back what they show", () => {
    assert.deepEqual([...attentionRows.map(({ kind }) => kind), "top-pages"].sort(), policyTable.map(({ kind }) => kind).sort());
    for (const { kind } of attentionRows) {
      const choice = choiceOf(draftOfKind(kind, flash));
      assert.deepEqual(choice, parseAttention(kind), kind);
      assert.deepEqual(choiceOf(attentionDraft(choice)), choice, kind);
    }
  });

  it("change the choice with every field of every policy, and name its range where it is left", () => {
    for (const { kind, fields } of attentionRows) {
      const draft = draftOfKind(kind, flash);
      for (const field of fields) {
        const write = (text: string): AttentionDraft => ({ ...draft, text: { ...draft.text, [field.name]: text } });
        const other =
          "words" in field
            ? field.words.find((word) => word !== field.fallback)
            : String(field.whole ? field.fallback + 1 : field.least);
        const changed = choiceOf(write(` ${other ?? ""} `));
        assert.notEqual(formatAttention(changed), formatAttention(choiceOf(draft)), `${kind} ${field.name}`);
        for (const wrong of ["", "four", "1e3", "-1", "words" in field ? "spiral" : String(field.most + 1)]) {
          assert.deepEqual(Object.keys(problemsOf(write(wrong))), [field.name], `${kind} ${field.name} "${wrong}"`);
        }
        if (!("words" in field) && field.whole)
          assert.match(problemsOf(write("1.5"))[field.name] ?? "", /a whole number of .* from \d/);
      }
    }
  });

  it("add decoding by top pages to a policy, and say where it cannot be", () => {
    assert.deepEqual(choiceOf({ ...flash, pages: "16" }), { policy: { kind: "flash" }, topPages: 16 });
    assert.deepEqual(Object.keys(problemsOf({ ...flash, pages: "0" })), [pagesRow.fields[0].name]);
    const sinks = draftOfKind("sinks", flash);
    assert.match(problemsOf({ ...sinks, pages: "16" })[""] ?? "", /evicted.*; .*a-shape/);
    const paged = { ...flash, pages: "16" };
    assert.equal(draftOfKind("a-shape", paged).pages, "16");
    assert.equal(draftOfKind("sinks", paged).pages, "", "what does not go with a policy does not keep it from being chosen");
  });

  it("pass on what no field can say alone", () => {
    const fixed = draftOfKind("fixed", flash);
    assert.match(problemsOf({ ...fixed, text: { stride: "8", summary: "9" } })[""] ?? "", /summary.*; give/);
  });

  it("are saved once they can be read, and shown as typed until then", () => {
    const store = createStore(initialState({ tab: "ask", question: "" }));
    const saved: Partial<PanelSettings>[] = [];
    const lab = createAttentionLab({
      store,
      engine: { planAttention: () => assert.fail("nothing is planned") },
      dispatch: (action) => store.dispatch(action),
      changeSettings: (change) => {
        saved.push(change);
        store.dispatch({ type: "settings", settings: { ...panelSettings({ kind: "auto" }), ...change } });
      },
    });
    const window = draftOfKind("window", flash);
    lab.edit({ ...window, text: { window: "many" } });
    assert.deepEqual(saved, []);
    assert.equal(store.state.attentionDraft?.text["window"], "many");
    lab.edit({ ...window, text: { window: "256" } });
    assert.deepEqual(saved, [{ attention: { policy: { kind: "window", window: 256 } } }]);
    assert.equal(store.state.attentionDraft, undefined);
  });
});

describe("what follows from an attention setting", () => {
  const sinks = parseAttention("sinks:4,256");

  it("WASM says at once what it would refuse when asked", () => {
    const wasm = sessionInfo({ backend: "ort" });
    assert.match(attentionProblem(sinks, wasm) ?? "", /sinks.*WASM; choose flash/);
    assert.match(attentionProblem({ ...WHOLE, topPages: 8 }, wasm) ?? "", /top pages/);
    assert.equal(attentionProblem(WHOLE, wasm), undefined);
    assert.equal(attentionProblem(sinks, sessionInfo({ backend: "wgsl" })), undefined);
    assert.equal(attentionProblem(sinks, undefined), undefined);
  });

  it("the chip says what would be written at a command line", () => {
    const settings = { ...panelSettings({ kind: "auto" }), attention: sinks, kv: { keys: "q8", values: "f16" } as const };
    const ready = { status: "ready", info: sessionInfo() } as const;
    assert.equal(attentionWord({ settings, engine: ready }), "sinks:4,256 · q8,f16 cache");
    assert.equal(attentionWord({ settings: panelSettings({ kind: "auto" }), engine: ready }), "flash");
    const recurrent = { status: "ready", info: sessionInfo({ spec: mambaSpec() }) } as const;
    assert.equal(attentionWord({ settings, engine: recurrent }), "no attention");
  });
});
