import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ModelFiles, Runtime } from "../../../engine/api.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import type { RopeSearchEvent, RopeSearchRequest, RopeSearchResult, RopeSearchState } from "../../../engine/eval/api.ts";
import { readDocuments } from "../../../engine/eval/documents.ts";
import { parseRopeSearchState } from "../../../engine/eval/ropeSearch.ts";
import { BodyCache } from "../../../engine/pack/body.ts";
import { formatRope, parseRope } from "../../../engine/position/ropeJson.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { releasedSearch } from "../../../engine/position/search.ts";
import { openSession, type Session } from "../../../engine/session.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { memoryWorkspace, tinyModelFiles, tinyTokenizerJson } from "../../support/tinyModel.ts";

const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
const never = new AbortController().signal;
const ignore = () => undefined;
const CONTENTS = {
  "src/a.ts": "export const limit = 3;\nfunction go() {\n  return limit;\n}\n".repeat(4),
  "src/b.ts": "import { limit } from './a';\nexport const twice = 2 * limit;\n".repeat(4),
};
/** Trained on 16 tokens, searched for 64. */
const TARGET = 64;
const options = { ...releasedSearch, population: 6, parents: 3, mutations: 2, crossovers: 2, iterations: 2, step: 0.25 };

function open(files: ModelFiles = tinyModelFiles({ maxPositions: 16 })): Promise<Session> {
  return openSession(files, runtime, { backend: "reference", weightFormat: "f32" });
}

function request(
  extra: Partial<RopeSearchRequest> = {},
  contents: Readonly<Record<string, string>> = CONTENTS,
): RopeSearchRequest {
  const { files, readFile } = memoryWorkspace(contents);
  return { files, readFile, targetTokens: TARGET, documents: 2, options, ...extra };
}

