import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BackendKind, Runner, Runtime } from "../../engine/api.ts";
import { WHOLE } from "../../engine/attention/wholeOnly.ts";
import type { AskEvent, AskRequest } from "../../engine/generate/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { openReferenceRunner } from "../../engine/reference/open.ts";
import { openSession, type SessionOptions } from "../../engine/session.ts";
import { loadTokenizer } from "../../engine/tokenizer/load.ts";
import { FakeRunner } from "../support/fakeRunner.ts";
import { memoryWorkspace, tinyModelFiles, type TinyModelOptions, tinyTokenizerJson } from "../support/tinyModel.ts";

const tinyTokenizer = loadTokenizer(tinyTokenizerJson);
const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };

const CONTENTS = {
  "src/a.ts": "export const limit = 3;\nfunction go() {\n  return limit;\n}\n",
  "src/b.ts": "import { limit } from './a';\nexport const twice = 2 * limit;\n",
};

function request(question: string, extra: Partial<AskRequest> = {}): AskRequest {
  const { files, readFile } = memoryWorkspace(CONTENTS);
  return {
    question,
    files,
    readFile,
    history: [],
    rope: { kind: "auto" },
    attention: WHOLE,
    sampling: { temperature: 0, topP: 1, seed: 1 },
    quote: "constrained",
    maxAnswerTokens: 40,
    ...extra,
  };
}

const never = new AbortController().signal;
const ignore = () => undefined;

function open(options: Partial<SessionOptions> = {}, model: TinyModelOptions = {}) {
  return openSession(tinyModelFiles(model), runtime, { backend: "reference", weightFormat: "f32", ...options });
}

/** The answer as someone sees it who follows the events. */
function shownText(events: readonly AskEvent[]): string {
  let text = "";
  for (const event of events) {
    if (event.type === "token") text += event.text;
    else if (event.type === "candidate") text = event.text;
  }
  return text;
}

/** A session whose runners are fakes, made in order by `make`. */
async function openFake(make: (kind: BackendKind, opening: number) => Runner, model: TinyModelOptions = {}) {
  const opened: BackendKind[] = [];
  const session = await open(
    {
      openRunner: async (kind) => {
        opened.push(kind);
        return make(kind, opened.length - 1);
      },
    },
    model,
  );
  return { session, opened };
}

