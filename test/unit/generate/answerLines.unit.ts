import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { QuestionKind } from "../../../engine/pack/questionKind.ts";
import { firstLines, type GivenLines, linesAround, searchFor } from "../../../engine/generate/answerLines.ts";

function held(name: string, ...lines: (string | undefined)[]): string[] | "anywhere" {
  return heldFor("unknown", name, ...lines);
}

function heldFor(kind: QuestionKind, name: string, ...lines: (string | undefined)[]): string[] | "anywhere" {
  const holding = firstLines({ kind, name, definitionFirst: undefined }, [lines]);
  if (!holding) return "anywhere";
  const found = lines.filter((line, i) => line !== undefined && holding.mayAnswer({ path: "a", line: i + 1 }, line.trim()));
  assert.equal(holding.found !== "nothing", found.length > 0);
  return found.map((line) => (line ?? "").trim());
}

/** The lines of a text that may answer what is asked about the line with a mark, which is no part of it. */
function around(kind: "return" | "comment", text: string): string[] {
  const marked = text.split("\n");
  const lines: GivenLines = marked.map((line) => line.replace("§", ""));
  const definition = marked.findIndex((line) => line.includes("§")) + 1;
  const may = linesAround(kind, [{ path: "a", line: definition }], () => lines);
  return lines.filter((_, i) => may({ path: "a", line: i + 1 }, "")).map((line) => (line ?? "").trim());
}

describe("where an answer can stand", () => {
  it("is a line with the name, for kinds whose answer says it, or around the definition", () => {
    assert.deepEqual(searchFor("Where is `go` imported?"), { kind: "import", name: "go", definitionFirst: undefined });
    assert.deepEqual(searchFor("What does go() return?"), {
      ...{ kind: "return", name: "go" },
      definitionFirst: "Where is `go` defined?",
    });
    assert.equal(searchFor("How is go documented?")?.definitionFirst, "Where is `go` defined?");
    for (const open of ["How does caching work here?", "Which variables have the value 12345?", ""])
      assert.equal(searchFor(open), undefined);
  });

  it("holds the name as a whole word, in whatever case where none has this one", () => {
    assert.deepEqual(held("go", "go();", "  let go = 1;", "forgo();", "$go()", undefined, "a.go"), [
      "go();",
      "let go = 1;",
      "a.go",
    ]);
    assert.deepEqual(held("GO", "go();", "ago"), ["go();"]);
    assert.deepEqual(held("@a/b.ts", 'import "@a/b.ts";', "@a/b.tsx"), ['import "@a/b.ts";']);
  });

  it("bears out what is asked, where some line with the name does", () => {
    const lines = ["// from go", 'import { go } from "./go.ts";', "function go(a) {", "go?.(1);", "let a = go;", "new go<T>(2)"];
    assert.deepEqual(heldFor("import", "go", ...lines), ['import { go } from "./go.ts";']);
    assert.deepEqual(heldFor("caller", "go", ...lines), ["go?.(1);", "new go<T>(2)"]);
    assert.deepEqual(heldFor("definition", "go", ...lines), ["function go(a) {"]);
    const tests = ['go("x", () => {', 'go("x", function () {', "go(a) {", "async go<T>(a: T): Promise<T> {"];
    assert.deepEqual(heldFor("definition", "go", ...tests), tests.slice(2));
    const heads = ["let go;", "const go = async (a) => {", "go = a => a;", "go = function (a) {", "go = other(1);"];
    assert.deepEqual(heldFor("signature", "go", ...heads), heads.slice(1, 4));
    assert.deepEqual(heldFor("value", "a", ...lines, "a: 3,"), ["let a = go;", "a: 3,"]);
    assert.deepEqual(heldFor("caller", "go", "let a = go;", "b();"), ["let a = go;"]);
  });

  it("is nowhere for a name in code that no line holds, and anywhere for a plain word, which may mean something else", () => {
    assert.deepEqual(held("retryLimit", "let limit = 1;"), []);
    assert.deepEqual(held("RETRY_LIMIT", "let limit = 1;"), []);
    assert.equal(held("retries", "let limit = 1;"), "anywhere");
    assert.equal(held("Retries", "let limit = 1;"), "anywhere");
  });
});

