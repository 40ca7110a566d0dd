/**
 * How fast tokens are counted: a corpus of JavaScript as a workspace in the server; one process per engine over the same files, every
 * file's count compared; then what hangs others, and repomix on the same files. `npm run bench:count` prints tables
 * and, when all of it went well, writes the figures to test/bench/results/count.json.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join, resolve } from "node:path";
import { after, it } from "node:test";
import { fileURLToPath } from "node:url";
import { cacheFolder, CORPUS_TOKENS, corpusWorkspace, npmInstall, prepareCorpus, readCorpus, SHA256 } from "./countCorpus.ts";
import {
  type EngineName,
  engineNames,
  type EngineRun,
  isEngine,
  measureEngine,
  measureWorstCases,
  type WorstCase,
} from "./countEngines.ts";
import { keepResults, median } from "./results.ts";
import { measureWorkspace, type WorkspaceFigures } from "./workspaceCount.ts";

const PASSES = 2;
/** Engines take turns this often, because speed on a shared machine comes and goes; medians are shown. */
const ROUNDS = 3;
/** The last repomix that runs on Node 20, and the one for newer ones. */
const REPOMIX = Number(process.versions.node.split(".")[0]) >= 22 ? "repomix@1.18.1" : "repomix@1.14.0";

const job = process.env.LCP_COUNT_JOB;
const output = join(cacheFolder, "measured.json");
if (job === undefined) declareBenches();
else if (isEngine(job)) await measureEngine(job, PASSES, output);
else await measureWorstCases(output);

