/**
 * Random trees and rule files: what the walk finds and why it leaves out must be what git says. Needs git.
 * LCP_GIT_ROUNDS=200 LCP_GIT_SEED=7 runs every variant that often, each time with other trees.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { checkAgainstGit, environmentAt, git } from "../../support/gitAnswers.ts";
import {
  type Entry,
  pick,
  randomRules,
  type Random,
  randomTree,
  type TreeOptions,
  writeEntries,
} from "../../support/gitTrees.ts";
import { seeded } from "../../support/random.ts";
import { withTempTree } from "../../support/tempTree.ts";

const treesPerRepository = 40;
const rounds = Number(process.env.LCP_GIT_ROUNDS ?? 1);
const firstSeed = Number(process.env.LCP_GIT_SEED ?? 1000);

before(() => {
  const found = spawnSync("git", ["--version"], { encoding: "utf8" });
  assert.equal(found.status, 0, "the conformance test compares with git: install git and have it on the PATH");
});

type Run = (...args: string[]) => string;

interface Variant {
  name: string;
  tree?: TreeOptions;
  /** Part of the files that git tracks, ignored or not. */
  tracked?: number;
  /** Arguments of git init. */
  init?: string[];
  config?: Record<string, string>;
  /** After the files were added. */
  finish?(run: Run, folder: string, random: Random): void;
}

const variants: Variant[] = [
  { name: "rule files alone" },
  { name: "names that are no UTF-8", tree: { badNames: true }, tracked: 0.1 },
  { name: "links and folders in place of rule files", tree: { links: true }, tracked: 0.2 },
  { name: "tracked files, index version 2", tracked: 0.3, config: { "index.version": "2" } },
  { name: "tracked files, index version 4", tracked: 0.3, config: { "index.version": "4" } },
  { name: "entries that are intended or not checked out, index version 3", tracked: 0.2, finish: intendAndSkip },
  {
    name: "a split index",
    tracked: 0.3,
    config: { "core.splitIndex": "true", "splitIndex.maxPercentChange": "100" },
    finish: split,
  },
  { name: "case ignored", tree: { capitals: true, foldedNames: true }, tracked: 0.2, config: { "core.ignoreCase": "true" } },
  { name: "case kept", tree: { capitals: true }, tracked: 0.2, config: { "core.ignoreCase": "false" } },
  { name: "a repository with SHA-256", tracked: 0.2, init: ["--object-format=sha256"] },
  { name: "files that became folders, folders that became files", tracked: 0.4, finish: exchange },
];

for (const [number, variant] of variants.entries()) {
  test(`${rounds * treesPerRepository} random trees: ${variant.name}`, async () => {
    for (let round = 0; round < rounds; round++) await checkRepository(variant, firstSeed + number + round * variants.length);
  });
}