describe("what a definition returns", () => {
  it("is said in its body, to where that ends", () => {
    const text =
      "return 0;\n§function go(a) {\n  // return nothing\n  if (a) return 1;\n\n  return a\n    + 1;\n}\nfunction other() {\n  return 2;\n}";
    assert.deepEqual(around("return", text), ["if (a) return 1;", "return a"]);
    assert.deepEqual(around("return", "§const go = (a) => {\n  a.map((b) => b);\n  return a;\n};"), ["return a;"]);
  });

  it("is found behind a head of several lines, and brackets on their own", () => {
    assert.deepEqual(around("return", "§def go(\n    a,\n) -> int:\n    return a\nreturn 2"), ["return a"]);
    assert.deepEqual(around("return", "§int go(int a)\n{\n    return a;\n}\nint b() { return 2; }"), ["return a;"]);
    assert.deepEqual(around("return", "class A {\n  §go() {\n    yield 1;\n  }\n  other() {\n    return 2;\n  }\n}"), [
      "yield 1;",
    ]);
  });

  it("may stand in the definition's own line, or be the last value of its body", () => {
    assert.deepEqual(around("return", "§const go = (a) => a + 1;\nreturn 2;"), ["const go = (a) => a + 1;"]);
    assert.deepEqual(around("return", "§int go() { return 3; }"), ["int go() { return 3; }"]);
    const implicit = "§fn go(a: u8) -> u8 {\n    if b {\n        a + 1\n    }\n}\nfn b() {}";
    assert.deepEqual(around("return", implicit), ["fn go(a: u8) -> u8 {", "if b {", "a + 1"]);
    assert.deepEqual(around("return", "§const go = (a) => {\n  return a.returned;\n};"), ["return a.returned;"]);
  });
});

describe("how a definition is documented", () => {
  it("is said by the comment directly above, whichever kind, in its first line with words", () => {
    assert.deepEqual(around("comment", "// Far.\n\n// One.\n//\n// Two.\n§let a;"), ["// One."]);
    assert.deepEqual(around("comment", "x();\n/**\n * Goes.\n */\n§go() {"), ["* Goes."]);
    assert.deepEqual(around("comment", "/** Goes. */\n@memo\n§go() {"), ["/** Goes. */"]);
    assert.deepEqual(around("comment", "/// Goes.\n#[inline]\n§fn go() {}"), ["/// Goes."]);
    assert.deepEqual(around("comment", "<!-- A title -->\n§<h1>"), ["<!-- A title -->"]);
    assert.deepEqual(around("comment", "# Goes.\n§go = 1"), ["# Goes."]);
  });

  it("is said by a docstring below the head", () => {
    const text = '§def go(\n    a,  # which\n) -> int:  # of it\n    """Goes.\n\n    Far.\n    """\n    return "x"';
    assert.deepEqual(around("comment", text), ['"""Goes.']);
    assert.deepEqual(around("comment", "§class A:\n    r'''One.'''\n    b = \"\"\"two\"\"\""), ["r'''One.'''"]);
  });

  it("is not said by the docstring of what comes next", () => {
    const next = '\n\ndef go():\n    """Goes."""\n';
    assert.deepEqual(around("comment", `§limit = 3${next}`), []);
    assert.deepEqual(around("comment", `§def stop(): return 1${next}`), []);
    assert.deepEqual(around("comment", `§def stop(a):\n    return 1${next}`), []);
  });

  it("is not said by code, by an open comment's end, or by what a preprocessor reads", () => {
    assert.deepEqual(around("comment", "go();\n§let a;"), []);
    assert.deepEqual(around("comment", "#include <a>\n§int a;"), []);
    assert.deepEqual(around("comment", "  #secret = 1;\n  §go() {"), []);
    assert.deepEqual(around("comment", "x */\n§let a;"), []);
    assert.deepEqual(around("comment", "§let a;"), []);
  });
});
