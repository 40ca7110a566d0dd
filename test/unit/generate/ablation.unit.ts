import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Runtime } from "../../../engine/api.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { EngineError } from "../../../engine/errors.ts";
import { checkAnswer } from "../../../engine/generate/ablation.ts";
import type { AskRequest, CheckProgress, Citation } from "../../../engine/generate/api.ts";
import type { AskEngine, AskModel } from "../../../engine/generate/ask.ts";
import { HeldTokens } from "../../../engine/generate/heldTokens.ts";
import { WindowChooser } from "../../../engine/generate/window.ts";
import { BodyCache } from "../../../engine/pack/body.ts";
import { packFiles } from "../../../engine/pack/pack.ts";
import { resolveRope } from "../../../engine/position/choose.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { openSession } from "../../../engine/session.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { memoryWorkspace, tinyModelFiles, tinyTokenizerJson } from "../../support/tinyModel.ts";
import { retrievalModel } from "../../support/retrievalModel.ts";
import { latticeCodes } from "../../support/tokenCodes.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);
const never = new AbortController().signal;
const VOCABULARY = 320;
/** No two neighbouring tokens of the fact stand beside each other anywhere else, so that only it leads to the answer. */
const CONTENTS = {
  "src/a.ts": "A: let zq = 81;\nfoo.other(5)\n",
  "src/b.ts": "qux(bar)\nbaz(7)\n",
};
const FACT = "let zq = 81;";

/** A model that says behind two tokens what followed them before, with an answer in its cache that cites `citations`. */
async function answered(answer: string, citations: readonly Citation[]) {
  const { spec, weights } = retrievalModel(latticeCodes(VOCABULARY), VOCABULARY, 30);
  const runner = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
  const model: AskModel = {
    ...{ spec, tokenizer, chatTemplate: undefined, stopIds: new Set<number>(), attendedPrecision: undefined },
    bodies: new BodyCache(),
  };
  const { files, readFile } = memoryWorkspace(CONTENTS);
  const pack = await packFiles({
    ...{ files, readFile, tokenizer, before: Int32Array.of(), windowTokens: 100_000, reserveTokens: 0 },
    ...{ questions: [], cache: model.bodies },
  });
  const ids = Int32Array.from([...pack.ids, ...tokenizer.encode("Q: What?\nA: ")]);
  const rope = resolveRope({ kind: "model" }, spec, 4096, runner.capacityTokens, WHOLE);
  const asked = {
    question: "What is zq?",
    sampling: { temperature: 0, topP: 1, seed: 1 },
    quote: "constrained",
    maxAnswerTokens: 40,
  } as const;
  const engine: AskEngine = {
    held: new HeldTokens(runner),
    window: new WindowChooser(spec, () => runner.capacityTokens),
    prefixes: undefined,
    asked: {
      ...{ request: asked, packed: { pack, ids, rope }, attention: WHOLE },
      answer: { answer, citations, ids: [...tokenizer.encode(answer)] },
    },
  };
  return { model, engine, runner, ids };
}

function cited(path: string, line: number, quote: string): Citation {
  return { path, startLine: line, endLine: line, quote, verified: true };
}

