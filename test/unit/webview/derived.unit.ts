import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ModelSpec, RopeChoice } from "../../../engine/api.ts";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { windowFacts } from "../../../webview/state/derived.ts";
import { initialState, reduce } from "../../../webview/state/store.ts";
import type { State } from "../../../webview/state/store.ts";
import { alibiSpec, mambaSpec, modelSpec } from "./modelSpec.ts";

function ready(rope: RopeChoice, tokens: number, spec: ModelSpec = modelSpec()): State {
  const info = {
    model: "tiny",
    spec,
    parameterCount: 1,
    backend: "wgsl",
    backendBecause: "",
    device: "",
    weightFormat: "f32",
    weightBytes: 4,
    capacityTokens: 4096,
    tap: { layers: [0], because: "" },
  } as const;
  const sampling = { temperature: 0, topP: 1, seed: 1 };
  const settings = {
    rope,
    backend: "auto",
    weightFormat: "f32",
    products: "exact",
    sampling,
    quote: "constrained",
    maxAnswerTokens: 100,
    attention: WHOLE,
    kv: F32_CACHE,
  } as const;
  const budget = {
    revision: 1,
    state: "ready",
    tokenizer: "t",
    doneFiles: 1,
    totalFiles: 1,
    tokens,
    packTokens: tokens,
    approximate: false,
    window: 4096,
    reserve: 128,
    bytes: 1,
    excluded: 0,
  } as const;
  const state = reduce(initialState({ tab: "ask", question: "" }), { type: "engineReady", info });
  return reduce(reduce(state, { type: "settings", settings }), { type: "budget", budget });
}

function facts(state: State): Exclude<ReturnType<typeof windowFacts>, { problem: string } | undefined> {
  const found = windowFacts(state);
  assert.ok(found && !("problem" in found));
  return found;
}

describe("window meter", () => {
  it("estimates from the workspace before the first run", () => {
    const { usedTokens, usedIs, reservedTokens, limit } = facts(ready({ kind: "none" }, 700));
    assert.deepEqual([usedTokens, usedIs, reservedTokens, limit.tokens], [700, "the whole workspace", 100, 1024]);
  });

  it("follows the RoPE setting up to the cache's capacity", () => {
    assert.equal(facts(ready({ kind: "linear", factor: 2 }, 700)).limit.tokens, 2048);
    const { limit } = facts(ready({ kind: "linear", factor: 16 }, 700));
    assert.deepEqual([limit.tokens, limit.because], [4096, "kv-cache memory"]);
  });

  it("of models without rotation ends where they were trained, or goes on where that is left to us", () => {
    for (const spec of [alibiSpec(), mambaSpec()]) {
      assert.equal(facts(ready({ kind: "model" }, 700, spec)).limit.tokens, 1024);
      const { limit, rope } = facts(ready({ kind: "auto" }, 700, spec));
      assert.deepEqual([limit.tokens, limit.because, rope], [4096, "kv-cache memory", { kind: "none" }]);
    }
  });

  it("says what is wrong with a scaling for a model without rotation", () => {
    const found = windowFacts(ready({ kind: "linear", factor: 2 }, 700, alibiSpec()));
    assert.match(found && "problem" in found ? found.problem : "", /linear.*use the setting model/);
  });

  it("says what the engine resolved for this prompt, until the setting changes", () => {
    const limit = { tokens: 2048, because: "rope scaling", explanation: "", wouldBe: 1024 } as const;
    const rope = { kind: "linear", factor: 2 } as const;
    const asked = reduce(ready({ kind: "auto" }, 700), { type: "runStarted", id: "r", question: "q" });
    const packed = reduce(asked, {
      type: "runEvent",
      runId: "r",
      event: { type: "packed", rows: [], promptTokens: 800, limit, rope },
    });
    const now = facts(packed);
    assert.deepEqual([now.usedTokens, now.usedIs, now.limit.tokens, now.rope], [800, "this prompt", 2048, rope]);
    assert.ok(packed.settings);
    const changed = reduce(packed, { type: "settings", settings: { ...packed.settings, rope: { kind: "none" } } });
    assert.equal(facts(changed).limit.tokens, 1024);
    const evicting = { policy: { kind: "sinks", sinks: 4, window: 256 } } as const;
    const other = reduce(packed, { type: "settings", settings: { ...packed.settings, attention: evicting } });
    assert.notDeepEqual(facts(other).limit, limit, "other attention reaches elsewhere");
  });

  it("names a setting that cannot be applied instead of a number", () => {
    const found = windowFacts(ready({ kind: "linear", factor: 0.5 }, 700));
    assert.ok(found && "problem" in found);
  });
});
