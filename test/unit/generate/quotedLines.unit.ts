import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Runtime } from "../../../engine/api.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import type { AskEvent, AskRequest } from "../../../engine/generate/api.ts";
import { planPrompt } from "../../../engine/pack/prompt.ts";
import { openSession } from "../../../engine/session.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { memoryWorkspace, tinyModelFiles, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);
const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
const never = new AbortController().signal;
const CONTENTS = { "src/a.ts": "go();\nlet a = 1;\n  go();\ngo(2);\n", "src/b.ts": "go(3);\n" };
const ABSENT = 2;

/** A runner that says the answer of a script behind `A: `, token by token, and `Q` where the script is over. */
function scripted(script: string): (allowed: readonly number[], cache: readonly number[]) => number {
  const wanted = [...tokenizer.encode(script)];
  const opening = [...tokenizer.encode("?\nA: ")];
  return (_allowed, cache) => {
    const start = lastIndexOf(cache, opening) + opening.length;
    return wanted[cache.length - start] ?? tokenizer.encode("Q")[0] ?? 0;
  };
}

function lastIndexOf(ids: readonly number[], part: readonly number[]): number {
  for (let at = ids.length - part.length; at >= 0; at--) if (part.every((id, i) => ids[at + i] === id)) return at;
  return 0;
}

interface Asking extends Partial<AskRequest> {
  answerLines?: "many";
  signal?: AbortSignal;
  choose: (allowed: readonly number[], cache: readonly number[]) => number;
}

async function asked({ answerLines, choose, signal = never, ...extra }: Asking) {
  const { files, readFile } = memoryWorkspace(CONTENTS);
  const runners: FakeRunner[] = [];
  const session = await openSession(tinyModelFiles({ ...(answerLines ? { answerLines } : {}), maxPositions: 2048 }), runtime, {
    backend: "reference",
    weightFormat: "f32",
    openRunner: async () => {
      const runner = new FakeRunner({ vocabSize: 320, choose: (allowed, cache) => choose(allowed, cache) });
      runners.push(runner);
      return runner;
    },
  });
  const events: AskEvent[] = [];
  const request: AskRequest = {
    ...{ question: "Who calls go?", files, readFile, history: [], rope: { kind: "model" }, attention: WHOLE },
    ...{ sampling: { temperature: 0, topP: 1, seed: 1 }, quote: "constrained", maxAnswerTokens: 100 },
    ...extra,
  };
  const result = await session.ask(request, signal, (event) => events.push(event));
  return { result, events, cache: runners[0]?.cache ?? [], session, request };
}

describe("an answer of several lines", () => {
  const script = "go();\nA: go(2);\nA: go(3);\nQ";

  for (const temperature of [0, 1]) {
    it(`goes on until the model says that it is over, every line with its places (temperature ${temperature})`, async () => {
      const sampling = { temperature, topP: 1, seed: 1 };
      const { result, events } = await asked({ answerLines: "many", choose: scripted(script), sampling });
      assert.equal(result.answer, "go();\ngo(2);\ngo(3);");
      assert.equal(result.stoppedBy, "end");
      assert.deepEqual(
        result.citations.map(({ path, startLine, quote, verified }) => [path, startLine, quote, verified]),
        [
          ["src/a.ts", 1, "go();", true],
          ["src/a.ts", 3, "go();", true],
          ["src/a.ts", 4, "go(2);", true],
          ["src/b.ts", 1, "go(3);", true],
        ],
      );
      let shown = "";
      for (const event of events)
        shown = event.type === "token" ? shown + event.text : event.type === "candidate" ? event.text : shown;
      assert.equal(shown, result.answer);
      assert.equal(result.prose, "`go` is called in 3 lines of 2 files; some of these lines stand in several places:");
    });
  }

  it("is one line for a model that knows of no others, whatever it would say", async () => {
    const { result } = await asked({ choose: scripted(script) });
    assert.equal(result.answer, "go();");
  });

  it("ends where a line comes again, which is not given twice", async () => {
    for (const temperature of [0, 1]) {
      const sampling = { temperature, topP: 1, seed: 1 };
      const { result } = await asked({
        answerLines: "many",
        choose: scripted("go();\nA: go(2);\nA: go();\nA: go(3);\n"),
        sampling,
      });
      assert.equal(result.answer, "go();\ngo(2);");
      assert.equal(result.stoppedBy, "end");
    }
  });

  it("never says behind a line that there is none", async () => {
    const forcing = scripted("go();\nA: ");
    const { result } = await asked({
      answerLines: "many",
      choose: (allowed, cache) =>
        cache.length > 0 && tokenizer.decode(cache).endsWith("go();\nA: ") ? ABSENT : forcing(allowed, cache),
    });
    assert.equal(result.absent, false);
    assert.ok(result.citations.every(({ verified }) => verified));
  });

  it("a refusal stays one token", async () => {
    const { result } = await asked({ answerLines: "many", question: "Why does it go?", choose: () => ABSENT });
    assert.deepEqual([result.absent, result.answerTokens, result.citations], [true, 1, []]);
    assert.equal(result.prose, "The model says that nothing in the 2 files it read answers this.");
  });

  it("is cut at the largest answer length and says so", async () => {
    const { result } = await asked({ answerLines: "many", choose: scripted(script), maxAnswerTokens: 11 });
    assert.equal(result.stoppedBy, "length");
    assert.ok(result.answerTokens <= 11);
    assert.ok("go();\ngo(2);\ngo(3);".startsWith(result.answer));
  });

  it("has at most 16 lines", async () => {
    const many = Array.from({ length: 30 }, (_, i) => `go(${i});`);
    const workspace = memoryWorkspace({ "a.ts": `${many.join("\n")}\n` });
    const { result } = await asked({
      answerLines: "many",
      choose: scripted(`${many.join("\nA: ")}\n`),
      ...{ files: workspace.files, readFile: workspace.readFile, maxAnswerTokens: 400 },
    });
    assert.equal(result.answer, many.slice(0, 16).join("\n"));
  });

  it("stopped within a later line keeps the lines before it", async () => {
    const controller = new AbortController();
    const say = scripted(script);
    const { result } = await asked({
      answerLines: "many",
      signal: controller.signal,
      choose: (allowed, cache) => {
        if (tokenizer.decode(cache).endsWith("go();\nA: ")) controller.abort();
        return say(allowed, cache);
      },
    });
    assert.equal(result.stoppedBy, "user");
    assert.equal(result.answer.split("\n")[0], "go();");
  });

  it("stands in the next prompt as it stood in the cache, which is reused", async () => {
    const first = await asked({ answerLines: "many", choose: scripted(script) });
    const { question, history } = first.request;
    const next = { ...first.request, question: "Where is a?", history: [...history, { question, answer: first.result.answer }] };
    const second = await first.session.ask(next, never, () => undefined);
    const kept = first.result.promptTokens + first.result.answerTokens;
    // But the end of the page that the answer ends in.
    assert.ok(second.reusedTokens > kept - 16, `${second.reusedTokens} of ${kept}`);
  });

  it("opens a further line as the end of the prompt does", async () => {
    const { session } = await asked({ answerLines: "many", choose: scripted(script) });
    const { after } = planPrompt({ tokenizer, spec: session.info.spec, chatTemplate: undefined, question: "x", history: [] });
    const opening = tokenizer.encode("\nA: ");
    assert.deepEqual([...after.slice(-opening.length)], [...opening]);
  });
});
