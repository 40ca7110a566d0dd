/** Patterns of one line. What git says of them in whole trees is compared in gitConformance.unit.ts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { byteString, compileGlob, expandBraces, foldCase, textOf } from "../../../extension/server/globs.ts";
import { RuleList } from "../../../extension/server/ignoreRules.ts";
import { seeded } from "../../support/random.ts";

function matches(pattern: string, text: string, paths = true, ignoreCase = false): boolean {
  const folded = ignoreCase ? foldCase(text) : text;
  return compileGlob(pattern, { paths, ignoreCase })?.(folded, 0) ?? false;
}

/** The same by trying everything, one byte at a time; for short patterns without classes. */
function slowly(pattern: string, text: string, paths: boolean, before = "/"): boolean {
  if (pattern === "") return text === "";
  const rest = pattern.slice(1);
  if (pattern.startsWith("*")) {
    const after = pattern.replace(/^\*+/, "");
    const stars = pattern.length - after.length;
    const deep = !paths || (stars > 1 && before === "/" && (after === "" || after.startsWith("/") || after.startsWith("\\/")));
    if (deep && paths && after.startsWith("/") && slowly(after.slice(1), text, paths)) return true;
    for (let taken = 0; taken <= text.length; taken++) {
      if (slowly(after, text.slice(taken), paths, "*")) return true;
      if (!deep && text[taken] === "/") return false;
    }
    return false;
  }
  if (text === "") return false;
  if (pattern.startsWith("?")) return !(paths && text.startsWith("/")) && slowly(rest, text.slice(1), paths, "?");
  if (!pattern.startsWith("\\")) return pattern[0] === text[0] && slowly(rest, text.slice(1), paths, pattern.slice(0, 1));
  return pattern.length > 1 && pattern[1] === text[0] && slowly(pattern.slice(2), text.slice(1), paths, pattern.slice(1, 2));
}

describe("globs", () => {
  it("agree with trying everything, on random patterns and texts", () => {
    const random = seeded(11);
    const pick = (pieces: string): string => pieces[Math.floor(random() * pieces.length)] ?? "";
    let matched = 0;
    for (let round = 0; round < 30_000; round++) {
      const pattern = Array.from({ length: 1 + random() * 8 }, () => pick("aab//*****?\\")).join("");
      const text = Array.from({ length: 1 + random() * 7 }, () => pick("aaab//")).join("");
      for (const paths of [true, false]) {
        const wanted = slowly(pattern, text, paths);
        assert.equal(matches(pattern, text, paths), wanted, `${pattern} ${text} ${paths}`);
        if (wanted) matched++;
      }
    }
    assert.ok(matched > 2000, `${matched} matched`);
  });

  it("classes: ranges, negation, names, escapes, and what is malformed never matches", () => {
    for (const [pattern, yes, no] of [
      ["[a-c]", "abc", "d-]"],
      ["[!a-c]", "d-]", "abc/"],
      ["[]a]", "]a", "["],
      ["[^]a]", "b[", "]a/"],
      ["[a-]", "a-", "b"],
      ["[\\]x]", "]x", "\\"],
      ["[\\\\-^]", "\\]^", "["],
      ["[[:digit:]x-z]", "09xyz", "a:"],
      ["[[:]", "[:", "]"],
      ["[z-a]", "z", "am"],
      ["[/]", "", "/"],
    ] as const) {
      for (const text of yes) assert.ok(matches(pattern, text), `${pattern} matches ${text}`);
      for (const text of no) assert.ok(!matches(pattern, text), `${pattern} does not match ${text}`);
    }
    for (const malformed of ["[", "[a", "[!", "[]", "[[:nonsense:]]", "[a-", "[\\", "a\\", "*["]) {
      assert.equal(compileGlob(malformed, { paths: true, ignoreCase: false }), undefined, malformed);
    }
  });

  it("ignore the case of ASCII letters alone, in ranges and names of classes too, but not of escaped letters", () => {
    for (const [pattern, text, wanted] of [
      ["ABC*", "abcD", true],
      ["[A-C]", "b", true],
      ["[a-c]", "B", true],
      ["[[:upper:]]", "x", true],
      ["\\A", "a", false],
      ["[A]", "a", false],
      [byteString("É"), byteString("é"), false],
    ] as const) {
      assert.equal(matches(pattern, text, true, true), wanted, `${pattern} ${text}`);
    }
  });

  it("end in time whatever the pattern: many stars, many folders, a line of a megabyte", () => {
    const path = `${"a".repeat(250)}/`.repeat(16);
    for (const pattern of [
      `${"*a".repeat(500)}b`,
      `**/${"*a*".repeat(60)}b`,
      `${"**/".repeat(300)}b`,
      `**/${"a*/".repeat(20)}b`,
      `${"?*".repeat(300)}b`,
      `**\\/${"*a".repeat(100)}b`,
      `${"[a-z]*".repeat(100)}b`,
    ]) {
      assert.equal(matches(pattern, path), false, pattern.slice(0, 20));
      assert.equal(matches(pattern, "a".repeat(255), false), false, pattern.slice(0, 20));
    }
    const megabyte = 2 ** 20;
    for (const line of [
      "x".repeat(megabyte),
      `*${"x".repeat(megabyte)}`,
      `a/${"**/".repeat(megabyte / 3)}`,
      "*".repeat(megabyte),
      "[".repeat(megabyte),
    ]) {
      const list = new RuleList({ base: "", source: "", ignoreCase: true }, `${line}\n!/${line}`);
      assert.equal(list.match("a/b/", "c", false)?.negated ?? false, line.startsWith("**"));
    }
  });

  it("braces stand for each of their choices", () => {
    for (const [pattern, wanted] of [
      ["*.{ts,js}", ["*.ts", "*.js"]],
      ["{a,b}/{c,d}", ["a/c", "a/d", "b/c", "b/d"]],
      ["a{b,{c,d}e}f", ["abf", "acef", "adef"]],
      ["{a,}b", ["ab", "b"]],
      ["{a}", ["a"]],
      ["{a", ["{a"]],
      ["a}", ["a}"]],
      ["{a{b,c}", ["{ab", "{ac"]],
      ["\\{a,b}", ["\\{a,b}"]],
    ] as const) {
      assert.deepEqual(expandBraces(pattern), wanted, pattern);
    }
    assert.ok(expandBraces("{a,b}".repeat(40)).length <= 1002);
  });

  it("see bytes: a question mark is one byte of a letter that has two", () => {
    assert.equal(byteString("é"), "\u00c3\u00a9");
    assert.equal(textOf(byteString("日本 🙂")), "日本 🙂");
    assert.ok(matches("??", byteString("é")) && !matches("?", byteString("é")));
  });
});
