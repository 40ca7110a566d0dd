/** What the chat shows: a model's words without links, and notes that leave nothing out. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AskPlan } from "../../../engine/generate/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { answerNotes, planText, progressText, proseText, unverifiedNote } from "../../../extension/chat/answerText.ts";
import { failureText } from "../../../extension/chat/failures.ts";
import { codeBlock, inlineCode, languageOf, literal, SafeMarkdown } from "../../../extension/chat/markdown.ts";
import { seeded } from "../../support/random.ts";
import { askResult } from "../webview/panelFixtures.ts";

function safe(text: string): string {
  const markdown = new SafeMarkdown();
  return markdown.push(text) + markdown.end();
}

const facts = { scope: undefined, notRead: [], droppedTurns: 0, model: "tiny_model" };
const row = (path: string, included: boolean, reason = "everything fits") => ({ path, tokens: 3, included, reason });

describe("a model's words in the chat", () => {
  it("keep their code, lists and emphasis", () => {
    const text = "It is **here**:\n\n- `a[0]` and `<b>`\n\n```ts\nconst x = a[0] < 1;\n```\nDone.";
    assert.equal(safe(text), text);
  });

  it("have no link, image, HTML or address", () => {
    assert.equal(safe("![x](http://evil.test/?q)"), "!\\[x\\](http\\://evil.test/?q)");
    assert.equal(safe('<img src="x">'), '&lt;img src="x">');
    assert.equal(safe("[x]: //e\n&lt;"), "\\[x\\]: //e\n&amp;lt;");
    assert.equal(safe("www.evil.test a@b.cd"), "www\\.evil.test a\\@b.cd");
  });

  it("cannot hide a link behind code that is none", () => {
    // A backtick without an end in its line would pair with one of the next line.
    assert.equal(safe("a ` b\nc ` ![x](y) ` d"), "a \\` b\nc ` ![x](y) ` d");
    assert.equal(safe("\\` ![x](y) `"), "\\` !\\[x\\](y) \\`");
    assert.equal(safe("\\\\[x](y)"), "\\\\\\[x\\](y)");
    // The cells of a table end code.
    assert.equal(safe("| ` | ![x](y) ` |"), "| \\` | !\\[x\\](y) \\` |");
    // A list or a quotation would end a fence that stands in it.
    assert.equal(safe("1. a\n   ```\n![x](y)"), "1. a\n```\n![x](y)\n```\n");
    assert.equal(safe("> ```\n![x](y)"), "> \\`\\`\\`\n!\\[x\\](y)");
    assert.equal(safe("- ~~~\n![x](y)"), "- \\~\\~\\~\n!\\[x\\](y)");
  });

  it("are the same however they are streamed, and come before their line ends", () => {
    const random = seeded(11);
    const parts = ["`", "``", "```", "~~~", "\n", " ", "word ", "\\", "[", "](", "<", "|", "http://x", "www.", "- ", "> ", "a"];
    for (let i = 0; i < 400; i++) {
      const text = Array.from({ length: 12 }, () => parts[Math.floor(random() * parts.length)]).join("");
      const markdown = new SafeMarkdown();
      let streamed = "";
      for (let at = 0; at < text.length; at += 2) streamed += markdown.push(text.slice(at, at + 2));
      assert.equal(streamed + markdown.end(), safe(text), JSON.stringify(text));
    }
    assert.equal(new SafeMarkdown().push("The value is `a"), "The value is ");
  });

  it("show quotes and names as they are", () => {
    assert.equal(inlineCode("a `b` c"), "``a `b` c``");
    assert.equal(inlineCode("`x"), "`` `x ``");
    assert.equal(codeBlock("a\n```\nb\n", languageOf("src/a.TS")), "````ts\na\n```\nb\n````\n");
    assert.equal(literal("a_b [x](y)\n<z>"), "a\\_b \\[x\\](y) &lt;z>");
  });
});

describe("the notes behind an answer", () => {
  it("say what did not fit, what was not read, what was cached and what ran it", () => {
    const rows = [row("a.ts", true), row("b_c.ts", false, "needs 900 tokens, 20 left")];
    const result = askResult({
      ...{ rows, reusedTokens: 800, restoredTokens: 300, backend: "ort", backendBecause: "no WebGPU", stoppedBy: "length" },
      lookedAt: [{ path: "a.ts", share: 0.61 }],
    });
    const notes = answerNotes(result, { ...facts, scope: "src/", notRead: ["logo.png: binary content"], droppedTurns: 2 });
    assert.deepEqual(notes, [
      "The answer was cut at the largest answer length, which is set in the playground.",
      "Read only src/.",
      "Not read: logo.png: binary content.",
      "Of this chat, the 2 oldest turns were left out to make room.",
      "1 of 2 files did not fit: `b_c.ts` (needs 900 tokens, 20 left).",
      "Attended to most, which is no evidence: `a.ts` 61 %.",
      "900 prompt tokens, 800 of them cached, 300 of them from the disk; tiny\\_model on WASM in 0.0 s (no WebGPU).",
    ]);
  });

  it("count the files beyond those that are named", () => {
    const rows = Array.from({ length: 9 }, (_, i) => row(`${i}.ts`, false, "too large"));
    assert.match(answerNotes(askResult({ rows }), facts)[0] ?? "", /^9 of 9 files did not fit: .* and 4 more\.$/);
  });

  it("say which files were read only in part", () => {
    const part = { ...row("a.ts", true, "in part, 9 of 90 lines: contains x"), tokens: 10, wholeTokens: 100 };
    const rows = [part, row("b.ts", true)];
    assert.equal(
      answerNotes(askResult({ rows }), facts)[0],
      "1 of 2 files did not fit whole: `a.ts` (in part, 9 of 90 lines: contains x).",
    );
    const limit = { tokens: 2048, because: "trained length", explanation: "", wouldBe: 2048 } as const;
    const packed = { type: "packed", rows, promptTokens: 900, limit, rope: { kind: "none" } } as const;
    assert.equal(progressText(packed), "Reading 900 tokens of 2 files; 1 file fits only in part");
  });

  it("say so where nothing answers, and that the answer may lie in what did not fit", () => {
    const prose = "The model says that nothing in the 1 file it read answers this. 1 file did not fit and may hold the answer.";
    assert.equal(proseText({ absent: true, prose }), `**Not found.** ${prose}`);
  });

  it("say in front of a quote where it stands, with names and paths as they are", () => {
    const prose = "`a_b` is set in src/__init__.py, line 5; this line stands in 2 places:";
    const expected = "`a_b` is set in src/\\_\\_init\\_\\_.py, line 5; this line stands in 2 places:";
    assert.equal(proseText({ absent: false, prose }), expected);
    assert.equal(
      proseText({ absent: false, prose: "See www.evil.test/[x](y), line 5:" }),
      "See www\\.evil.test/\\[x\\](y), line 5:",
    );
  });

  it("never call a quote found that is not in the files", () => {
    const citations = [
      { path: "a.ts", startLine: 1, endLine: 1, quote: "x", verified: true },
      { path: "", startLine: 0, endLine: 0, quote: "made `up`", verified: false },
    ];
    assert.deepEqual(unverifiedNote(citations), ["Not in the files word for word: `` made `up` ``."]);
    assert.deepEqual(unverifiedNote(citations.slice(0, 1)), []);
  });

  it("of a plan say what would be computed", () => {
    const plan: AskPlan = {
      ...{ promptTokens: 6144, reusedTokens: 5832, restoredTokens: 0, recomputedTokens: 312, rope: { kind: "none" } },
      limit: { tokens: 8192, because: "trained length", explanation: "The model was trained on 8,192.", wouldBe: 8192 },
      rows: [row("a.ts", true), row("b.ts", false, "too large")],
    };
    assert.deepEqual(planText(plan, facts), [
      "Asking this reads **6,144 tokens** from 1 file with tiny\\_model: 5,832 are cached; **312** have to be computed.",
      "The window is 8,192 tokens. The model was trained on 8,192.",
      "1 of 2 files did not fit: `b.ts` (too large).",
    ]);
  });

  it("of a failure say what to do", () => {
    const error = new EngineError("empty-workspace", "no folder is open", "open the folder you want to ask about");
    assert.equal(failureText(error), "No folder is open. To do: open the folder you want to ask about.");
  });
});