describe("leaving out what an answer cites", () => {
  it("makes it improbable where the answer is there alone", async () => {
    const { model, engine, runner, ids } = await answered(FACT, [cited("src/a.ts", 1, FACT)]);
    const progress: CheckProgress[] = [];
    const check = await checkAnswer(model, engine, never, (step) => progress.push(step));
    assert.deepEqual(check.leftOut, [{ path: "src/a.ts", startLine: 1, endLine: 1 }]);
    assert.ok(check.withLines > 0.7, `${check.withLines} with the line`);
    assert.ok(check.withoutLines < check.withLines / 20, `${check.withoutLines} without it, ${check.withLines} with it`);
    assert.equal(check.verdict, "depends");
    assert.deepEqual([...new Set(progress.map(({ reading }) => reading))], ["without", "with"]);
    assert.equal(progress.at(-1)?.doneTokens, progress.at(-1)?.totalTokens);
    // What a follow-up or a preview finds is what the answer left.
    assert.equal(runner.length, ids.length + check.answerTokens - 1);
    assert.ok(engine.asked !== undefined);
  });

  it("changes nothing where another line was cited", async () => {
    for (const wrong of [cited("src/a.ts", 2, "foo.other(5)"), cited("src/b.ts", 2, "baz(7)")]) {
      const { model, engine } = await answered(FACT, [wrong]);
      const { withLines, withoutLines, verdict } = await checkAnswer(model, engine, never, () => undefined);
      assert.ok(Math.abs(withoutLines / withLines - 1) < 0.02, `${withoutLines} and ${withLines}`);
      assert.equal(verdict, "hardly");
    }
  });

  it("gives the same numbers again, from what is cached", async () => {
    const { model, engine } = await answered(FACT, [cited("src/a.ts", 1, FACT)]);
    const first = await checkAnswer(model, engine, never, () => undefined);
    const second = await checkAnswer(model, engine, never, () => undefined);
    assert.deepEqual(second, first);
  });

  it("leaves the whole file out where its header line is the answer", async () => {
    const header = "=== src/b.ts ===";
    const { model, engine } = await answered(header, [cited("src/b.ts", 1, "qux(bar)")]);
    const { leftOut, withLines, withoutLines } = await checkAnswer(model, engine, never, () => undefined);
    assert.deepEqual(leftOut, [{ path: "src/b.ts", startLine: 0, endLine: 0 }]);
    assert.ok(withoutLines < withLines);
  });

  it("is refused without an answer or a citation, with a remedy", async () => {
    const nothing = await answered(FACT, [{ path: "", startLine: 0, endLine: 0, quote: FACT, verified: false }]);
    const fails = (error: unknown): boolean => EngineError.is(error, "bad-argument") && error.remedy.length > 5;
    await assert.rejects(
      checkAnswer(nothing.model, nothing.engine, never, () => undefined),
      fails,
    );
    nothing.engine.asked = undefined;
    await assert.rejects(
      checkAnswer(nothing.model, nothing.engine, never, () => undefined),
      fails,
    );
  });

  it("stopped, it leaves nothing that could be taken for the answer's context", async () => {
    const { model, engine } = await answered(FACT, [cited("src/a.ts", 1, FACT)]);
    const controller = new AbortController();
    const stopped = checkAnswer(model, engine, controller.signal, () => controller.abort());
    await assert.rejects(stopped, (error) => EngineError.is(error, "aborted"));
    assert.equal(engine.asked, undefined);
  });
});

describe("a session", () => {
  const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };

  it("checks its last answer, and goes on as if it had not", async () => {
    const session = await openSession(tinyModelFiles(), runtime, { backend: "reference", weightFormat: "f32" });
    const { files, readFile } = memoryWorkspace(CONTENTS);
    const request: AskRequest = {
      ...{ question: "What is zq?", files, readFile, history: [], rope: { kind: "model" }, attention: WHOLE },
      ...{ sampling: { temperature: 1, topP: 1, seed: 3 }, quote: "constrained", maxAnswerTokens: 40 },
    };
    await assert.rejects(
      session.checkAnswer(never, () => undefined),
      (error) => EngineError.is(error, "bad-argument"),
    );
    const result = await session.ask(request, never, () => undefined);
    assert.equal(result.absent, false, "this random model quotes");
    const pooled = async (): Promise<number[]> => {
      const edges = { queryEdges: Uint32Array.of(0, result.promptTokens), keyEdges: Uint32Array.of(0, 8, result.promptTokens) };
      return [...(await session.pool({ layer: "mean", head: "mean", ...edges }, never)).cells];
    };
    const before = await pooled();
    const { withLines, withoutLines, answerTokens, attentionFrom } = await session.checkAnswer(never, () => undefined);
    // What the map shows is the run's own again, not the one without the lines.
    assert.equal(attentionFrom, result.attentionFrom);
    for (const [cell, mass] of (await pooled()).entries()) assert.ok(Math.abs(mass - (before[cell] ?? NaN)) < 1e-5);
    for (const probability of [withLines, withoutLines]) assert.ok(probability > 0 && probability <= 1, `${probability}`);
    assert.equal(answerTokens, result.answerTokens);
    const preview = await session.previewRope({ kind: "model" }, never, () => undefined);
    assert.equal(preview.answer, result.answer);
    const again = await session.ask(request, never, () => undefined);
    assert.deepEqual([again.answer, again.citations], [result.answer, result.citations]);
    session.close();
  });
});
