/** Random trees and rule files: what the walk finds and why it leaves out must be what git says. Needs git. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, lstatSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { walkRoot } from "../../../extension/server/walk.ts";
import { seeded } from "../../support/random.ts";
import { withTempTree } from "../../support/tempTree.ts";

const treesPerRepository = 40;

/** Names and patterns are made of few pieces, so that they often meet. */
const names = [
  "a",
  "b",
  "ab",
  "foo",
  "bar.o",
  "x.log",
  "keep.log",
  "build",
  "out",
  "a b",
  "c ",
  "é",
  "日",
  "[x]",
  "!n",
  "#c",
  "b\\d",
  ".h",
];
const pieces = [
  ...["a", "b", "ab", "foo", ".o", "x", ".log", "keep", "build", "out", " ", "é", "日", "c", "n", "d", "h", ".", "bar"],
  ...[
    "*",
    "*",
    "*",
    "**",
    "***",
    "?",
    "?",
    "[ab]",
    "[!a]",
    "[^o]",
    "[a-f]",
    "[]a]",
    "[[:alpha:]]",
    "[[:upper:][:digit:]]",
    "[\\x]",
    "[b",
    "[[:no:]]",
  ],
  ...["\\a", "\\*", "\\[", "\\ ", "\\!", "\\#", "/", "/", "/", "**/", "/**", "/**/"],
];

before(() => {
  const found = spawnSync("git", ["--version"], { encoding: "utf8" });
  assert.equal(found.status, 0, "the conformance test compares with git: install git and have it on the PATH");
});

function pick<Item>(random: () => number, items: readonly Item[]): Item {
  const item = items[Math.floor(random() * items.length)];
  assert.ok(item !== undefined);
  return item;
}

function randomPattern(random: () => number): string {
  if (random() < 0.03) return pick(random, ["", "#a", "!", "/", "\\", "!/", "**", "*", "/*", "//a", "a//b", "!*/"]);
  let pattern = random() < 0.3 ? "!" : "";
  if (random() < 0.3) pattern += "/";
  const count = 1 + Math.floor(random() * 4);
  for (let piece = 0; piece < count; piece++) pattern += random() < 0.35 ? pick(random, names) : pick(random, pieces);
  if (random() < 0.25) pattern += "/";
  return pattern + pick(random, ["", "", "", "", "", " ", "  ", "\\ ", "\t", "\r"]);
}

function randomRules(random: () => number, capitals: boolean): string {
  const count = 1 + Math.floor(random() * 5);
  const lines = Array.from({ length: count }, () => randomPattern(random));
  const text = lines.map((line) =>
    capitals && random() < 0.4 ? line.replace(/(?<!\[:)[a-z](?!\w*:\])/g, (letter) => letter.toUpperCase()) : line,
  );
  return (random() < 0.1 ? "\uFEFF" : "") + text.join("\n") + (random() < 0.8 ? "\n" : "");
}

/** Files of one tree, with an ignore file in about every third folder. */
function randomTree(random: () => number, top: string, capitals: boolean, files: Map<string, string>): void {
  const grow = (folder: string, depth: number): void => {
    const entries = new Set(Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(random, names)));
    for (const name of entries) {
      if (depth < 3 && random() < 0.4) grow(`${folder}/${name}`, depth + 1);
      else files.set(`${folder}/${name}`, "1");
    }
    if (depth === 0 || random() < 0.35) files.set(`${folder}/.gitignore`, randomRules(random, capitals));
  };
  grow(top, 0);
}

function write(folder: string, files: ReadonlyMap<string, string>): void {
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** An environment that holds nothing of the machine's own configuration. */
function environmentAt(home: string): Record<string, string> {
  return { PATH: process.env.PATH ?? "", HOME: home, GIT_CONFIG_NOSYSTEM: "1", LC_ALL: "C.UTF-8" };
}

function git(folder: string, environment: Record<string, string>, args: string[], input = ""): string {
  const { status, stdout, stderr } = spawnSync("git", args, { cwd: folder, env: environment, input, maxBuffer: 1 << 28 });
  assert.ok(status === 0 || (status === 1 && args[0] === "check-ignore"), `git ${args.join(" ")}: ${stderr.toString()}`);
  return stdout.toString("utf8");
}

const listArguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];

/** Files that git lists and that exist as such; a folder in its list is a repository of its own. */
function listedByGit(folder: string, environment: Record<string, string>): string[] {
  const listed = new Set(git(folder, environment, listArguments).split("\0"));
  return [...listed].filter((path) => path !== "" && lstatSync(join(folder, path), { throwIfNoEntry: false })?.isFile()).sort();
}

