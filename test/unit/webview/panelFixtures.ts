import type { RopeChoice, SessionInfo } from "../../../engine/api.ts";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import type { AskResult } from "../../../engine/generate/api.ts";
import type { PanelSettings, SavedRun } from "../../../webview/protocol/panel.ts";
import { modelSpec } from "./modelSpec.ts";

/** A loaded model with room for 65,536 tokens; tests change what they are about. */
export function sessionInfo(change: Partial<SessionInfo> = {}): SessionInfo {
  return {
    model: "tiny",
    spec: modelSpec(),
    parameterCount: 1,
    backend: "wgsl",
    backendBecause: "",
    device: "",
    weightFormat: "f32",
    weightBytes: 4,
    kv: F32_CACHE,
    capacityTokens: 65536,
    tap: { layers: [0], because: "" },
    ...change,
  };
}

/** Settings of a panel whose user chose `rope` and nothing else. */
export function panelSettings(rope: RopeChoice): PanelSettings {
  return {
    rope,
    attention: WHOLE,
    kv: F32_CACHE,
    backend: "auto",
    weightFormat: "f32",
    products: "exact",
    sampling: { temperature: 0, topP: 1, seed: 1 },
    quote: "constrained",
    maxAnswerTokens: 64,
  };
}

/** An answer of ten tokens to a prompt of 900, under the model's own rotation. */
export function askResult(change: Partial<AskResult> = {}): AskResult {
  return {
    question: "where?",
    answer: "there",
    absent: false,
    stoppedBy: "end",
    citations: [],
    lookedAt: [],
    prose: "",
    attended: [],
    promptTokens: 900,
    reusedTokens: 0,
    restoredTokens: 0,
    attentionFrom: 0,
    answerTokens: 10,
    answerStart: 900,
    backend: "wgsl",
    backendBecause: "",
    device: "",
    rope: { kind: "none" },
    attention: WHOLE,
    kv: F32_CACHE,
    limit: { tokens: 2048, because: "rope scaling", explanation: "", wouldBe: 1024 },
    rows: [],
    packed: [],
    timings: { packMs: 1, prefillMs: 1, decodeMs: 1 },
    ...change,
  };
}

/** A run as the panel keeps it, answered "answer <id>". */
/** What a run with a model was asked with. */
export function runSettings(model: string): SavedRun["settings"] {
  const sampling = { temperature: 0, topP: 1, seed: 0 };
  return { model, weightFormat: "f32", products: "exact", sampling, quote: "constrained", maxAnswerTokens: 128 };
}

export function savedRun(id: string, change: Partial<AskResult> = {}, askedAt = "2026-01-01T00:00:00.000Z"): SavedRun {
  return { id, askedAt, result: askResult({ answer: `answer ${id}`, ...change }) };
}
