/** A made-up monorepo of 200,000 files that git lists, the same each time, for what has to be fast on very many files. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seeded } from "../support/random.ts";

/** Files that git lists: each package has a .gitignore and 1,999 others. */
export const LISTED_FILES = 200_000;
/** Files below them that its rules ignore, in folders and by name. */
export const IGNORED_FILES = 12_000;

const PACKAGES = 100;
const FILES_PER_PACKAGE = LISTED_FILES / PACKAGES;
const FILES_PER_FOLDER = 20;
const parts = ["src", "src/model", "src/view", "lib", "test", "docs", "assets/data"];
const endings = ["ts", "ts", "ts", "tsx", "js", "py", "go", "md", "json", "css"];
const stems = ["index", "parser", "client", "server", "table", "buffer", "session", "widget", "router", "schema"];
/** Content comes from one text of this many characters, which is long enough that few files are equal. */
const TEXT_CHARACTERS = 256 * 1024;
const LARGEST_FILE = 4096;

/** Makes the tree with an index that tracks three of four packages, and returns its folder. Takes a quarter of a minute. */
export function makeLargeTree(): string {
  const folder = mkdtempSync(join(tmpdir(), "lcp-large-"));
  makeTree(folder);
  return folder;
}

function makeTree(folder: string): void {
  const random = seeded(200_000);
  const made = new Set<string>();
  const write = (path: string, content: Uint8Array): void => {
    const parent = join(folder, path.slice(0, path.lastIndexOf("/")));
    if (!made.has(parent)) mkdirSync(parent, { recursive: true });
    made.add(parent);
    writeFileSync(join(folder, path), content);
  };
  const text = Buffer.from(sampleText(random));
  const tracked: string[] = [];
  for (let number = 0; number < PACKAGES; number++) {
    const name = `packages/${["core", "tools", "app", "service"][number % 4] ?? ""}-${String(number).padStart(3, "0")}`;
    const paths = packageFiles(name);
    for (const path of [...paths, ...ignoredFiles(name)]) {
      const from = Math.floor(random() * (text.length - LARGEST_FILE));
      // Most files are small, and a few are as large as they get.
      write(path, text.subarray(from, from + 64 + Math.floor(random() ** 3 * (LARGEST_FILE - 64))));
    }
    writeFileSync(join(folder, name, ".gitignore"), "/out/\n/dist/\n*.log\n!keep.log\n/docs/**/draft-*\n*.tmp.[a-z]*\n");
    if (number % 4 !== 3) tracked.push(...paths, `${name}/.gitignore`);
  }
  track(folder, tracked);
}

function packageFiles(name: string): string[] {
  return Array.from({ length: FILES_PER_PACKAGE - 1 }, (_, at) => {
    const folder = Math.floor(at / FILES_PER_FOLDER);
    const part = parts[folder % parts.length] ?? "";
    const stem = stems[at % stems.length] ?? "";
    return `${name}/${part}/feature-${String(folder).padStart(3, "0")}/${stem}-${at}.${endings[(at * 7) % endings.length] ?? ""}`;
  });
}

function ignoredFiles(name: string): string[] {
  return Array.from({ length: IGNORED_FILES / PACKAGES }, (_, at) => {
    if (at < 50) return `${name}/out/chunk-${at}.js`;
    return at < 100 ? `${name}/dist/nested/chunk-${at}.js` : `${name}/src/feature-000/run-${at}.log`;
  });
}

/** Lines that look like a program's. */
function sampleText(random: () => number): string {
  const words = [
    "table",
    "entry",
    "count",
    "folder",
    "index",
    "reader",
    "result",
    "options",
    "signal",
    "buffer",
    "token",
    "value",
  ];
  const word = (): string => words[Math.floor(random() * words.length)] ?? "";
  const name = (): string => word() + word().replace(/^./, (letter) => letter.toUpperCase());
  const lines = [
    (): string => `  const ${name()} = this.${word()}.${name()}(${word()}, ${Math.floor(random() * 1000)});`,
    (): string => `  if (${name()} === undefined) return ${word()};`,
    (): string => `export function ${name()}(${word()}: ${name()}): ${name()} {`,
    (): string => `  // The ${word()} of the ${word()} is not the ${word()} of a ${word()}.`,
    (): string => "}\n",
  ];
  let text = "";
  while (text.length < TEXT_CHARACTERS) text += `${lines[Math.floor(random() * lines.length)]?.() ?? ""}\n`;
  return text;
}

/** Puts paths into the index by the name of the empty object, because hashing and keeping 150,000 objects would take minutes. */
function track(folder: string, paths: readonly string[]): void {
  execFileSync("git", ["init", "-q", folder]);
  const empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
  const input = paths.map((path) => `100644 ${empty}\t${path}\n`).join("");
  execFileSync("git", ["update-index", "--index-info"], { cwd: folder, input });
}