async function checkRepository(variant: Variant, seed: number): Promise<void> {
  await withTempTree({}, async (home) => {
    const random = seeded(seed);
    const environment = environmentAt(home);
    const folder = join(home, "w");
    mkdirSync(folder);
    const run: Run = (...args) => git(folder, environment, args);
    run("init", "-q", ...(variant.init ?? []));
    for (const [key, value] of Object.entries(variant.config ?? {})) run("config", key, value);
    const entries = new Map<string, Entry>();
    for (let tree = 0; tree < treesPerRepository; tree++) randomTree(random, `t${tree}`, variant.tree ?? {}, entries);
    writeEntries(folder, entries);
    writeWeakRules(random, home, folder);
    if (variant.tracked !== undefined) {
      const files = [...entries].flatMap(([path, entry]) =>
        entry === "folder" || random() >= (variant.tracked ?? 0) ? [] : [path],
      );
      git(folder, environment, ["update-index", "--add", "-z", "--stdin"], files.join("\0"));
    }
    variant.finish?.(run, folder, random);
    try {
      await checkAgainstGit(folder, environment);
      for (const inner of openedFolders(random, entries)) await checkInside(folder, inner, environment);
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  });
}

/** Some folders that hold files. */
function openedFolders(random: Random, entries: ReadonlyMap<string, Entry>): string[] {
  const folders = [...entries].flatMap(([path, entry]) => (entry !== "folder" && "file" in entry ? [dirname(path)] : []));
  return Array.from({ length: 3 }, () => pick(random, folders)).filter((path) => /^[\x20-\x7e]*$/.test(path));
}

/** What holds where a folder of the repository is opened that git does not ignore. */
async function checkInside(folder: string, inner: string, environment: Record<string, string>): Promise<void> {
  const isFolder = existsSync(`${join(folder, inner)}/.`);
  // Of a folder that holds tracked files git does not say it, but of what might be in it.
  if (!isFolder || git(folder, environment, ["check-ignore", "-z", "--stdin"], `${inner}/anything`) !== "") return;
  await checkAgainstGit(join(folder, inner), environment);
}

/** Rules for all trees at once, each for one tree, so that they do not decide everything. */
function writeWeakRules(random: Random, home: string, folder: string): void {
  const rules = Array.from({ length: 12 }, (_, tree) => {
    const [rule = ""] = randomRules(random).split("\n");
    return rule.startsWith("!") ? `!/t${tree}/**/${rule.slice(1)}\n` : `/t${tree}/**/${rule}\n`;
  });
  appendFileSync(
    join(folder, ".git/info/exclude"),
    Buffer.from(`/t1/*\n!/t1/a*\nt2/**/foo\n${rules.slice(6).join("")}`, "latin1"),
  );
  mkdirSync(join(home, ".config/git"), { recursive: true });
  writeFileSync(join(home, ".config/git/ignore"), Buffer.from(`/t3/b*\n!/t1/b\n${rules.slice(0, 6).join("")}`, "latin1"));
}

function tracked(run: Run): string[] {
  return run("ls-files", "-z").split("\0").filter(Boolean);
}

/** Of ignore files that are not checked out git reads the rules from its objects, packed ones too. */
function intendAndSkip(run: Run, folder: string, random: Random): void {
  const paths = tracked(run).filter((path) => /^[\x21-\x7e]+$/.test(path) && !path.startsWith("-"));
  const skipped = paths.filter((path) => random() < (path.endsWith(".gitignore") ? 0.5 : 0.1));
  run("update-index", "--skip-worktree", ...skipped);
  writeFileSync(join(folder, "intended"), "1");
  run("add", "--sparse", "-N", "-f", "intended");
  if (random() < 0.5) run("repack", "-q", "-a", "-d");
  for (const path of skipped) if (random() < 0.8) rmSync(join(folder, path));
}

function split(run: Run): void {
  run("update-index", "--split-index");
  const paths = tracked(run).filter((path) => /^[\x21-\x7e]+$/.test(path) && !path.startsWith("-"));
  run("update-index", "--force-remove", ...paths.filter((_, at) => at % 7 === 0).slice(0, 90));
  run("update-index", "--chmod=+x", ...paths.filter((_, at) => at % 7 === 3).slice(0, 40));
}

/** Puts a folder in the place of some tracked files, and a file in that of some folders. */
function exchange(run: Run, folder: string, random: Random): void {
  for (const path of tracked(run).filter((name) => /^[\x21-\x7e]+$/.test(name) && !name.endsWith(".gitignore"))) {
    const kind = random();
    if (kind < 0.2) {
      renameSync(join(folder, path), join(folder, `${path}.was`));
      mkdirSync(join(folder, path));
      renameSync(join(folder, `${path}.was`), join(folder, path, "a"));
    } else if (kind < 0.3) rmSync(join(folder, path));
  }
  for (const name of ["t4", "t5/a", "t6/b"]) {
    rmSync(join(folder, name), { recursive: true, force: true });
    writeFileSync(join(folder, name), "1");
  }
}