/** Asserts that the walk finds what git lists, and gives git's reason for each row that a rule made. */
async function check(folder: string, environment: Record<string, string>): Promise<void> {
  const walk = await walkRoot({ folder, prefix: "" }, { environment });
  assert.deepEqual(
    walk.files.map(({ path }) => path),
    listedByGit(folder, environment),
  );
  const ignored = walk.excluded.filter(({ kind }) => kind === "ignored");
  const input = ignored.map(({ path }) => path.replace(/\/$/, "")).join("\0");
  const fields = git(folder, environment, ["check-ignore", "-z", "-v", "--no-index", "--stdin"], input).split("\0");
  const reasons = new Map<string, string>();
  for (let at = 0; at + 3 < fields.length; at += 4) {
    const source = (fields[at] ?? "").replace(/^.*\.config\/git\/ignore$/, (path) => `${path} (core.excludesFile)`);
    reasons.set(fields[at + 3] ?? "", `ignored by ${source}: ${fields[at + 2] ?? ""}`);
  }
  for (const { path, reason } of ignored) assert.equal(reason, reasons.get(path.replace(/\/$/, "")), path);
}

interface Variant {
  name: string;
  capitals?: boolean;
  /** Parts of the files that git tracks, ignored or not. */
  tracked?: number;
  configure?(run: (...args: string[]) => string, folder: string): void;
  /** After the files were added. */
  finish?(run: (...args: string[]) => string, folder: string): void;
}

const variants: Variant[] = [
  { name: "rule files alone" },
  { name: "rule files alone, others" },
  { name: "tracked files, index version 2", tracked: 0.3, configure: (run) => run("config", "index.version", "2") },
  { name: "tracked files, index version 4", tracked: 0.3, configure: (run) => run("config", "index.version", "4") },
  {
    name: "entries that are intended or sparse, index version 3",
    tracked: 0.2,
    finish: (run) => {
      const [first = ""] = run("ls-files", "-z").split("\0");
      run("update-index", "--skip-worktree", first);
    },
  },
  {
    name: "a split index",
    tracked: 0.3,
    configure: (run) => run("config", "core.splitIndex", "true"),
    finish: (run) => {
      run("config", "splitIndex.maxPercentChange", "100");
      run("update-index", "--split-index");
      const tracked = run("ls-files", "-z").split("\0").filter(Boolean);
      run("update-index", "--force-remove", ...tracked.filter((_, at) => at % 7 === 0).slice(0, 90));
      run("update-index", "--chmod=+x", ...tracked.filter((_, at) => at % 7 === 3).slice(0, 40));
    },
  },
  { name: "case ignored", capitals: true, tracked: 0.2, configure: (run) => run("config", "core.ignoreCase", "true") },
  { name: "case kept", capitals: true, tracked: 0.2, configure: (run) => run("config", "core.ignoreCase", "false") },
  {
    name: "a repository with SHA-256",
    tracked: 0.2,
    configure: (run) => run("init", "-q", "--object-format=sha256"),
  },
];

for (const [number, variant] of variants.entries()) {
  test(`${treesPerRepository} random trees: ${variant.name}`, () =>
    withTempTree({}, async (home) => {
      const random = seeded(1000 + number);
      const environment = environmentAt(home);
      const folder = join(home, "w");
      mkdirSync(folder);
      const run = (...args: string[]): string => git(folder, environment, args);
      if (variant.configure) {
        if (!variant.name.includes("SHA")) run("init", "-q");
        variant.configure(run, folder);
      } else run("init", "-q");
      const files = new Map<string, string>();
      for (let tree = 0; tree < treesPerRepository; tree++) randomTree(random, `t${tree}`, variant.capitals ?? false, files);
      write(folder, files);
      // Weak rules for all trees at once: rare ones, so that they do not decide everything.
      appendFileSync(join(folder, ".git/info/exclude"), `/t1/*\n!/t1/a*\n*.${number}\nt2/**/foo\n`);
      mkdirSync(join(home, ".config/git"), { recursive: true });
      writeFileSync(join(home, ".config/git/ignore"), "/t3/b*\n!/t1/b\n");
      if (variant.tracked !== undefined) {
        const chosen = [...files.keys()].filter(() => random() < (variant.tracked ?? 0));
        git(folder, environment, ["update-index", "--add", "-z", "--stdin"], chosen.join("\0"));
      }
      variant.finish?.(run, folder);
      await check(folder, environment);
    }));
}

test("long patterns of many stars end in time, with git's answer", () =>
  withTempTree({}, async (home) => {
    const environment = environmentAt(home);
    const folder = join(home, "w");
    const long = "a".repeat(200);
    write(
      folder,
      new Map([
        [`${long}/${long}/b`, "1"],
        [`${long}/${long}x`, "1"],
        [".gitignore", `${"a*".repeat(30)}x\n**/${"*a".repeat(500)}/c\n${"?".repeat(5000)}\n`],
      ]),
    );
    git(folder, environment, ["init", "-q"]);
    const walk = await walkRoot({ folder, prefix: "" }, { environment });
    assert.deepEqual(
      walk.files.map(({ path }) => path),
      [".gitignore", `${long}/${long}/b`],
    );
    // Git itself takes exponential time for `**` + `/*a*a…`, so that only the first rule is compared.
    writeFileSync(join(folder, ".gitignore"), `${"a*".repeat(4)}x\n`);
    await check(folder, environment);
    assert.ok(existsSync(join(folder, ".git")));
  }));
