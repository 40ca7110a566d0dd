/** The walk of one folder, measured in a process that does nothing else. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { EngineError } from "../../engine/errors.ts";
import type { Root } from "../../extension/server/roots.ts";
import { walkRoot } from "../../extension/server/walk.ts";

export interface WalkFigures extends Record<string, number> {
  firstMs: number;
  medianMs: number;
  entriesPerSecond: number;
  /** Heap that the result of a walk holds. */
  keptMB: number;
  /** Most that the resident memory was above what it was before, during the first walk. */
  rssGrowthMB: number;
  /** Time between two turns of the event loop while a walk is under way. */
  longestTurnMs: number;
  p99TurnMs: number;
  /** Longest from abort() to the rejection. */
  abortMs: number;
}

/** Needs --expose-gc. Writes the paths that were found to `listFile`, each but the last ended by a NUL. */
export async function measureWalk(folder: string, listFile: string, rounds: number): Promise<WalkFigures> {
  const root = { folder, prefix: "" };
  const { firstMs, entries, rssGrowthMB } = await firstWalk(root);
  const took: number[] = [];
  for (let round = 0; round < rounds; round++) took.push(await timedWalk(root));
  const medianMs = took.sort((a, b) => a - b)[took.length >> 1] ?? NaN;
  const heapBefore = heapAfterCollection();
  const walk = await walkRoot(root);
  const keptMB = (heapAfterCollection() - heapBefore) / 1e6;
  writeFileSync(listFile, walk.files.map(({ path }) => path).join("\0"));
  const turns = await turnsOf(async () => {
    for (let round = 0; round < rounds; round++) await timedWalk(root);
  });
  return {
    firstMs,
    medianMs,
    entriesPerSecond: (1000 * entries) / medianMs,
    keptMB,
    rssGrowthMB,
    longestTurnMs: turns.at(-1) ?? NaN,
    p99TurnMs: turns[Math.floor(turns.length * 0.99)] ?? NaN,
    abortMs: await longestAbort(root, medianMs, rounds),
  };
}

async function firstWalk(root: Root): Promise<{ firstMs: number; entries: number; rssGrowthMB: number }> {
  const before = process.memoryUsage.rss();
  let most = before;
  let entries = 0;
  const onProgress = (looked: number): void => {
    entries = looked;
    most = Math.max(most, process.memoryUsage.rss());
  };
  const began = performance.now();
  await walkRoot(root, { onProgress });
  return { firstMs: performance.now() - began, entries, rssGrowthMB: (most - before) / 1e6 };
}

/** Keeps nothing of the walk. */
async function timedWalk(root: Root): Promise<number> {
  const began = performance.now();
  await walkRoot(root);
  return performance.now() - began;
}

function heapAfterCollection(): number {
  assert.ok(gc, "run with --expose-gc");
  gc();
  return process.memoryUsage().heapUsed;
}

/** Lengths of the turns of the event loop while `work` is under way, sorted. */
async function turnsOf(work: () => Promise<void>): Promise<number[]> {
  const turns: number[] = [];
  let isOver = false;
  let last = performance.now();
  const turn = (): void => {
    const now = performance.now();
    turns.push(now - last);
    last = now;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  isOver = true;
  return turns.sort((a, b) => a - b);
}

async function longestAbort(root: Root, walkMs: number, rounds: number): Promise<number> {
  let longest = 0;
  for (let round = 0; round < rounds; round++) {
    const controller = new AbortController();
    let abortedAt = NaN;
    setTimeout(
      () => {
        abortedAt = performance.now();
        controller.abort();
      },
      (walkMs * (round + 1)) / (rounds + 2),
    );
    await assert.rejects(walkRoot(root, { signal: controller.signal }), (error) => EngineError.is(error, "aborted"));
    longest = Math.max(longest, performance.now() - abortedAt);
  }
  return longest;
}
