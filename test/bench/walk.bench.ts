/**
 * How fast 200,000 files are found: the walk in a process of its own, its list compared with git's; git, ripgrep and find on the same
 * tree; the same under ten thousand more rules; and the whole server until it shows all rows. `npm run bench:walk`.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, it } from "node:test";
import { fileURLToPath } from "node:url";
import { IGNORED_FILES, LISTED_FILES, makeLargeTree } from "./largeTree.ts";
import { keepResults, median } from "./results.ts";
import { measureWalk, type WalkFigures } from "./walkJob.ts";
import { measureLargeWorkspace } from "./workspaceWalk.ts";

/** Speed on a shared machine comes and goes: programs take turns this often, and medians are shown. */
const ROUNDS = 5;

const job = process.env.LCP_WALK_JOB;
if (job === undefined) declareBenches();
else writeFileSync(`${job}.json`, JSON.stringify(await measureWalk(process.env.LCP_WALK_FOLDER ?? "", `${job}.list`, ROUNDS)));

function declareBenches(): void {
  const output = mkdtempSync(join(tmpdir(), "lcp-walk-"));
  const figures: Record<string, unknown> = { files: LISTED_FILES, ignoredFiles: IGNORED_FILES };
  let folder = "";
  before(() => {
    folder = makeLargeTree();
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
    rmSync(output, { recursive: true, force: true });
    keepResults("walk", "npm run bench:walk", figures);
  });

  it("the walk, and git's list", () => {
    const walk = measured(folder, join(output, "walk"));
    figures.walk = shown(walk);
    say(`${LISTED_FILES.toLocaleString("en")} files that git lists, ${IGNORED_FILES.toLocaleString("en")} that it ignores\n`);
    sayWalk(walk);
    const others = compareOthers(folder, walk.medianMs);
    figures.others = others;
    say("");
  });

  it("the walk where case is ignored, as it is on macOS and Windows", () => {
    git(folder, "config", "core.ignoreCase", "true");
    const walk = measured(folder, join(output, "folded"));
    figures.caseIgnored = shown(walk);
    git(folder, "config", "core.ignoreCase", "false");
    say("case ignored");
    sayWalk(walk);
    say("");
  });

  it("the walk under ten thousand more rules", () => {
    const exclude = join(folder, ".git", "info", "exclude");
    const before = readFileSync(exclude);
    appendFileSync(exclude, manyRules(10_000));
    const walk = measured(folder, join(output, "rules"));
    const gitMs = median(Array.from({ length: 3 }, () => timed("git", folder, ...gitArguments).ms));
    writeFileSync(exclude, before);
    figures.tenThousandRules = { ...shown(walk), gitMs: Math.round(gitMs) };
    say("ten thousand more rules");
    sayWalk(walk);
    say(row(["git ls-files", ms(gitMs), `${(gitMs / walk.medianMs).toFixed(1)} x ours`]));
    say("");
  });

  it("the server, until it shows all rows", async () => {
    const bundle = resolve("dist/server.js");
    assert.ok(existsSync(bundle), "dist/server.js is missing — run npm run build");
    const server = await measureLargeWorkspace(bundle, folder, LISTED_FILES);
    figures.server = server;
    say("the server");
    for (const [name, value] of Object.entries(server)) say(row([name, String(value)]));
  });
}

/** Walks in a process of its own; its list must be git's. */
function measured(folder: string, output: string): WalkFigures {
  const env = { ...process.env, LCP_WALK_JOB: output, LCP_WALK_FOLDER: folder, NODE_OPTIONS: "" };
  const { status } = spawnSync(process.execPath, ["--expose-gc", fileURLToPath(import.meta.url)], { stdio: "inherit", env });
  assert.equal(status, 0, "the walk failed");
  const listed = timed("git", folder, ...gitArguments).lines.sort();
  assert.equal(listed.length, LISTED_FILES);
  assert.ok(readFileSync(`${output}.list`, "utf8") === listed.join("\0"), "the walk's list is not git's");
  return JSON.parse(readFileSync(`${output}.json`, "utf8")) as WalkFigures;
}

const gitArguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];

/** Programs that list the same files, as far as they are installed; only find looks at sizes and times too. */
function compareOthers(folder: string, oursMs: number): Record<string, unknown> {
  const programs: [name: string, program: string, args: string[]][] = [
    ["git ls-files", "git", gitArguments],
    ["rg --files", "rg", ["--files", "--hidden", "--glob", "!.git", "--null"]],
    ["find with size and time", "find", [".", "-name", ".git", "-prune", "-o", "-type", "f", "-printf", "%p %s %T@\\0"]],
  ];
  const found: Record<string, unknown> = {};
  for (const [name, program, args] of programs) {
    if (spawnSync(program, ["--version"]).status !== 0) {
      say(row([name, "not installed"]));
      continue;
    }
    const runs = Array.from({ length: ROUNDS }, () => timed(program, folder, ...args));
    const listed = LISTED_FILES + (program === "find" ? IGNORED_FILES : 0);
    for (const { lines } of runs) assert.equal(lines.length, listed, name);
    const medianMs = median(runs.map((run) => run.ms));
    say(row([name, ms(medianMs), `ours takes ${(oursMs / medianMs).toFixed(2)} x`]));
    found[name] = { medianMs: Math.round(medianMs), oursTakesTimes: Number((oursMs / medianMs).toFixed(2)) };
  }
  return found;
}

/** Runs a program that ends each path with a NUL. */
function timed(program: string, folder: string, ...args: string[]): { ms: number; lines: string[] } {
  const began = performance.now();
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: "utf8", maxBuffer: 1 << 28 });
  const took = performance.now() - began;
  assert.equal(status, 0, stderr);
  return { ms: took, lines: stdout.split("\0").filter((line) => line !== "") };
}

function git(folder: string, ...args: string[]): void {
  assert.equal(spawnSync("git", args, { cwd: folder }).status, 0);
}

/** Rules of the kinds that generated ignore files have, none of which matches anything here. */
function manyRules(count: number): string {
  const kinds = [
    (at: number): string => `generated-${at}`,
    (at: number): string => `*.ext${at}`,
    (at: number): string => `/packages/core-000/target-${at}/**`,
    (at: number): string => `**/cache-${at}/`,
    (at: number): string => `tmp-${at}-*`,
    (at: number): string => `/vendor/lib-${at}/*.so`,
  ];
  return Array.from({ length: count }, (_, at) => `${kinds[at % kinds.length]?.(at) ?? ""}\n`).join("");
}

function sayWalk(walk: WalkFigures): void {
  say(
    row([
      "walk",
      ms(walk.medianMs),
      `first ${ms(walk.firstMs)}`,
      `${Math.round(walk.entriesPerSecond).toLocaleString("en")} entries/s`,
    ]),
  );
  say(row(["memory", `${walk.keptMB.toFixed(0)} MB kept`, `RSS + ${walk.rssGrowthMB.toFixed(0)} MB at most`]));
  say(row(["longest turn", ms(walk.longestTurnMs), `99 of 100 below ${ms(walk.p99TurnMs)}`]));
  say(row(["aborted after", ms(walk.abortMs)]));
}

function shown(walk: WalkFigures): Record<string, number> {
  return Object.fromEntries(Object.entries(walk).map(([name, value]) => [name, Number(value.toFixed(1))]));
}

function ms(value: number): string {
  return `${value.toFixed(value < 20 ? 1 : 0)} ms`;
}

function row(cells: readonly string[]): string {
  return cells.map((cell, at) => (at === 0 ? cell.padEnd(26) : cell.padStart(24))).join("");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
