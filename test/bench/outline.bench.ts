/**
 * How fast outlines are made, and how much they keep: the corpus of the counting benchmark with one thread and with two, what
 * memory that takes, and every declaration found a second time with TypeScript's own parser. `node test/run.mjs bench outline`.
 */
import assert from "node:assert/strict";
import { availableParallelism, cpus } from "node:os";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import ts from "typescript";
import { keptLines, splitLines } from "../../engine/pack/body.ts";
import type { LineRange } from "../../engine/pack/levels.ts";
import { openOutlines, type Outlined } from "../../extension/server/outline/outline.ts";
import { readTokenizer } from "../../extension/server/tokenizerFile.ts";
import { CORPUS_TOKENS, prepareCorpus, readCorpus } from "./countCorpus.ts";
import { keepResults } from "./results.ts";

const WANTED_SECONDS = 5;
const PASSES = 3;
/** The walk keeps no longer line. */
const LONGEST_LINE = 500;

interface Share {
  /** Of `of` threads, the one that takes every `of`-th file from here on. */
  share: number;
  of: number;
}

interface Pass {
  seconds: number;
  /** Lines kept, the same in every pass. */
  lines: number;
  residentMB: number;
}

interface Text {
  path: string;
  text: string;
}

if (isMainThread) declareBenches();
else parentPort?.postMessage(await runPass(readTexts(), workerData as Share));

function declareBenches(): void {
  let lines = 0;
  const figures: Record<string, number | number[]> = {};

  it("the corpus, one thread, again and again", async () => {
    prepareCorpus();
    const texts = readTexts();
    const megabytes = texts.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0) / 1e6;
    say(`${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, Node ${process.versions.node}`);
    say(`${texts.length} files, ${megabytes.toFixed(1)} MB of JavaScript`);
    const before = residentMB();
    const seconds: number[] = [];
    for (let i = 1; i <= PASSES; i++) {
      const pass = await runPass(texts, { share: 0, of: 1 });
      const memory = `${(pass.residentMB - before).toFixed(0)} MB more memory than before`;
      say(`pass ${i}: ${pass.seconds.toFixed(1)} s, ${(megabytes / pass.seconds).toFixed(1)} MB/s; ${memory}`);
      seconds.push(rounded(pass.seconds));
      if (i > 1) assert.equal(pass.lines, lines, "another pass kept other lines");
      lines = pass.lines;
    }
    const source = await openOutlines();
    const outlines = texts.map(({ path, text }) => source.outline(path, text, () => false));
    const keptShare = rounded(await sayKept(texts, outlines));
    Object.assign(figures, { megabytes: rounded(megabytes), oneThreadSeconds: seconds, keptShare });
    checkDeclarations(texts, outlines);
  });

  it("the corpus, two threads from their start", async () => {
    prepareCorpus();
    const began = performance.now();
    const passes = await Promise.all([0, 1].map((share) => inThread({ share, of: 2 })));
    const seconds = (performance.now() - began) / 1000;
    assert.equal(
      passes.reduce((sum, pass) => sum + pass.lines, 0),
      lines,
    );
    const slower = Math.max(...passes.map((pass) => pass.seconds));
    keepResults("outline", "node test/run.mjs bench outline", { ...figures, twoThreadsSeconds: rounded(slower) });
    say(`two threads: ${slower.toFixed(1)} s (${WANTED_SECONDS} s wanted), ${seconds.toFixed(1)} s with starting and reading\n`);
  });
}

function inThread(share: Share): Promise<Pass> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: share });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

function readTexts(): Text[] {
  return readCorpus().map(({ path, bytes }) => ({ path, text: new TextDecoder().decode(bytes) }));
}

/** Outlines are dropped as soon as they are made. The first file pays for loading and compiling the grammar. */
async function runPass(texts: readonly Text[], { share, of }: Share): Promise<Pass> {
  const source = await openOutlines();
  let lines = 0;
  const began = performance.now();
  for (let i = share; i < texts.length; i += of) {
    const outlined = source.outline(texts[i].path, texts[i].text, () => false);
    if ("lines" in outlined) for (const { first, last } of outlined.lines) lines += last - first + 1;
  }
  return { seconds: (performance.now() - began) / 1000, lines, residentMB: residentMB() };
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

/** How much of the corpus the outlines keep, in tokens, and why files have none; returns the share that is kept. */
async function sayKept(texts: readonly Text[], outlines: readonly (Outlined | { reason: string })[]): Promise<number> {
  const tokenizer = await readTokenizer("o200k");
  const tokensOf = (lines: readonly (string | undefined)[]): number =>
    tokenizer.count(lines.flatMap((line) => (line === undefined ? [] : [`${line}\n`])).join(""));
  const reasons = new Map<string, { files: number; megabytes: number }>();
  let whole = 0;
  let kept = 0;
  outlines.forEach((outlined, i) => {
    const { text } = texts[i];
    if ("reason" in outlined) {
      const { files, megabytes } = reasons.get(outlined.reason) ?? { files: 0, megabytes: 0 };
      reasons.set(outlined.reason, { files: files + 1, megabytes: megabytes + text.length / 1e6 });
    } else {
      const lines = splitLines(text);
      whole += tokensOf(lines);
      kept += tokensOf(keptLines(lines, outlined.lines));
    }
  });
  say(`outlines keep ${grouped(kept)} of ${grouped(whole)} tokens, ${((100 * kept) / whole).toFixed(1)} %`);
  say(`files without an outline hold the others of ${grouped(CORPUS_TOKENS)}:`);
  for (const [reason, { files, megabytes }] of reasons) say(`  ${files} files, ${megabytes.toFixed(1)} MB: ${reason}`);
  return kept / whole;
}

/** Every function, class and method that TypeScript finds outside of functions must be among the lines that are kept. */
function checkDeclarations(texts: readonly Text[], outlines: readonly (Outlined | { reason: string })[]): void {
  let checked = 0;
  const missing: string[] = [];
  outlines.forEach((outlined, i) => {
    const { path, text } = texts[i];
    // Flow's types are no JavaScript; TypeScript's parser reads some of them all the same.
    if ("reason" in outlined || text.slice(0, 200).includes("@flow")) return;
    const lines = splitLines(text);
    for (const line of declarationLines(text)) {
      if (lines[line - 1].length > LONGEST_LINE) continue;
      checked++;
      if (!holds(outlined.lines, line)) missing.push(`${path}:${line} ${lines[line - 1].trim().slice(0, 80)}`);
    }
  });
  say(`${grouped(checked)} declarations found by TypeScript, ${missing.length} of them not kept\n`);
  assert.deepEqual(missing, []);
}

function grouped(value: number): string {
  return value.toLocaleString("en");
}

function holds(ranges: readonly LineRange[], line: number): boolean {
  return ranges.some(({ first, last }) => first <= line && line <= last);
}

/** Lines of the names of functions, classes and methods outside of functions, from 1. */
function declarationLines(text: string): number[] {
  const source = ts.createSourceFile("a.js", text, ts.ScriptTarget.Latest, false, ts.ScriptKind.JS);
  const lines: number[] = [];
  const add = (name: ts.Node | undefined): void => {
    if (name) lines.push(splitLines(`${text.slice(0, name.getStart(source))}.`).length);
  };
  for (const statement of source.statements) {
    if (ts.isFunctionDeclaration(statement)) add(statement.name);
    if (!ts.isClassDeclaration(statement)) continue;
    add(statement.name);
    for (const member of statement.members) if (ts.isMethodDeclaration(member)) add(member.name);
  }
  return lines;
}

function residentMB(): number {
  return process.memoryUsage.rss() / 1e6;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
