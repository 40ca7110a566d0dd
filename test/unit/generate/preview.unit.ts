import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeChoice, Runtime } from "../../../engine/api.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import type { AskRequest } from "../../../engine/generate/api.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { openSession, type Session } from "../../../engine/session.ts";
import { memoryWorkspace, tinyModelFiles } from "../../support/tinyModel.ts";

const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
const never = new AbortController().signal;
const ignore = () => undefined;
const CONTENTS = {
  "src/a.ts": "export const limit = 3;\nfunction go() {\n  return limit;\n}\n".repeat(3),
  "src/b.ts": "import { limit } from './a';\nexport const twice = 2 * limit;\n",
};
const OTHERS: RopeChoice[] = [
  { kind: "linear", factor: 2 },
  { kind: "yarn", factor: 4, originalContext: 128, betaFast: 32, betaSlow: 1, truncate: true },
  { kind: "self_extend", group: 4, window: 16 },
  { kind: "rerope", window: 24 },
  { kind: "dual_chunk", chunkSize: 64, localSize: 16 },
];

/** A session of a random model, and the logits at the end of every prompt it read. */
async function open(layers: number): Promise<{ session: Session; promptLogits: Float32Array[] }> {
  const promptLogits: Float32Array[] = [];
  const session = await openSession(tinyModelFiles({ layers, promptFormat: "plain" }), runtime, {
    backend: "reference",
    weightFormat: "f32",
    openRunner: async (_kind, options) => {
      const runner = await openReferenceRunner(options);
      const append = runner.append.bind(runner);
      runner.append = async (ids, given) => {
        if (given?.logits !== undefined) return append(ids, given);
        const logits = await append(ids, { ...given, logits: "last" });
        // What is behind the prompt comes one by one.
        if (logits !== undefined && ids.length > 1) promptLogits.push(logits);
        return undefined;
      };
      return runner;
    },
  });
  return { session, promptLogits };
}

function asking(rope: RopeChoice, extra: Partial<AskRequest> = {}): AskRequest {
  const { files, readFile } = memoryWorkspace(CONTENTS);
  const sampling = { temperature: 0, topP: 1, seed: 1 };
  const settings = { rope, attention: WHOLE, sampling };
  return { question: "Where is go?", files, readFile, history: [], ...settings, quote: "free", maxAnswerTokens: 3, ...extra };
}

/** The end of the prompt read exactly under a scaling. */
async function exactly(layers: number, rope: RopeChoice) {
  const { session, promptLogits } = await open(layers);
  const result = await session.ask(asking(rope), never, ignore);
  return { result, logits: promptLogits[0] };
}

