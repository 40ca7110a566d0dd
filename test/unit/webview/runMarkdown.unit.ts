import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runFileName, runMarkdown } from "../../../webview/state/runMarkdown.ts";
import type { SavedRun } from "../../../webview/protocol/panel.ts";
import { savedRun } from "./panelFixtures.ts";

const settings: SavedRun["settings"] = {
  model: "tiny",
  weightFormat: "q8_0",
  products: "exact",
  sampling: { temperature: 0.7, topP: 0.9, seed: 3 },
  quote: "free",
  maxAnswerTokens: 1024,
};

/** Contents of the fences, in order, by the rule of CommonMark: a fence ends at a line with at least as many ticks. */
function fences(markdown: string): string[] {
  const found: string[] = [];
  let open: { ticks: number; lines: string[] } | undefined;
  for (const line of markdown.split("\n")) {
    const [, ticks = ""] = /^ *(`{3,})/.exec(line) ?? [];
    if (!open) {
      if (ticks !== "") open = { ticks: ticks.length, lines: [] };
    } else if (ticks.length >= open.ticks && /^ *`+ *$/.test(line)) {
      found.push(open.lines.join("\n"));
      open = undefined;
    } else open.lines.push(line);
  }
  assert.equal(open, undefined, "a fence is left open");
  return found;
}

describe("a run as Markdown", () => {
  it("has the question, the answer, and every citation with its place, its share and its quote", () => {
    const run = savedRun("r", {
      question: "Where is `retryCeiling`?",
      answer: "export const retryCeiling = 45731;",
      citations: [
        {
          path: "src/a.ts",
          startLine: 5,
          endLine: 5,
          quote: "export const retryCeiling = 45731;",
          verified: true,
          attention: 0.61,
        },
        { path: "src/b.ts", startLine: 7, endLine: 9, quote: "x", verified: true },
        { path: "", startLine: 0, endLine: 0, quote: "made up", verified: false },
      ],
      lookedAt: [{ path: "src/a.ts", share: 0.8 }],
    });
    const markdown = runMarkdown(run);
    assert.deepEqual(fences(markdown), [
      "Where is `retryCeiling`?",
      "export const retryCeiling = 45731;",
      "   export const retryCeiling = 45731;",
      "   x",
      "   made up",
    ]);
    assert.match(markdown, /^1\. `src\/a\.ts:5`: found word for word, 61 % of attention$/m);
    assert.match(markdown, /^2\. `src\/b\.ts:7-9`: found word for word$/m);
    assert.match(markdown, /^3\. no file: not found in the files$/m);
    assert.match(markdown, /^\| `src\/a\.ts` \| 80 % \|$/m);
  });

  it("lets nothing of an answer or a quote end its fence", () => {
    const answer = "```ts\nlet a = `x`;\n```\n````\n# not a heading\n````";
    const quote = "~~~ ``` ~~~\n```";
    const citation = { path: "a.md", startLine: 1, endLine: 2, quote, verified: true };
    const [, kept, quoted] = fences(runMarkdown(savedRun("r", { answer, citations: [citation] })));
    assert.equal(kept, answer);
    assert.equal(quoted, "   ~~~ ``` ~~~\n   ```");
  });

  it("lets nothing of a path or a reason cut a cell of a table", () => {
    const rows = [
      { path: "a|b.ts", tokens: 1200, included: false, reason: "too | large\nby *far* <b>" },
      { path: "`c`.ts", tokens: 1, included: false, reason: "ignored" },
      { path: "in.ts", tokens: 9, included: true, reason: "" },
      { path: "part.ts", tokens: 9, included: true, wholeTokens: 99, reason: "in part" },
    ];
    const markdown = runMarkdown(savedRun("r", { rows }));
    assert.match(markdown, /^\| `a\\\|b\.ts` \| 1,200 \| too \\\| large by \\\*far\\\* \\<b\\> \|$/m);
    assert.match(markdown, /^\| `` `c`\.ts `` \| 1 \| ignored \|$/m);
    assert.match(markdown, /^\| `part\.ts` \| 90 \| in part \|$/m);
    assert.doesNotMatch(markdown, /in\.ts/);
  });

  it("says with what it was asked and what it took", () => {
    const result = { device: "a GPU", backendBecause: "an adapter", reusedTokens: 300, restoredTokens: 100, answerTokens: 10 };
    const timings = { packMs: 100, prefillMs: 2000, decodeMs: 65_000 };
    const markdown = runMarkdown({ ...savedRun("r", { ...result, timings }), settings });
    for (const [name, value] of [
      ["Model", "tiny"],
      ["Backend", "WebGPU: an adapter"],
      ["Device", "a GPU"],
      ["Weights", "q8\\_0"],
      ["Products", "exact"],
      ["Window", "2,048 tokens (rope scaling)"],
      ["RoPE scaling", "no scaling"],
      ["Attention", "flash"],
      ["Cached keys and values", "f32"],
      ["Sampling", "temperature 0.7, top-p 0.9, seed 3"],
      ["Quotes", "free: the model spells"],
      ["Largest answer", "1,024 tokens"],
      ["Prompt", "900 tokens"],
      ["of them reused", "300, 100 from an earlier session"],
      ["of them computed", "600"],
      ["Answer", "10 tokens"],
      ["Prefill", "2.0 s"],
      ["Decoding", "1 min 5 s"],
    ])
      assert.ok(markdown.includes(`| ${name} | ${value} |`), `${name}: ${value} in\n${markdown}`);
  });

  it("exports runs of older versions, and answers that are none", () => {
    const old = runMarkdown(savedRun("r"));
    assert.doesNotMatch(old, /\| (Model|Sampling|undefined)/);
    assert.doesNotMatch(old, /Files left out|Looked at/);
    assert.match(
      runMarkdown(savedRun("r", { absent: true })),
      /## Answer\n\nThe model says that the answer is not in these files\./,
    );
    assert.match(runMarkdown(savedRun("r", { stoppedBy: "length" })), /Cut at the largest answer length/);
  });

  it("is called by the time at which it was asked", () => {
    assert.equal(runFileName(savedRun("r", {}, "2026-01-31T15:45:07.123Z")), "answer-20260131-154507.md");
  });
});