describe("LongRoPE's search on files", () => {
  it("finds factors no worse than it began with, whose perplexity anybody can measure", async () => {
    const session = await open();
    const events: RopeSearchEvent[] = [];
    const result = await session.searchRope(request({ documents: 1 }), never, (event) => events.push(event));
    assert.ok(result.finished && result.best);
    const judged = events.filter((event) => event.type === "judged");
    assert.equal(judged.length, 6 + 2 * 4);
    assert.ok(result.best.perplexity <= judged[0].perplexity);
    assert.equal(result.best.perplexity, Math.min(...judged.map(({ perplexity }) => perplexity)));
    assert.deepEqual([judged.at(-1)?.generation, judged.at(-1)?.planned], [2, 14]);

    const { scaling } = result.best;
    assert.ok(scaling.kind === "longrope");
    assert.deepEqual([scaling.originalContext, scaling.factor, scaling.longFactor.length], [16, 4, 8]);
    assert.deepEqual(scaling.shortFactor, new Array(8).fill(1));
    const { spec } = session.info;
    assert.deepEqual(parseRope(JSON.stringify(formatRope(scaling)), spec), scaling);

    const text = await searchedText();
    for (const [rope, expected] of [
      [scaling, result.best.perplexity],
      [{ kind: "none" }, result.progress.plain],
      [{ kind: "yarn", factor: 4, originalContext: 16, betaFast: 32, betaSlow: 1, truncate: true }, result.progress.yarn],
    ] as const) {
      const { perplexity } = await session.perplexity(text, { rope });
      assert.ok(Math.abs(perplexity - expected) < 1e-9 * expected, `${rope.kind}: ${perplexity} is not ${expected}`);
    }
  });

  it("stopped anywhere and resumed from JSON gives exactly what it gives at once", async () => {
    const whole = await (await open()).searchRope(request(), never, ignore);
    for (const stopAfter of [1, 7, 11]) {
      const stop = new AbortController();
      let judged = 0;
      const half = await (
        await open()
      ).searchRope(request(), stop.signal, (event) => {
        if (event.type === "judged" && ++judged === stopAfter) stop.abort();
      });
      assert.equal(half.finished, false);
      assert.equal(half.progress.judged, stopAfter);
      const resume = parseRopeSearchState(JSON.parse(JSON.stringify(half.state)));
      const rest = await (await open()).searchRope(request({ resume }), never, ignore);
      assert.deepEqual(rest, whole);
    }
  });

  it("stopped within a judgement throws that one away", async () => {
    const stop = new AbortController();
    let lists = 0;
    const half = await (
      await open()
    ).searchRope(request(), stop.signal, (event) => {
      if (event.type === "judged") lists++;
      if (event.type === "scoring" && lists === 3) stop.abort();
    });
    assert.equal(half.progress.judged, 3);
    const whole = await (await open()).searchRope(request(), never, ignore);
    assert.deepEqual(await (await open()).searchRope(request({ resume: half.state }), never, ignore), whole);
  });

  it("stopped before anything was judged says so", async () => {
    const stop = new AbortController();
    await rejects(
      (await open()).searchRope(request(), stop.signal, (event) => {
        if (event.type === "scoring") stop.abort();
      }),
      "aborted",
    );
  });

  it("sends whole states that can be resumed if it dies", async () => {
    const states: RopeSearchState[] = [];
    const whole = await (
      await open()
    ).searchRope(request(), never, (event) => {
      if (event.type === "state") states.push(event.state);
    });
    assert.ok(states.length >= 3);
    for (const resume of states) {
      const again = await (await open()).searchRope(request({ resume }), never, ignore);
      assert.deepEqual(again, whole);
    }
  });

  it("goes on by itself when the device is lost, from where it was", async () => {
    const whole = await (await open()).searchRope(request(), never, ignore);
    let opened = 0;
    const session = await openSession(tinyModelFiles({ maxPositions: 16 }), runtime, {
      backend: "reference",
      weightFormat: "f32",
      openRunner: async (_kind, options) => {
        const runner = await openReferenceRunner(options);
        if (opened++ > 0) return runner;
        let appends = 0;
        const append = runner.append.bind(runner);
        runner.append = (ids, given) => {
          if (++appends === 15) throw new EngineError("device-lost", "gone", "ask again");
          return append(ids, given);
        };
        return runner;
      },
    });
    const events: string[] = [];
    const result = await session.searchRope(request(), never, ({ type }) => events.push(type));
    assert.equal(opened, 2);
    assert.equal(events.filter((type) => type === "recovered").length, 1);
    assert.deepEqual(result, whole);
  });

  it("goes on from a finished search with more iterations", async () => {
    const { state } = await (await open()).searchRope(request(), never, ignore);
    const more = await (
      await open()
    ).searchRope(request({ resume: state, options: { ...options, iterations: 4 } }), never, ignore);
    const atOnce = await (await open()).searchRope(request({ options: { ...options, iterations: 4 } }), never, ignore);
    assert.deepEqual(more, atOnce);
  });

  it("uses the lengths, texts and seed it is given", async () => {
    const run = async (
      extra: Partial<RopeSearchRequest>,
      contents?: Readonly<Record<string, string>>,
    ): Promise<RopeSearchResult> =>
      (await open()).searchRope(request({ options: { ...options, iterations: 0 }, ...extra }, contents), never, ignore);
    const base = await run({});
    const longer = await run({ targetTokens: 128 });
    assert.ok(longer.best?.scaling.kind === "longrope" && longer.best.scaling.factor === 8);
    for (const other of [
      await run({ documents: 1 }),
      await run({ options: { ...options, iterations: 0, seed: 5 } }),
      await run({}, { ...CONTENTS, "src/a.ts": CONTENTS["src/a.ts"].replace("3", "4") }),
    ]) {
      assert.notDeepEqual([other.progress.plain, other.best?.perplexity], [base.progress.plain, base.best?.perplexity]);
    }
  });

  it("refuses what cannot be searched, with a remedy", async () => {
    const search = async (extra: Partial<RopeSearchRequest>, contents?: Readonly<Record<string, string>>): Promise<unknown> =>
      (await open()).searchRope(request(extra, contents), never, ignore);
    await rejects(search({ targetTokens: 16 }), "bad-argument");
    await rejects(search({ targetTokens: 40.5 }), "bad-argument");
    await rejects(search({ documents: 0 }), "bad-argument");
    await rejects(search({ targetTokens: 100_000 }), "context-too-long");
    await rejects(search({}, { "a.ts": "const a = 1;\n" }), "context-too-long");
    const { state } = await (await open()).searchRope(request({ options: { ...options, iterations: 0 } }), never, ignore);
    for (const change of [{ targetTokens: 128 }, { documents: 1 }, { options: { ...options, seed: 3 } }]) {
      await rejects(search({ resume: state, ...change }), "bad-argument");
    }
    await rejects(search({ resume: state }, { ...CONTENTS, "src/a.ts": "x = 1;\n".repeat(60) }), "bad-argument");
    const other = await open(tinyModelFiles({ maxPositions: 32 }));
    await rejects(other.searchRope(request({ resume: state }), never, ignore), "bad-argument");
    for (const json of [[], {}, { ...state, model: 3 }, { ...state, plain: "1" }, { ...state, search: {} }]) {
      assert.throws(
        () => parseRopeSearchState(json),
        (error) => EngineError.is(error, "bad-argument") && error.remedy !== "",
      );
    }
  });

  it("leaves nothing in the cache that a question would take for its own", async () => {
    const session = await open(tinyModelFiles({ maxPositions: 16 }));
    const { files, readFile } = memoryWorkspace({ "a.ts": "const a = 1;\n" });
    const ask = { question: "a?", files, readFile, history: [], rope: { kind: "linear", factor: 32 } } as const;
    const asked = {
      ...ask,
      attention: WHOLE,
      sampling: { temperature: 0, topP: 1, seed: 1 },
      quote: "free",
      maxAnswerTokens: 2,
    } as const;
    const before = await session.ask(asked, never, ignore);
    await session.searchRope(request({ options: { ...options, iterations: 0 } }), never, ignore);
    const after = await session.ask(asked, never, ignore);
    assert.equal(after.reusedTokens, 0);
    assert.equal(after.answer, before.answer);
  });
});

/** The text that a search on one text of CONTENTS judges by. */
async function searchedText(): Promise<number[]> {
  const { files, readFile } = memoryWorkspace(CONTENTS);
  const tokenizer = loadTokenizer(tinyTokenizerJson);
  const from = { files, readFile, tokenizer, cache: new BodyCache(), documentTokens: TARGET, documents: 1, seed: options.seed };
  const [text] = await readDocuments(from);
  return [...text];
}

async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => EngineError.is(error, code) && error.remedy !== "");
}
