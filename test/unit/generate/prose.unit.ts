import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Citation } from "../../../engine/generate/api.ts";
import { proseOf, type ProseOptions } from "../../../engine/generate/prose.ts";
import type { PackRow } from "../../../engine/pack/api.ts";
import { type QuestionKind, readQuestion } from "../../../engine/pack/questionKind.ts";

function cited(quote: string, path = "src/x.ts", startLine = 5): Citation {
  return { path, startLine, endLine: startLine, quote, verified: true };
}

function prose(question: string, citations: readonly Citation[], change: Partial<ProseOptions> = {}): string {
  const answer = [...new Set(citations.map(({ quote }) => quote))].join("\n");
  return proseOf({ question, answer, absent: false, citations, rows: [], form: "lines", ...change });
}

describe("the kind of a question", () => {
  const WORDINGS: Partial<Record<QuestionKind, readonly string[]>> = {
    definition: [
      "Where is retryCeiling defined?",
      "where's `retryCeiling`",
      "Find the definition of retryCeiling.",
      "Show me where retryCeiling is defined",
      "Which line declares retryCeiling?",
      "How is the function retryCeiling implemented?",
      "Go to the definition of retryCeiling()",
    ],
    value: [
      "What is the value of retryCeiling?",
      "What is `retryCeiling` set to?",
      "What value does retryCeiling have?",
      "what does retryCeiling equal",
      "Which value is assigned to retryCeiling?",
      "How large is retryCeiling?",
      "What is the default of retryCeiling?",
    ],
    signature: [
      "What is the signature of retryCeiling?",
      "What parameters does retryCeiling take?",
      "Which arguments does `retryCeiling` accept?",
      "What are the parameters of retryCeiling?",
      "How do I call retryCeiling?",
    ],
    return: [
      "What does retryCeiling return?",
      "What is returned by retryCeiling()?",
      "What is the return value of `retryCeiling`?",
      "How is retryCeiling computed?",
      "Show me what retryCeiling returns",
    ],
    import: [
      "Which file imports retryCeiling?",
      "Where is retryCeiling imported from?",
      "Where does retryCeiling come from?",
      "Find the import of retryCeiling.",
      "How is retryCeiling imported?",
    ],
    caller: [
      "Who calls retryCeiling?",
      "Where is retryCeiling used?",
      "Where is retryCeiling being called?",
      "Which functions call retryCeiling?",
      "Find all callers of retryCeiling",
      "What uses `retryCeiling`?",
    ],
    comment: [
      "What does the comment above retryCeiling say?",
      "How is retryCeiling documented?",
      "What does the docstring of retryCeiling say?",
      "What is retryCeiling for?",
      "Show me the comment on retryCeiling",
    ],
    key: [
      "What is the configuration key retryCeiling?",
      "What is the setting retryCeiling?",
      "Which config value for retryCeiling is used?",
      "What is the retryCeiling option?",
    ],
    file: [
      "Which file defines retryCeiling?",
      "In which file is retryCeiling defined?",
      "What file is retryCeiling in?",
      "Which file contains the definition of `retryCeiling`?",
    ],
    number: [
      "What is the special magic number for retryCeiling?",
      "What is the special magic number for retryCeiling mentioned in the provided text?",
      "Find the special magic number for retryCeiling.",
    ],
  };

  it("is read from many wordings, with the name", () => {
    for (const [kind, wordings] of Object.entries(WORDINGS)) {
      for (const wording of wordings) {
        for (const question of [
          wording,
          wording.toLowerCase().replaceAll("retryceiling", "retryCeiling"),
          wording.replace(/[?.]$/, ""),
        ])
          assert.deepEqual(readQuestion(question), { kind, name: "retryCeiling" }, question);
      }
    }
  });

  it("of variables keeps the value that is asked about", () => {
    for (const question of [
      "Find all variables that are assigned the value 12345 in the text above.",
      "Which variables hold the value 12345?",
      "What are the variables with the value 12345?",
    ]) {
      assert.deepEqual(readQuestion(question), { kind: "variables", name: "12345" }, question);
    }
  });

  it("is told by single words where one name is unmistakable and no wording fits", () => {
    const asked: [string, QuestionKind, string][] = [
      ["hey, would you kindly point at whatever declares retryCeiling", "definition", "retryCeiling"],
      ["`go` - which arguments?", "signature", "go"],
      ["so what will I get back, calling `go`?", "return", "go"],
      ["who on earth is calling retry_ceiling()", "caller", "retry_ceiling"],
      ["any docs about `go`?", "comment", "go"],
      ["the file with `go` please", "file", "go"],
      ["my settings: `retry.max`, what have I there", "key", "retry.max"],
      ["10 variables, which of these got 12345?", "unknown", ""],
      ["take me over to `go` now", "definition", "go"],
    ];
    for (const [question, kind, name] of asked) assert.deepEqual(readQuestion(question), { kind, name }, question);
  });

  it("is unknown where no wording fits", () => {
    for (const question of [
      "",
      "Hello",
      "Is this thread-safe?",
      "Explain the architecture.",
      "Wo steht das?",
      "what is it?",
      "Does fooBar return what barFoo takes?",
      "`go`",
      "We have seen that `go` is slow since the change of last week, and I wonder whether what it returns could be kept between two calls?",
      "12",
      "`",
    ])
      assert.equal(readQuestion(question).kind, "unknown", question);
  });
});

