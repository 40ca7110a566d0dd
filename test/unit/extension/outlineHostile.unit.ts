/** Files that are broken, empty, endless or made to hurt, and parsers that are not there: a reason instead of a failure. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { before, describe, it, mock } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { openOutlines, type Outlined, type OutlineSource } from "../../../extension/server/outline/outline.ts";
import { seeded } from "../../support/random.ts";
import { withTempTree } from "../../support/tempTree.ts";

const never = (): boolean => false;
const endings = ["ts", "tsx", "js", "py", "go", "rs", "java", "cpp", "cs", "rb", "php", "sh", "css"];
const nothing = { reason: "it declares nothing that an outline could keep" };

describe("an outline of", () => {
  let source: OutlineSource;
  before(async () => {
    source = await openOutlines();
  });

  function outlineOf(path: string, text: string): Outlined {
    const outlined = source.outline(path, text, never);
    assert.ok("lines" in outlined, `${path}: ${"reason" in outlined ? outlined.reason : ""}`);
    return outlined;
  }

  it("nothing is a reason", () => {
    for (const ending of endings)
      for (const text of ["", "\n", "\uFEFF", "   \r\n\t\r", "\0", "🙂"])
        assert.deepEqual(source.outline(`a.${ending}`, text, never), nothing, `${ending} ${JSON.stringify(text)}`);
    assert.deepEqual(source.outline("a.ts", "import './a.ts';\nrun();\n", never), nothing);
    assert.deepEqual(source.outline("a.ts", "// Only words.\n", never), nothing);
    assert.equal(source.supports("a.md"), false);
    assert.deepEqual(source.outline("a.md", "# A\n", never), { reason: "there is no outline for this kind of file" });
  });

  it("a minified file is a reason, and a giant line is in no outline", () => {
    const giant = `const data = "${"x".repeat(600)}";\n`;
    const reason = { reason: "most of it stands in lines of more than 500 characters" };
    assert.deepEqual(source.outline("a.js", `/* short */\n${giant.repeat(3)}`, never), reason);
    const source2 = `${"function f() {\n  return 1;\n}\n".repeat(40)}${giant}function last() {\n}\n`;
    const { lines, definitions } = outlineOf("a.js", source2);
    assert.deepEqual(lines[lines.length - 1], { first: 122, last: 122 });
    assert.ok(!lines.some(({ first, last }) => first <= 121 && last >= 121));
    assert.deepEqual(definitions, ["f", "data", "last"]);
  });

  it("a broken file shows what can be read", () => {
    const { lines, symbols } = outlineOf(
      "a.ts",
      "export class A {\n  m(): void {\n    if (\n  }\n  n() {}\n}\nfunction f() {}\n",
    );
    assert.ok(lines.some(({ first }) => first === 1));
    assert.ok(JSON.stringify(symbols).includes('"f"'), JSON.stringify(symbols));
    assert.deepEqual(outlineOf("a.py", "def f(:\n    pass\n\ndef g(a):\n    return a\n").definitions.includes("g"), true);
    assert.ok(outlineOf("a.java", "class A {\n  void m() {\n").lines[0]?.first === 1);
  });

  it("characters of two code units counts lines and names right", () => {
    const text = `${"/* 🙂𝄞 */ ".repeat(30)}\n${"const 𝒳 = '🙂';\n".repeat(200)}function ünï(𝒴) {\n  return 1;\n}\n`;
    const { lines, definitions } = outlineOf("a.ts", text);
    assert.deepEqual(lines, [{ first: 2, last: 202 }]);
    assert.deepEqual(definitions, ["𝒳", "ünï"]);
  });

  it("100,000 brackets in brackets neither hangs nor exhausts the stack", () => {
    endings.forEach((ending, i) => {
      const [open = "", close = ""] = ["()", "[]", "{}"][i % 3] ?? "";
      const text = `x = ${open.repeat(100_000)}${close.repeat(100_000)}`.replace(/.{80}/g, "$&\n");
      source.outline(`a.${ending}`, text, never);
    });
    source.outline("a.ts", "({[\n".repeat(30_000), never);
    assert.deepEqual(outlineOf("a.java", `${"class A {\n".repeat(20_000)}${"}\n".repeat(20_000)}`).definitions, ["A"]);
    assert.deepEqual(outlineOf("a.ts", "export const a = 1;\n").definitions, ["a"]);
  });

  it("a text that makes the parser recur beyond its stack leaves the next ones readable", () => {
    const expected = outlineOf("b.php", phpSource);
    // The runtime's own stack of 64 KiB lasts for a thousand of these comments; beyond it memory was overwritten.
    assert.deepEqual(outlineOf("a.php", ambiguousPhp(3000)).definitions, ["f"]);
    const failed = source.outline("a.php", ambiguousPhp(20_000), never);
    assert.match("reason" in failed ? failed.reason : "", /^its parser failed \(.*stack/);
    assert.deepEqual(outlineOf("b.php", phpSource), expected);
    assert.deepEqual(outlineOf("a.rs", "fn f() {}\n").definitions, ["f"]);
  });

  it("such texts, when there are many, ends them for the process, because each leaves memory behind", async () => {
    const fresh = await openOutlines();
    for (let i = 0; i < 20; i++) assert.match(JSON.stringify(fresh.outline("a.php", ambiguousPhp(20_000), never)), /failed \(/);
    assert.match(JSON.stringify(fresh.outline("b.php", phpSource, never)), /failed on too many files/);
    assert.deepEqual(outlineOf("b.php", phpSource).definitions, ["f"]);
  });

  it("random damage to real files is never a failure", () => {
    const random = seeded(11);
    const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)];
    const files = [
      "harbour.ts",
      "harbour.py",
      "harbour.rs",
      "harbour.hpp",
      "Harbour.php",
      "harbour.rb",
      "harbour.sh",
      "Harbour.cs",
    ];
    const pieces = [
      "{",
      "}",
      "(",
      "[",
      '"',
      "'",
      "`",
      "\\",
      "/*",
      "*/",
      "#",
      "\r",
      "\n",
      "=>",
      "class ",
      "<<E\n",
      "${",
      "\0",
      "🙂",
      "#if\n",
    ];
    for (let round = 0; round < 400; round++) {
      const file = pick(files);
      let text = fixture(file);
      for (let edits = 1 + Math.floor(random() * 12); edits > 0; edits--) {
        const at = Math.floor(random() * text.length);
        const damage = random() < 0.3 ? "" : pick(pieces).repeat(random() < 0.02 ? 500 : 1);
        text = text.slice(0, at) + damage + text.slice(random() < 0.5 ? at : at + Math.floor(random() * 60));
      }
      const outlined = source.outline(file, text, never);
      if ("reason" in outlined) assert.ok(!/failed/.test(outlined.reason), `round ${round}, ${file}: ${outlined.reason}`);
    }
  });

  it("a file that takes too long is a reason, and the next is read", () => {
    let now = 0;
    const clock = mock.method(performance, "now", () => (now += 700));
    try {
      const text = "const a = [1, 2, 3];\n".repeat(2000);
      assert.deepEqual(source.outline("a.ts", text, never), { reason: "it takes more than 2 seconds to parse" });
    } finally {
      clock.mock.restore();
    }
    assert.deepEqual(outlineOf("a.ts", "const a = 1;\n").definitions, ["a"]);
  });
});

