/** An answer is looked for where it can stand: through a session, with a runner that would say something else. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Runtime } from "../../../engine/api.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import type { AskRequest } from "../../../engine/generate/api.ts";
import { openSession } from "../../../engine/session.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { memoryWorkspace, tinyModelFiles, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);
const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
const CONTENTS = {
  "src/a.ts": "// Far.\nexport const far = 1;\n\n// Goes on.\nexport function go(a) {\n  if (a) return null;\n  return a;\n}\n",
  "src/b.ts": 'import { go } from "./a.ts";\nfunction stop() {\n  return null;\n}\ngo(1);\nstop();\nlater(2);\n',
};
const ABSENT = 2;

/** Logits of a runner that would say these lines behind prompts that end in these questions, the first rather than the second; or refuse. */
function saying(lines: Readonly<Record<string, readonly string[]>>) {
  return (id: number, cache: readonly number[]): number => {
    const asked = tokenizer.decode(cache);
    const at = asked.lastIndexOf("\nA: ");
    const question = asked.slice(asked.lastIndexOf("Q: ", at) + 3, at);
    const said = asked.slice(at + 4);
    const rank = (lines[question] ?? []).findIndex(
      (line) => line.startsWith(said) && id === (tokenizer.encode(line.slice(said.length))[0] ?? newline),
    );
    return rank >= 0 ? 20 - 8 * rank : id === ABSENT ? 8 : 0;
  };
}
const newline = tokenizer.encode("\n")[0] ?? 0;

async function asked(question: string, lines: Readonly<Record<string, readonly string[]>>, extra: Partial<AskRequest> = {}) {
  const { files, readFile } = memoryWorkspace(CONTENTS);
  const logit = saying(lines);
  const choose = (allowed: readonly number[], cache: readonly number[]): number =>
    allowed.reduce((best, id) => (logit(id, cache) > logit(best, cache) ? id : best));
  const runner = new FakeRunner({ vocabSize: 266, logit, choose });
  const session = await openSession(tinyModelFiles({ maxPositions: 2048 }), runtime, {
    ...{ backend: "reference", weightFormat: "f32", openRunner: async () => runner },
  });
  const result = await session.ask(
    {
      ...{ question, files, readFile, history: [], rope: { kind: "model" }, attention: WHOLE },
      ...{ sampling: { temperature: 0, topP: 1, seed: 1 }, quote: "constrained", maxAnswerTokens: 60 },
      ...extra,
    },
    new AbortController().signal,
    () => undefined,
  );
  return { result, prompt: tokenizer.decode(runner.cache.slice(0, result.promptTokens)), session };
}

const DEFINITION = "Where is `go` defined?";
const goDefined = { [DEFINITION]: ["export function go(a) {"] };