describe("a session on the reference backend", () => {
  it("answers with a verbatim line at its place, and reuses what was prefilled", async () => {
    const session = await open();
    const events: AskEvent[] = [];
    const first = await session.ask(request("Where is `limit` defined?"), never, (event) => events.push(event));
    assert.equal(first.reusedTokens, 0);
    assert.equal(first.stoppedBy, "end");
    const lines = Object.entries(CONTENTS).flatMap(([path, text]) => [
      `=== ${path} ===`,
      ...text.split("\n").map((line) => line.trim()),
    ]);
    if (!first.absent) {
      assert.ok(lines.includes(first.answer), first.answer);
      const [citation] = first.citations;
      assert.ok(citation?.verified);
    }
    assert.equal(shownText(events), first.answer);
    assert.deepEqual([...new Set(events.map((event) => event.type))].slice(0, 4), ["packing", "packed", "prefill", "candidate"]);
    const last = events.filter((event) => event.type === "prefill").at(-1);
    assert.equal(last?.type === "prefill" && last.doneTokens, first.promptTokens);

    const second = await session.ask(
      request("What is twice?", { history: [{ question: "Where is `limit` defined?", answer: first.answer }] }),
      never,
      ignore,
    );
    const context = first.packed.at(-1)?.tokenEnd ?? 0;
    assert.ok(second.reusedTokens >= context, `${second.reusedTokens} of ${context}`);
    // Everything but the end of the page that the second question begins in.
    assert.ok(second.reusedTokens > first.promptTokens - 16);
    const lookedAt = first.lookedAt.reduce((sum, file) => sum + file.share, 0);
    assert.ok(lookedAt > 0 && lookedAt <= 1 + 1e-5);
    session.close();
  });

  it("gives the same answer from a reused prefix as from an empty cache", async () => {
    const history = [{ question: "Where is go?", answer: "function go() {" }];
    const warm = await open();
    await warm.ask(request("Where is go?"), never, ignore);
    const reused = await warm.ask(request("What does go return?", { history }), never, ignore);
    const cold = await (await open()).ask(request("What does go return?", { history }), never, ignore);
    assert.ok(reused.reusedTokens > 0);
    assert.equal(cold.reusedTokens, 0);
    assert.equal(reused.answer, cold.answer);
    assert.deepEqual(reused.citations, cold.citations);
  });

  it("keeps the finished chunks of a prefill that was stopped", async () => {
    const controller = new AbortController();
    const session = await open({
      openRunner: async (_kind, options) => {
        const runner = await openReferenceRunner(options);
        const append = runner.append.bind(runner);
        runner.append = (ids, given) =>
          append(ids, { ...given, onProgress: (done) => (done > 40 ? controller.abort() : given?.onProgress?.(done)) });
        return runner;
      },
    });
    await assert.rejects(session.ask(request("Where is go?"), controller.signal, ignore), (error) =>
      EngineError.is(error, "aborted"),
    );
    const again = await session.ask(request("Where is go?"), never, ignore);
    // Chunks are pages of 16 tokens: the third was done when the signal came.
    assert.equal(again.reusedTokens, 48);
  });

  it("prefills anew under another rotation", async () => {
    const session = await open();
    const first = await session.ask(request("Where is go?"), never, ignore);
    const other = await session.ask(request("Where is go?", { rope: { kind: "linear", factor: 2 } }), never, ignore);
    assert.equal(other.reusedTokens, 0);
    assert.deepEqual(other.rope, { kind: "linear", factor: 2 });
    assert.notEqual(other.limit.tokens, first.limit.tokens);
  });

  it("does not change an automatic rotation between turns", async () => {
    // The first turn nearly fills the trained length, so that without room for follow-ups the second would need YaRN.
    const trained = 240;
    const session = await open({}, { maxPositions: trained });
    const first = await session.ask(request("Where is go?", { maxAnswerTokens: 30 }), never, ignore);
    const history = [{ question: "Where is go?", answer: first.answer }];
    const second = await session.ask(request("Who is it that calls go?", { history, maxAnswerTokens: 30 }), never, ignore);
    assert.ok(first.promptTokens + 30 <= trained && second.promptTokens + 30 > trained - 40);
    assert.deepEqual(second.rope, first.rope);
    assert.ok(second.reusedTokens > 0);
  });

  it("returns logits, of the last token or of all", async () => {
    const session = await open();
    const all = await session.logits([5, 6, 7], { rope: { kind: "model" }, all: true });
    const last = await session.logits([5, 6, 7], { rope: { kind: "model" }, all: false });
    assert.equal(all.logits.length, 3);
    assert.deepEqual(last.logits, all.logits.slice(-1));
    assert.equal(last.logits[0]?.length, session.info.spec.vocabSize);
    await assert.rejects(session.logits([9999], { rope: { kind: "model" }, all: false }), (error) =>
      EngineError.is(error, "bad-argument"),
    );
  });

  it("pools the attention of the run before", async () => {
    const session = await open();
    const { promptTokens, answerTokens } = await session.ask(request("Where is go?"), never, ignore);
    const end = promptTokens + answerTokens;
    const map = await session.pool({
      layer: 1,
      head: "mean",
      queryEdges: Uint32Array.of(0, promptTokens),
      keyEdges: Uint32Array.of(0, promptTokens, Math.max(end, promptTokens)),
    });
    // Softmax rows sum to one; f32 sums over some hundred keys stay within 1e-4.
    assert.ok(Math.abs((map.cells[0] ?? 0) - 1) < 1e-4);
  });

  it("refuses what cannot be asked, with a remedy", async () => {
    const session = await open();
    const fails = async (asked: AskRequest, code: string) => {
      await assert.rejects(
        session.ask(asked, never, ignore),
        (error) => error instanceof EngineError && error.code === code && error.remedy.length > 5,
      );
    };
    await fails(request("Where?", { files: [] }), "empty-workspace");
    await fails(request("  "), "bad-argument");
    await fails(request("Where is it? ".repeat(200), { rope: { kind: "model" } }), "context-too-long");
    const big = memoryWorkspace({ "big.ts": "x y z\n".repeat(2000) });
    await fails(request("Where?", { ...big, rope: { kind: "model" } }), "context-too-long");
    session.close();
    await fails(request("Where?"), "bad-argument");
  });

  it("says which backend runs and why", async () => {
    const { info } = await open();
    assert.equal(info.backend, "reference");
    assert.match(info.backendBecause, /chosen/);
    assert.equal(info.weightBytes, info.parameterCount * 4);
    const quantised = await open({ weightFormat: "q8_0" });
    assert.ok(quantised.info.weightBytes < info.weightBytes / 2);
  });
});

describe("a session that loses its device", () => {
  const vocabSize = 320;

  it("opens it again once, says so, and finishes the question", async () => {
    const { session, opened } = await openFake(
      (kind, n) => new FakeRunner({ kind, vocabSize, loseAtSample: n === 0 ? 2 : undefined }),
    );
    const events: AskEvent[] = [];
    const result = await session.ask(request("Which of them is twice?"), never, (event) => events.push(event));
    assert.deepEqual(opened, ["reference", "reference"]);
    assert.equal(events.filter((event) => event.type === "recovered").length, 1);
    assert.equal(result.reusedTokens, 0);
    const after = events.slice(events.findIndex((event) => event.type === "recovered"));
    assert.equal(shownText(after), result.answer);
  });

  it("falls back to WASM when it is lost twice", async () => {
    const { session, opened } = await openFake(
      (kind, n) => new FakeRunner({ kind, vocabSize, loseAtSample: n < 2 ? 0 : undefined }),
    );
    const result = await session.ask(request("Where is go?"), never, ignore);
    assert.deepEqual(opened, ["reference", "reference", "ort"]);
    assert.equal(result.backend, "ort");
    assert.match(result.backendBecause, /lost twice/);
    assert.equal(session.info.backend, "ort");
  });

  it("falls back to WASM when the device does not open again", async () => {
    const { session, opened } = await openFake((kind, n) => {
      if (n === 1) throw new EngineError("no-adapter", "the GPU is gone", "restart");
      return new FakeRunner({ kind, vocabSize, loseAtSample: n === 0 ? 0 : undefined });
    });
    const result = await session.ask(request("Where is go?"), never, ignore);
    assert.deepEqual(opened, ["reference", "reference", "ort"]);
    assert.match(result.backendBecause, /the GPU is gone/);
  });

  it("recovers a device that died between two questions", async () => {
    const { session, opened } = await openFake((kind) => new FakeRunner({ kind, vocabSize }));
    await session.ask(request("Where is go?"), never, ignore);
    assert.equal(session.loseDevice(), true);
    const result = await session.ask(request("Where is go?"), never, ignore);
    assert.equal(result.stoppedBy, "end");
    assert.equal(opened.length, 2);
  });
});