describe("an answer in sentences", () => {
  it("says what the quote shows, and where", () => {
    const cases: readonly (readonly [question: string, quote: string, says: string])[] = [
      [
        "What is the value of `retryCeiling`?",
        "export const retryCeiling = 30_000;",
        "`retryCeiling` is set in src/x.ts, line 5:",
      ],
      ["What is MAX set to?", "#define MAX 12", "`MAX` is set in src/x.ts, line 5:"],
      ["What is the value of limit?", "let limit: number = 4;", "`limit` is set in src/x.ts, line 5:"],
      ["Where is go defined?", "export async function go() {", "`go` is defined in src/x.ts, line 5:"],
      ["Where is Do defined?", "func (c *Client) Do(req *Request) (*Response, error) {", "`Do` is defined in src/x.ts, line 5:"],
      ["Where is run defined?", "  private run(work: Work): void {", "`run` is defined in src/x.ts, line 5:"],
      ["What parameters does go take?", "def go(a, b=2):", "The parameters of `go` stand in src/x.ts, line 5:"],
      ["What does go return?", "return limit;", "The model takes this as what `go` returns, in src/x.ts, line 5:"],
      ["Which file imports fs?", "import fs from 'node:fs';", "`fs` is imported in src/x.ts, line 5:"],
      ["Who calls go?", "await go(1);", "`go` is called in src/x.ts, line 5:"],
      ["How is go documented?", "/** Goes. */", "The model takes this comment as the one on `go`, in src/x.ts, line 5:"],
      ["What is the setting tabSize?", '"tabSize": 2,', "The key `tabSize` is set in src/x.ts, line 5:"],
      ["Which file defines go?", "function go() {", "`go` is defined in src/x.ts, line 5:"],
      [
        "What is the special magic number for able-fox?",
        "One of the special magic numbers for able-fox is: 77.",
        "A number for `able-fox` stands in src/x.ts, line 5:",
      ],
      ["Which variables hold the value 12345?", "VAR AB = 12345", "Assignments with `12345` stand in src/x.ts, line 5:"],
      ["Is this thread-safe?", "const lock = new Mutex();", "The files say, in src/x.ts line 5:"],
    ];
    for (const [question, quote, says] of cases) assert.equal(prose(question, [cited(quote)]), says);
  });

  it("claims no more than the quote shows", () => {
    const cases: readonly (readonly [question: string, quote: string, says: string])[] = [
      ["What is the value of `limit`?", "if (limit == 3) {", "`limit` stands in src/x.ts, line 5:"],
      ["What is the value of `limit`?", "// limit = 3", "`limit` stands in src/x.ts, line 5:"],
      ["What is the value of `limit`?", "limit: number;", "`limit` stands in src/x.ts, line 5:"],
      ["What is the value of `limit`?", "const limits = 3;", "The files say, in src/x.ts line 5:"],
      ["Where is go defined?", "go(1);", "`go` stands in src/x.ts, line 5:"],
      ["Where is go defined?", "if (go(1)) {", "`go` stands in src/x.ts, line 5:"],
      ["Where is go defined?", "return 4;", "The files say, in src/x.ts line 5:"],
      ["Who calls go?", "function go(a) {", "`go` stands in src/x.ts, line 5:"],
      ["Who calls go?", "// go() goes", "`go` stands in src/x.ts, line 5:"],
      ["Which file imports fs?", "fs.readFile(x);", "`fs` stands in src/x.ts, line 5:"],
      ["How is go documented?", "function go() {", "`go` stands in src/x.ts, line 5:"],
      ["What does go return?", "const x = 2;", "The files say, in src/x.ts line 5:"],
      ["Where is `a(b` defined?", "a(b", "`a(b` stands in src/x.ts, line 5:"],
    ];
    for (const [question, quote, says] of cases) assert.equal(prose(question, [cited(quote)]), says, `${question} ${quote}`);
  });

  it("says in how many places a line stands, and in how many lines an answer has", () => {
    const same = [cited("const ab = 1;"), cited("const ab = 1;", "b.ts", 2), cited("const ab = 1;", "b.ts", 9)];
    assert.equal(prose("What is ab set to?", same), "`ab` is set in src/x.ts, line 5; this line stands in 3 places:");
    const lines = [cited("go(1);"), cited("go(2);", "b.ts", 2)];
    assert.equal(prose("Who calls go?", lines), "`go` is called in 2 lines of 2 files:");
    assert.equal(prose("Is it good?", lines), "The files say, in 2 lines of 2 files:");
  });

  it("names files where header lines are the answer", () => {
    const citations = [cited("first line", "src/a.ts", 1), cited("other", "src/b.ts", 1)];
    assert.equal(
      prose("Which file defines go?", citations.slice(0, 1), { answer: "=== src/a.ts ===" }),
      "The model names the file src/a.ts.",
    );
    assert.equal(
      prose("Which file imports go?", citations, { answer: "=== src/a.ts ===\n=== src/b.ts ===" }),
      "The model names the files src/a.ts and src/b.ts.",
    );
  });

  it("of a refusal says how many files were read, and how many may hold it", () => {
    const row = (included: boolean): PackRow => ({ path: "a", tokens: 1, included, reason: "" });
    const refusal = (rows: readonly PackRow[]) =>
      prose("Where is x?", [], { absent: true, answer: "Not found in the files.", rows });
    assert.equal(refusal([row(true)]), "The model says that nothing in the 1 file it read answers this.");
    assert.equal(
      refusal([row(true), row(true), row(false), row(false)]),
      "The model says that nothing in the 2 files it read answers this. 2 files did not fit and may hold the answer.",
    );
    assert.equal(
      refusal([row(true), { ...row(true), wholeTokens: 9 }, row(false)]),
      "The model says that nothing in the 2 files it read answers this. 2 files did not fit, or only in part, and may hold the answer.",
    );
  });

  it("of an answer in the model's own words says which quotes are in the files", () => {
    const text = { form: "text", answer: "It is `const a = 1;`." } as const;
    assert.equal(prose("What is a?", [cited("const a = 1;")], text), "Found word for word in the files: src/x.ts, line 5.");
    assert.equal(
      prose("What is a?", [cited("const a = 1;"), cited("const a = 1;", "b.ts")], text),
      "Found word for word in the files: src/x.ts, line 5, and 1 more place.",
    );
    assert.equal(prose("What is a?", [], text), "Nothing of this answer was found word for word in the files.");
  });

  it("says nothing of nothing, and marks what no line says", () => {
    assert.equal(prose("Where is x?", [], { answer: "" }), "");
    const unverified = { ...cited("let q;"), verified: false };
    assert.match(prose("Where is x?", [unverified]), /no line of the files says it word for word/);
  });
});