describe("outlines without their files", () => {
  it("are an error with a remedy where the parsers are missing", async () => {
    await withTempTree({ "a.txt": "" }, async (folder) => {
      await assert.rejects(openOutlines(folder), (error) => EngineError.is(error, "not-found") && error.remedy !== "");
    });
  });

  it("go on for other languages where a grammar is missing or damaged", async () => {
    const grammar = (name: string): Uint8Array => readFileSync(`dist/grammars/${name}.wasm`);
    const files = {
      "web-tree-sitter.wasm": grammar("web-tree-sitter"),
      "tree-sitter-go.wasm": grammar("tree-sitter-go"),
      "tree-sitter-rust.wasm": grammar("tree-sitter-rust").subarray(0, 1000),
      "tree-sitter-java.wasm": "not WebAssembly",
    };
    await withTempTree(files, async (folder) => {
      const source = await openOutlines(folder);
      for (const path of ["a.py", "a.rs", "a.java", "a.rs"]) {
        const outlined = source.outline(path, "class A {}", never);
        assert.match("reason" in outlined ? outlined.reason : "", /^its grammar cannot be loaded \(/, path);
      }
      const outlined = source.outline("a.go", "package a\n\nfunc F() {\n}\n", never);
      assert.deepEqual("lines" in outlined ? outlined.definitions : outlined, ["F"]);
    });
  });
});

/** The file of a fixture, without its marks. */
function fixture(path: string): string {
  const [marked = ""] = readFileSync(`test/fixtures/outline/${path}.txt`, "utf8").split("=====\n");
  return marked.replace(/^[+ ] /gm, "");
}

const phpSource = "<?php\nfunction f(int $a): int {\n  return $a;\n}\n";

/** As long as it is open whether `?Qu` is a type, every comment adds to what the parser has to join. */
function ambiguousPhp(comments: number): string {
  return `<?php\nfunction f(?Qu${"#\n".repeat(comments)} $a) {}\n`;
}