describe("a stop behind the prompt, before anything was said", () => {
  for (const [form, quote] of [
    ["lines", "constrained"],
    ["text", "free"],
  ] as const) {
    it(`is no answer, and the prompt stays read (${form})`, async () => {
      const { session } = await openFake((kind) => new FakeRunner({ kind, vocabSize: 266 }));
      const stop = new AbortController();
      const asked = session.ask(request("Where is go?", { quote }), stop.signal, (event) => {
        if (event.type === "prefill" && event.doneTokens === event.totalTokens) stop.abort();
      });
      await assert.rejects(asked, (error) => EngineError.is(error, "aborted"));
      const again = await session.ask(request("Where is go?", { quote }), never, ignore);
      assert.ok(again.reusedTokens > again.promptTokens / 2, `${again.reusedTokens} of ${again.promptTokens}`);
    });
  }
});

describe("a chat model", () => {
  /** Says this, then ends its turn. */
  const saying = async (text: string) => {
    const ids = [...tinyTokenizer.encode(text), 0];
    let said = 0;
    const { session } = await openFake((kind) => new FakeRunner({ kind, vocabSize: 266, choose: () => ids[said++] ?? 0 }), {
      promptFormat: "chat",
    });
    return session.ask(request("Where is go?", { maxAnswerTokens: 80 }), never, ignore);
  };

  it("that says that nothing answers is taken at its word, and cites nothing", async () => {
    const result = await saying("Not in the files.");
    assert.deepEqual([result.absent, result.answer, result.citations], [true, "Not in the files.", []]);
    assert.match(result.prose, /nothing in the 2 files it read/);
  });

  it("has its quotes verified, whatever it says of them", async () => {
    const result = await saying('In src/a.ts: `return limit;` and "return 4;".');
    assert.equal(result.absent, false);
    assert.deepEqual(
      result.citations.map(({ path, startLine, verified }) => [path, startLine, verified]),
      [
        ["src/a.ts", 3, true],
        ["src/a.ts", 0, false],
      ],
    );
    assert.equal(result.prose, "Found word for word in the files: src/a.ts, line 3.");
  });
});

describe("a session stopped within the answer", () => {
  it("returns what there is, and the next question reuses the prompt", async () => {
    const { session } = await openFake(
      (kind) => new FakeRunner({ kind, vocabSize: 320, choose: (allowed) => allowed.at(-1) ?? 0 }),
    );
    const controller = new AbortController();
    const result = await session.ask(request("Where is go?"), controller.signal, (event) => {
      if (event.type === "candidate") controller.abort();
    });
    assert.equal(result.stoppedBy, "user");
    assert.ok(result.answer.length > 0);
    const next = await session.ask(request("Where is go?"), never, ignore);
    assert.ok(next.reusedTokens >= result.promptTokens - 16);
  });

  it("stops at the length it was given", async () => {
    const { session } = await openFake(
      (kind) => new FakeRunner({ kind, vocabSize: 320, choose: (allowed) => allowed.at(-1) ?? 0 }),
    );
    const result = await session.ask(request("Where is go?", { maxAnswerTokens: 1 }), never, ignore);
    assert.equal(result.stoppedBy, "length");
    assert.equal(result.answerTokens, 1);
  });
});

describe("free decoding", () => {
  it("lets an extractive model spell, and verifies afterwards", async () => {
    const line = Array.from(new TextEncoder().encode("zebra"));
    const { session } = await openFake(() => {
      let at = 0;
      // Byte tokens 33-126 come behind three special tokens, in byte order.
      const choose = () => {
        const code = line[at++];
        return code === undefined ? 0 : code + 3;
      };
      return new FakeRunner({ vocabSize: 320, choose });
    });
    const result = await session.ask(request("Where is go?", { quote: "free" }), never, ignore);
    assert.equal(result.answer, "zebra");
    assert.deepEqual(result.citations, [{ path: "", startLine: 0, endLine: 0, quote: "zebra", verified: false }]);
  });
});
