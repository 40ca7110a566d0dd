/**
 * Outlines of files written for the tricky declarations of each language. A fixture is the file itself, with "+" in front of
 * every line that is kept; then its symbols with their lines and, where that is not the first one, the line of the name; then
 * the names it defines.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { loadLanguage, openRuntime, type Runtime } from "../../../extension/server/outline/grammars.ts";
import { grammarNames, languageOf } from "../../../extension/server/outline/languages.ts";
import {
  openOutlines,
  type Outlined,
  type OutlinedSymbol,
  type OutlineSource,
} from "../../../extension/server/outline/outline.ts";
import type { Language } from "../../../extension/server/outline/rules.ts";

const folder = "test/fixtures/outline";
const fixtures = readdirSync(folder).sort();
const never = (): boolean => false;

describe("the outline of", () => {
  let source: OutlineSource;
  before(async () => {
    source = await openOutlines();
  });

  for (const file of fixtures) {
    const path = file.replace(/\.txt$/, "");
    it(path, () => {
      const [marked = "", symbols = "", definitions = ""] = readFileSync(join(folder, file), "utf8").split("=====\n");
      const text = marked.replace(/^[+ ] /gm, "");
      const outlined = source.outline(path, text, never);
      assert.ok("lines" in outlined, "reason" in outlined ? outlined.reason : "");
      assert.equal(markedText(text, outlined), marked);
      assert.equal(outlined.symbols.map((symbol) => symbolText(symbol, "")).join(""), symbols);
      assert.equal(outlined.definitions.join(" "), definitions.trim());
    });
  }
});

describe("the languages of outlines", () => {
  let runtime: Runtime;
  const languages = new Map<string, Language>();
  before(async () => {
    runtime = await openRuntime();
    for (const file of fixtures) {
      const language = languageOf(file.replace(/\.txt$/, ""));
      if (language) languages.set(language.grammar, language);
    }
  });

  it("have a fixture each, and the grammar files that are installed", () => {
    assert.deepEqual([...languages.keys()].sort(), [...grammarNames].sort());
    const installed = readdirSync("dist/grammars").filter((file) => file !== "web-tree-sitter.wasm");
    assert.deepEqual(installed.sort(), grammarNames.map((name) => `tree-sitter-${name}.wasm`).sort());
  });

  it("name only node types that their grammars have", () => {
    const known = new Map([...languages.values()].map((language) => [language, namedTypes(language, runtime)]));
    for (const [{ grammar, rules }] of known) {
      // JavaScript and TypeScript share their rules, and each has types that the other lacks.
      const types = new Set([...known].filter(([other]) => other.rules === rules).flatMap(([, own]) => own));
      assert.deepEqual(
        Object.keys(rules).filter((type) => !types.has(type)),
        [],
        grammar,
      );
    }
  });

  it("have grammars that ask nothing of the runtime that it lacks", () => {
    const exports = new Set(WebAssembly.Module.exports(readModule("web-tree-sitter")).map(({ name }) => name));
    for (const name of grammarNames) {
      const imports = WebAssembly.Module.imports(readModule(`tree-sitter-${name}`)).filter(({ kind }) => kind === "function");
      // A failed assertion ends the parse in any case.
      const missing = imports.filter((it) => it.name !== "__assert_fail" && !exports.has(it.name));
      assert.deepEqual(missing, [], name);
    }
  });

  it("are found by the names of files", () => {
    const grammars = ["a/b.ts", "b.d.mts", "c.JSX", "x/Rakefile", "d.h", "e.pyi", ".bashrc"].map(
      (path) => languageOf(path)?.grammar,
    );
    assert.deepEqual(grammars, ["typescript", "typescript", "javascript", "ruby", "cpp", "python", "bash"]);
    for (const path of ["README.md", "ts", "a.ts/b", "Makefile", "a.ps1", "constructor", "a.constructor", ""])
      assert.equal(languageOf(path), undefined, path);
  });
});

function markedText(text: string, { lines }: Outlined): string {
  const kept = new Set(lines.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i)));
  const marked = text.split("\n").map((line, i) => (line === "" ? "" : `${kept.has(i + 1) ? "+" : " "} ${line}`));
  return marked.join("\n");
}

function symbolText({ startLine, endLine, nameLine, kind, name, children }: OutlinedSymbol, indent: string): string {
  const inner = children.map((child) => symbolText(child, `${indent}  `)).join("");
  const named = nameLine === startLine ? "" : ` @${nameLine}`;
  return `${indent}${startLine}-${endLine}${named} ${kind} ${name}\n${inner}`;
}

function namedTypes(language: Language, runtime: Runtime): string[] {
  const grammar = loadLanguage(language, runtime).parser.language;
  assert.ok(grammar);
  return grammar.types.filter((type, id) => type !== "" && grammar.nodeTypeIsNamed(id));
}

function readModule(name: string): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(`dist/grammars/${name}.wasm`));
}