describe("an answer is looked for where it can stand", () => {
  it("among the lines that hold the name, whatever the model would rather say", async () => {
    const lines = { "Where is `go` called?": ["stop();", "go(1);"] };
    const { result } = await asked("Where is `go` called?", lines);
    assert.equal(result.answer, "go(1);");
    const free = await asked("Where is `go` called?", lines, { quote: "free" });
    assert.equal(free.result.answer.trim(), "stop();");
  });

  it("nowhere, where no line holds a name that is one: that is certain, and said so", async () => {
    const question = "Where is `stopNow` defined?";
    const { result } = await asked(question, { [question]: ["stop();"] });
    assert.deepEqual([result.absent, result.citations], [true, []]);
    assert.equal(result.prose, "No line of the files that were read holds `stopNow`.");
  });

  it("among lines that bear out what is asked, and then it is not refused", async () => {
    const { result } = await asked("Where is `go` imported?", {});
    assert.deepEqual([result.answer, result.absent], ['import { go } from "./a.ts";', false]);
    assert.equal(result.prose, "`go` is imported in src/b.ts, line 1:");
  });

  it("the model still refuses what the lines with the name do not answer", async () => {
    const { result } = await asked("Where is `stop` imported?", {});
    assert.equal(result.absent, true);
    assert.equal(result.prose, "The model says that nothing in the 2 files it read answers this.");
  });

  it("in the body of the definition, which is asked for first and comes before the question", async () => {
    const { result, prompt } = await asked("What does go return?", {
      ...goDefined,
      "What does `go` return?": ["return null;", "return a;"],
    });
    assert.ok(prompt.endsWith(`\nQ: ${DEFINITION}\nA: export function go(a) {\nQ: What does \`go\` return?\nA: `), prompt);
    assert.deepEqual([result.answer, result.absent], ["return a;", false]);
    // `return null;` also stands in another function, whose line is no candidate.
    assert.deepEqual(
      result.citations.map(({ path, startLine }) => [path, startLine]),
      [["src/a.ts", 7]],
    );
    assert.equal(
      result.prose,
      "The model takes this as what `go` returns, in src/a.ts, line 7; `go` is defined in src/a.ts, line 5:",
    );
  });

  it("in the comment of the definition", async () => {
    const question = "How is `go` documented?";
    const { result } = await asked(question, { ...goDefined, [question]: ["// Far.", "// Goes on."] });
    assert.equal(result.answer, "// Goes on.");
    const none = await asked("How is `stop` documented?", { "Where is `stop` defined?": ["function stop() {"] });
    assert.equal(none.result.absent, true);
    assert.equal(none.result.prose, "The model finds `stop` in src/b.ts, line 2, and no comment stands there.");
  });

  it("nowhere, where the model finds no definition", async () => {
    const { result } = await asked("What does later return?", { "What does `later` return?": ["return a;"] });
    assert.equal(result.absent, true);
  });

  it("among the lines for a plain word that the files define, and that is all the question is about", async () => {
    const trained = "What are the parameters of `go`?";
    const contents = { "a.ts": "export function berth(a) {\n  return a;\n}\nconst far = 1;\n" };
    const asking = async (question: string, lines: Readonly<Record<string, readonly string[]>>) =>
      asked(question, lines, memoryWorkspace(contents));
    const signature = await asking("pls list the args that berth takes", {});
    assert.deepEqual([signature.result.answer, signature.result.absent], ["export function berth(a) {", false]);
    assert.ok(signature.prompt.endsWith(`\nQ: ${trained.replace("go", "berth")}\nA: `), signature.prompt);
    assert.equal(signature.result.question, "pls list the args that berth takes");
    assert.equal(signature.result.prose, "The parameters of `berth` stand in a.ts, line 1:");
    const returned = await asking("pls, what would berth give me back", {
      "Where is `berth` defined?": ["export function berth(a) {"],
    });
    assert.equal(returned.result.answer, "return a;");
    assert.ok(
      returned.prompt.includes("Q: Where is `berth` defined?\nA: export function berth(a) {\nQ: What does `berth` return?"),
    );
    // `far` has no parameters, and nothing is called `gone`: both questions go to the model as they are.
    for (const question of ["pls list the args that far takes", "pls list the args that gone takes"]) {
      const { prompt } = await asking(question, {});
      assert.ok(prompt.endsWith(`\nQ: ${question}\nA: `), prompt);
    }
  });

  it("and follow-ups share what was read", async () => {
    const { session, result } = await asked("What does go return?", { ...goDefined, "What does `go` return?": ["return a;"] });
    const { files, readFile } = memoryWorkspace(CONTENTS);
    const next = await session.ask(
      {
        ...{ question: DEFINITION, files, readFile, rope: { kind: "model" }, attention: WHOLE },
        history: [{ question: "What does go return?", answer: result.answer }],
        ...{ sampling: { temperature: 0, topP: 1, seed: 1 }, quote: "constrained", maxAnswerTokens: 60 },
      },
      new AbortController().signal,
      () => undefined,
    );
    const packTokens = next.packed.at(-1)?.tokenEnd ?? 0;
    assert.ok(next.reusedTokens > packTokens / 2, `${next.reusedTokens} of ${packTokens}`);
    assert.equal(next.answer, "export function go(a) {");
  });
});