describe("a preview of another scaling", () => {
  it("under the same scaling is the exact answer", async () => {
    for (const rope of [{ kind: "model" }, ...OTHERS] as const) {
      const { session, promptLogits } = await open(2);
      const exact = await session.ask(asking(rope), never, ignore);
      const preview = await session.previewRope(rope, never, ignore);
      assert.deepEqual(promptLogits[1], promptLogits[0], rope.kind);
      assert.deepEqual([preview.answer, preview.rope, preview.limit], [exact.answer, exact.rope, exact.limit]);
    }
  });

  it("of a model of one layer is exact under every scaling: its keys and values know no rotation before their own", async () => {
    for (const rope of OTHERS) {
      const { session, promptLogits } = await open(1);
      await session.ask(asking({ kind: "model" }), never, ignore);
      const preview = await session.previewRope(rope, never, ignore);
      const exact = await exactly(1, rope);
      assert.deepEqual(promptLogits[1], exact.logits, rope.kind);
      assert.equal(preview.answer, exact.result.answer);
    }
  });

  it("of a deeper model is near the exact answer and not it", async () => {
    for (const rope of OTHERS) {
      const { session, promptLogits } = await open(2);
      await session.ask(asking({ kind: "model" }), never, ignore);
      await session.previewRope(rope, never, ignore);
      const exact = await exactly(2, rope);
      assert.notDeepEqual(promptLogits[1], exact.logits, rope.kind);
      assert.notDeepEqual(promptLogits[1], promptLogits[0], rope.kind);
    }
  });

  it("computes the question anew, and of the files only the page that it begins in", async () => {
    const { session } = await open(2);
    const asked = await session.ask(asking({ kind: "model" }), never, ignore);
    const progress: number[] = [];
    const preview = await session.previewRope({ kind: "linear", factor: 2 }, never, (event) => {
      if (event.type === "prefill") progress.push(event.doneTokens);
    });
    const context = asked.packed.at(-1)?.tokenEnd ?? 0;
    assert.equal(preview.recomputedTokens, asked.promptTokens - (context - (context % 16)));
    assert.equal(preview.promptTokens, asked.promptTokens);
    assert.equal(preview.approximate, true);
    assert.equal(progress.at(-1), asked.promptTokens);
  });

  it("leaves nothing that a later question would take for computed", async () => {
    const rope: RopeChoice = { kind: "linear", factor: 2 };
    for (const later of [rope, { kind: "model" }] as const) {
      const { session, promptLogits } = await open(2);
      await session.ask(asking({ kind: "model" }), never, ignore);
      await session.previewRope(rope, never, ignore);
      const after = await session.ask(asking(later), never, ignore);
      assert.equal(after.reusedTokens, 0);
      assert.deepEqual(promptLogits[2], (await exactly(2, later)).logits);
      const again = await session.ask(asking(later), never, ignore);
      assert.ok(again.reusedTokens > 0);
    }
  });

  it("after another preview is what it would have been at once", async () => {
    const [first, second] = OTHERS;
    const chained = await open(2);
    await chained.session.ask(asking({ kind: "model" }), never, ignore);
    for (const rope of OTHERS) await chained.session.previewRope(rope, never, ignore);
    await chained.session.previewRope(second, never, ignore);
    const direct = await open(2);
    await direct.session.ask(asking({ kind: "model" }), never, ignore);
    await direct.session.previewRope(second, never, ignore);
    assert.deepEqual(chained.promptLogits.at(-1), direct.promptLogits.at(-1));
    assert.notDeepEqual(first, second);
  });

  it("can be stopped, and tried again", async () => {
    const { session, promptLogits } = await open(2);
    await session.ask(asking({ kind: "model" }), never, ignore);
    const stop = new AbortController();
    await rejects(
      session.previewRope(OTHERS[0], stop.signal, () => stop.abort()),
      "aborted",
    );
    await session.previewRope(OTHERS[0], never, ignore);
    const direct = await open(2);
    await direct.session.ask(asking({ kind: "model" }), never, ignore);
    await direct.session.previewRope(OTHERS[0], never, ignore);
    assert.deepEqual(promptLogits.at(-1), direct.promptLogits.at(-1));
  });

  it("needs a question whose context is in the cache, and a scaling that reaches as far", async () => {
    const { session } = await open(2);
    await rejects(session.previewRope({ kind: "linear", factor: 2 }, never, ignore), "bad-argument");
    await session.ask(asking({ kind: "model" }), never, ignore);
    const short: RopeChoice = { kind: "yarn", factor: 1, originalContext: 100, betaFast: 32, betaSlow: 1, truncate: true };
    await rejects(session.previewRope(short, never, ignore), "context-too-long");
    await session.logits([5, 6], { rope: { kind: "model" }, all: false });
    await rejects(session.previewRope({ kind: "linear", factor: 2 }, never, ignore), "bad-argument");
    await session.ask(asking({ kind: "model" }), never, ignore);
    await session.perplexity([5, 6, 7], { rope: { kind: "model" } });
    await rejects(session.previewRope({ kind: "linear", factor: 2 }, never, ignore), "bad-argument");
    await rejects(session.ask(asking({ kind: "model" }, { question: "Where? ".repeat(900) }), never, ignore), "context-too-long");
    await rejects(session.previewRope({ kind: "linear", factor: 2 }, never, ignore), "bad-argument");
  });
});

async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => EngineError.is(error, code) && error.remedy !== "");
}
