/** Random trees with random ignore files. Paths are byte strings: one character per byte. */
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export type Random = () => number;

export function pick<Item>(random: Random, items: readonly Item[]): Item {
  const item = items[Math.floor(random() * items.length)];
  assert.ok(item !== undefined);
  return item;
}

/** Text as a byte string. */
export function bytesOf(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

export function textOf(path: string): string {
  return Buffer.from(path, "latin1").toString("utf8");
}

/** Names and patterns are made of few pieces, so that they often meet. */
const names = [
  ...["a", "b", "ab", "foo", "bar.o", "x.log", "keep.log", "build", "out", "a b", "c ", "[x]", "!n", "#c", "b\\d", ".h", "a\tb"],
  ...[
    "-",
    "]a",
    "a-z",
    "*",
    "a?",
    "x\ny",
    bytesOf("é"),
    bytesOf("日"),
    bytesOf("e\u0301"),
    bytesOf("𝄞.o"),
    "~",
    "a\r",
    "\x7f",
    "A.o",
    "Foo",
  ],
];
/** Names that are no UTF-8: a lone byte, a cut sequence, an overlong form, a surrogate. */
const badNames = ["\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80.o", "foo\x80", "\xffa"];

const literals = [
  ...["a", "b", "ab", "foo", ".o", "x", ".log", "keep", "build", "out", " ", "c", "n", "d", "h", ".", "bar", "A", "FOO"],
  ...["-", "~", "\t", bytesOf("é"), bytesOf("日"), "\xc3", "\x80", "\xff", "\xa9", "\r", "\0"],
];
const wild = ["*", "*", "*", "**", "***", "?", "?", "??", "*?", "?*", "*.o", "*.*", "*a*"];
const classes = [
  ...["[ab]", "[!a]", "[^o]", "[a-f]", "[]a]", "[!]a]", "[^]-a]", "[a-]", "[-a]", "[!-a]", "[a-c-f]", "[z-a]", "[\\x]", "[\\]a]"],
  ...[
    "[\\\\]",
    "[a\\-z]",
    "[a-\\z]",
    "[[]",
    "[[a]",
    "[?]",
    "[*]",
    "[.-a]",
    "[+--]",
    "[/]",
    "[!/]",
    "[a/b]",
    "[\x80-\xff]",
    "[!\xc3]",
  ],
  ...[
    "[[:alpha:]]",
    "[![:alpha:]]",
    "[[:upper:][:digit:]]",
    "[[:space:]]",
    "[[:punct:]]",
    "[[:alnum:]_-]",
    "[[:lower:]-z]",
    "[[:blank:]]",
  ],
  ...[
    "[[:cntrl:]]",
    "[[:digit:]]",
    "[[:graph:]]",
    "[[:print:]]",
    "[[:xdigit:]]",
    "[[:upper:]]",
    "[A-Z]",
    "[B-b]",
    "[]-a]",
    "[]]",
    "[a-[:alpha:]]",
  ],
];
const malformed = [
  "[b",
  "[",
  "[]",
  "[!]",
  "[^",
  "[a-",
  "[[:no:]]",
  "[[:alpha:]",
  "[[:alpha]]",
  "[[:]",
  "[[:]]",
  "[[::]]",
  "[\\",
  "[[:ALPHA:]]",
];
const escaped = ["\\a", "\\*", "\\[", "\\ ", "\\!", "\\#", "\\\\", "\\?", "\\/", "\\]", "\\A", "\\\xc3"];
const slashes = ["/", "/", "/", "/", "**/", "**/", "/**", "/**/", "/**/", "//", "**\\/", "/***/", "/**/**/"];
const oddities = [
  "",
  "#a",
  "!",
  "/",
  "\\",
  "!/",
  "**",
  "*",
  "/*",
  "//a",
  "a//b",
  "!*/",
  "/**",
  "**/",
  "/**/",
  "!!a",
  "!#",
  "\\!",
  "!\\!n",
  "***",
  "\r",
  " ",
  "  ",
  "!\r",
  "/ ",
];
const endings = ["", "", "", "", "", "", "", " ", "  ", "\\ ", " \\ ", "\\  ", "\t", "\r", " \r", "\\\r", "\\\\ ", "\\"];

export function randomPattern(random: Random): string {
  if (random() < 0.05) return pick(random, oddities);
  let pattern = random() < 0.3 ? "!" : "";
  if (random() < 0.25) pattern += "/";
  const count = 1 + Math.floor(random() ** 2 * 6);
  for (let piece = 0; piece < count; piece++) pattern += randomPiece(random);
  if (random() < 0.25) pattern += "/";
  return pattern + pick(random, endings);
}

function randomPiece(random: Random): string {
  const kind = random();
  if (kind < 0.3) return pick(random, names);
  if (kind < 0.52) return pick(random, literals);
  if (kind < 0.7) return pick(random, wild);
  if (kind < 0.88) return pick(random, slashes);
  if (kind < 0.94) return pick(random, classes);
  if (kind < 0.98) return pick(random, escaped);
  return random() < 0.6 ? pick(random, malformed) : pick(random, badNames);
}

/** The bytes of an ignore file. With `capitals` letters change their case here and there, but for the names of classes. */
export function randomRules(random: Random, capitals = false): string {
  const lines = Array.from({ length: 1 + Math.floor(random() * 6) }, () => randomPattern(random));
  const changed = capitals ? lines.map((line) => otherCase(random, line)) : lines;
  const lineEnd = random() < 0.15 ? "\r\n" : "\n";
  return (random() < 0.08 ? bytesOf("\uFEFF") : "") + changed.join(lineEnd) + (random() < 0.8 ? lineEnd : "");
}

function otherCase(random: Random, line: string): string {
  if (random() < 0.6) return line;
  return line.replace(/(?<!\[:)[a-z](?!\w*:\])/g, (letter) => (random() < 0.5 ? letter.toUpperCase() : letter));
}

/** What stands at a path: a file with that content, a link with that target, or a folder. */
export type Entry = { file: string } | { link: string } | "folder";

export interface TreeOptions {
  capitals?: boolean;
  /** Names that are no UTF-8. */
  badNames?: boolean;
  /** Symbolic links, also in place of ignore files, and folders in place of these. */
  links?: boolean;
  /** No two names of a folder may differ in case alone. */
  foldedNames?: boolean;
}

/** Adds a tree below `top`, with an ignore file in about every third folder. */
export function randomTree(random: Random, top: string, options: TreeOptions, entries: Map<string, Entry>): void {
  const grow = (folder: string, depth: number): void => {
    const taken = new Set<string>();
    for (let left = 1 + Math.floor(random() * 5); left > 0; left--) {
      const name = options.badNames && random() < 0.15 ? pick(random, badNames) : pick(random, names);
      const key = options.foldedNames ? name.toLowerCase() : name;
      if (taken.has(key)) continue;
      taken.add(key);
      const path = `${folder}/${name}`;
      if (depth < 3 && random() < 0.4) grow(path, depth + 1);
      else if (options.links && random() < 0.1)
        entries.set(path, { link: pick(random, [".", "..", "a", "../b", "/dev/null", name]) });
      else if (random() < 0.05) entries.set(path, "folder");
      else entries.set(path, { file: "1" });
    }
    if (depth === 0 || random() < 0.35) entries.set(`${folder}/.gitignore`, randomIgnoreFile(random, options));
  };
  grow(top, 0);
}

function randomIgnoreFile(random: Random, { capitals, links }: TreeOptions): Entry {
  if (links && random() < 0.08) return "folder";
  if (links && random() < 0.08) return { link: pick(random, ["../.gitignore", "a", ".gitignore", "/dev/null"]) };
  return { file: randomRules(random, capitals) };
}

export function writeEntries(folder: string, entries: ReadonlyMap<string, Entry>): void {
  for (const [path, entry] of entries) {
    const at = onDisk(folder, path);
    mkdirSync(onDisk(folder, dirname(path)), { recursive: true });
    if (entry === "folder") mkdirSync(at, { recursive: true });
    else if ("link" in entry) symlinkSync(Buffer.from(entry.link, "latin1"), at);
    else writeFileSync(at, Buffer.from(entry.file, "latin1"));
  }
}

/** A path of byte strings below a folder as the system takes it. */
export function onDisk(folder: string, path: string): Buffer {
  return Buffer.from(join(bytesOf(folder), path), "latin1");
}