function declareBenches(): void {
  const report: Partial<Report> = {};
  after(() => writeReport(report));

  it("the corpus as a workspace, in the server", async () => {
    prepareCorpus();
    const workspace = resolve(corpusWorkspace());
    const bundle = resolve("dist/server.js");
    assert.ok(existsSync(bundle), "dist/server.js is missing — run npm run build");
    const savedFile = join(workspace, "lodash", "lodash.js");
    const figures = await measureWorkspace(workspace, { bundle, tokenizer: "o200k", savedFile, tokens: CORPUS_TOKENS });
    sayWorkspace(figures);
    report.server = figures;
  });

  it("the corpus, one thread", () => {
    prepareCorpus();
    const files = readCorpus();
    const megabytes = files.reduce((sum, { bytes }) => sum + bytes.length, 0) / 1e6;
    say(`${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, Node ${process.versions.node}`);
    say(`${files.length} files, ${megabytes.toFixed(1)} MB, o200k; medians of ${ROUNDS} processes per engine\n`);
    const runs = new Map<EngineName, EngineRun[]>(engineNames.map((name) => [name, []]));
    for (let round = 0; round < ROUNDS; round++) for (const name of engineNames) runs.get(name)?.push(readJob(name) as EngineRun);
    const speeds = new Map([...runs].map(([name, of]) => [name, speedsOf(of, megabytes)]));
    const ours = speeds.get("ours, UTF-8") ?? [];
    say(row(["engine", "version", "pass 1 MB/s", "pass 2 MB/s", "ours is", "start ms", "RSS + MB"]));
    const engines = [...runs].map(([engine, of]): EngineRow => {
      const megabytesPerSecond = (speeds.get(engine) ?? []).map(rounded);
      const oursIs = megabytesPerSecond.map((speed, pass) => rounded((ours[pass] ?? 0) / speed));
      const [startMs, residentMB] = [median(of.map((run) => run.startMs)), median(of.map((run) => run.grownMB))].map(rounded);
      return { engine, version: versionOf(engine), megabytesPerSecond, oursIs, startMs, residentMB };
    });
    for (const { engine, version, megabytesPerSecond, oursIs, startMs, residentMB } of engines)
      say(row([engine, version, ...megabytesPerSecond, `${oursIs.join(" / ")} x`, startMs, residentMB]));
    checkCounts(
      runs,
      files.map(({ path }) => path),
    );
    report.engines = engines;
    say(`\nall ${engineNames.length} count ${CORPUS_TOKENS.toLocaleString("en")} tokens and agree on every file\n`);
    sayShortRuns(runs);
  });

  it("unbroken runs of 160,000 characters", () => {
    const rows = readJob("worst cases") as WorstCase[];
    report.unbrokenRuns = rows.map((it) => ({ ...it, ms: rounded(it.ms), stopMs: rounded(it.stopMs) }));
    const tokenizers = [...new Set(rows.map(({ tokenizer }) => tokenizer))];
    say(`\nunbroken runs of 160,000 characters: ms, and ms to stop`);
    say(row(["", ...tokenizers]));
    for (const run of new Set(rows.map((it) => it.run))) {
      const cells = rows.filter((it) => it.run === run).map(({ ms, stopMs }) => `${ms.toFixed(0)}, ${stopMs.toFixed(0)}`);
      say(row([run, ...cells]));
    }
    say(
      `worst: ${Math.max(...rows.map(({ ms }) => ms)).toFixed(0)} ms (200 wanted), stopped after ${Math.max(...rows.map(({ stopMs }) => stopMs)).toFixed(0)} ms (50 wanted)\n`,
    );
  });

  it("repomix on the same files, end to end", (test) => {
    prepareCorpus();
    const workspace = resolve(corpusWorkspace());
    const folder = join(cacheFolder, "repomix");
    const program = join(folder, "node_modules", "repomix", "bin", "repomix.cjs");
    try {
      if (!existsSync(program)) npmInstall(folder, [REPOMIX]);
    } catch (error) {
      test.diagnostic(`repomix left out: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    const seconds: number[] = [];
    let told = "";
    for (let round = 0; round < ROUNDS; round++) {
      const began = performance.now();
      const args = [resolve(program), workspace, "--no-default-patterns", "--no-gitignore", "-o", resolve(folder, "out.xml")];
      const env = { ...process.env, REPOMIX_TOKEN_CACHE: "0" };
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", env });
      seconds.push((performance.now() - began) / 1000);
      assert.equal(status, 0, stderr);
      told = /Total Tokens:.*/.exec(stdout)?.[0] ?? "";
    }
    report.repomix = { version: REPOMIX, seconds: rounded(median(seconds)), told };
    say(`${REPOMIX}, cold: ${median(seconds).toFixed(1)} s for the whole corpus; ${told}\n`);
  });
}

interface EngineRow {
  engine: EngineName;
  version: string;
  /** Of each pass, median of the rounds. */
  megabytesPerSecond: number[];
  /** How many times as fast our count of UTF-8 is. */
  oursIs: number[];
  startMs: number;
  residentMB: number;
}

interface Report {
  engines: EngineRow[];
  unbrokenRuns: WorstCase[];
  server: WorkspaceFigures;
  repomix: { version: string; seconds: number; told: string };
}

/** Writes what was measured, unless a part failed. */
function writeReport({ engines, unbrokenRuns, server, repomix }: Partial<Report>): void {
  if (!engines || !unbrokenRuns || !server) return;
  keepResults("count", "npm run bench:count", {
    corpus: { sha256: SHA256, tokens: CORPUS_TOKENS },
    ...{ engines, unbrokenRuns, server, repomix },
  });
}

/** Three digits are more than a shared machine repeats. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

/** Runs one job in a process of its own and reads what it measured. */
function readJob(name: string): unknown {
  const env = { ...process.env, LCP_COUNT_JOB: name, NODE_OPTIONS: "" };
  const { status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url)], { stdio: "inherit", env });
  assert.equal(status, 0, `${name} failed`);
  return JSON.parse(readFileSync(output, "utf8"));
}

function checkCounts(runs: ReadonlyMap<EngineName, readonly EngineRun[]>, paths: readonly string[]): void {
  const expected = runs.get("gpt-tokenizer")?.[0]?.counts ?? [];
  assert.equal(expected.length, paths.length);
  assert.equal(
    expected.reduce((sum, count) => sum + count, 0),
    CORPUS_TOKENS,
  );
  for (const [name, of] of runs)
    for (const { counts } of of) paths.forEach((path, i) => assert.equal(counts[i], expected[i], `${name}: ${path}`));
}

/** The same runs for every engine, of a length that the quadratic ones survive. */
function sayShortRuns(runs: ReadonlyMap<EngineName, readonly EngineRun[]>): void {
  say("unbroken runs of 10,000 characters, ms");
  say(row(["", ...runs.keys()]));
  const whats = Object.keys(runs.get("gpt-tokenizer")?.[0]?.runsMs ?? {});
  for (const what of whats)
    say(row([what, ...[...runs.values()].map((of) => median(of.map((run) => run.runsMs[what] ?? 0)).toFixed(1))]));
}

function sayWorkspace({ files, tokens, provisional, ...figures }: WorkspaceFigures): void {
  const ms = (value: number) => `${value.toFixed(0)} ms`;
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  say(`the server on ${files} files, ${tokens.toLocaleString("en")} tokens`);
  say(row(["start", ms(figures.startMs)]));
  say(row(["exact, cold", ms(figures.coldMs), "wanted 1500"]));
  say(row(["exact, warm", ms(figures.warmMs), "wanted 150"]));
  say(row(["exact, after a kill", ms(figures.killedMs)]));
  say(row(["after a save", ms(figures.saveMs), "wanted 30"]));
  const { medianMs, latestMs, medianError, worstError, wanderedError } = provisional;
  say(row(["first total (≈)", ms(medianMs), "wanted 300", `latest ${ms(latestMs)}`]));
  say(
    row([
      "… is off by",
      percent(medianError),
      "wanted 1 %",
      `worst ${percent(worstError)}`,
      `until exact ${percent(wanderedError)}`,
    ]),
  );
  say(row(["peak memory", figures.peakMiB === undefined ? "unknown" : `${figures.peakMiB.toFixed(0)} MiB`, "wanted 200"]));
  say("");
}

/** Median MB/s of every pass. */
function speedsOf(runs: readonly EngineRun[], megabytes: number): number[] {
  return Array.from({ length: PASSES }, (_, pass) => (1000 * megabytes) / median(runs.map((run) => run.passMs[pass] ?? 0)));
}

function versionOf(name: EngineName): string {
  if (name.startsWith("ours")) return "";
  const manifest = JSON.parse(readFileSync(join("node_modules", name, "package.json"), "utf8")) as { version: string };
  return manifest.version;
}

function row(cells: readonly (string | number)[]): string {
  return cells.map((cell, i) => (i === 0 ? String(cell).padEnd(20) : String(cell).padStart(14))).join("");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
