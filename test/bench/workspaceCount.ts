/** A workspace through the token server, end to end: what it takes cold, warm, after a save, and in memory. */
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type ChangedNotification, changedNotification, type ServerOptions } from "../../extension/server/requests.ts";
import { TokenServer } from "../support/tokenServer.ts";

/** When a workspace should have its provisional total. */
const provisionalMs = 300;

export interface WorkspaceFigures {
  files: number;
  tokens: number;
  /** Process start to its answer to `initialize`. */
  startMs: number;
  /** From `initialized` to exact totals, nothing kept from before. */
  coldMs: number;
  /** The same with the index of an earlier run; `killedMs` after a kill in the middle of nothing. */
  warmMs: number;
  killedMs: number;
  /** From the notification of a save to the snapshot that holds it, of several the median. */
  saveMs: number;
  /**
   * A cold start as it is seen after 300 ms: the error of the total, the one that 95 of 100 files stay below, and whether it is marked as an
   * estimate; and from when on the total was never again more than 1 % off.
   */
  provisional: { totalError: number; p95Error: number; approximate: boolean; withinOnePercentMs: number };
  /** Largest resident memory of the process with its threads; undefined where the system does not tell. */
  peakMiB: number | undefined;
}

/** Measures the built server on a folder; `tokens` is the total that all ways must agree on. */
export async function measureWorkspace(
  folder: string,
  { bundle, tokenizer, savedFile, tokens }: { bundle: string; tokenizer: string; savedFile: string; tokens: number },
): Promise<WorkspaceFigures> {
  const storageFolder = mkdtempSync(join(tmpdir(), "lcp-index-"));
  const options: ServerOptions = {
    tokenizer,
    storageFolder,
    include: [],
    maxFileBytes: 1024 * 1024,
    window: 128_000,
    reserve: 8_000,
    git: false,
    commits: 0,
  };
  const ready = { is: ({ state }: { state: string }): boolean => state !== "counting" };
  try {
    const provisional = await measureProvisional(folder, bundle, { ...options, storageFolder: "" });

    const cold = await TokenServer.start(bundle, [folder], options);
    const counted = await cold.until(ready.is);
    assert.equal(counted.budget.error, undefined);
    assert.equal(counted.budget.tokens, tokens, "the server's total is another one");
    const peakMiB = cold.peakMiB();
    await cold.stop();

    const warm = await TokenServer.start(bundle, [folder], options);
    const again = await warm.until(ready.is);
    assert.equal(again.budget.tokens, tokens, "the total from the index is another one");
    const saveMs = await measureSaves(warm, savedFile);
    await warm.kill();

    const killed = await TokenServer.start(bundle, [folder], options);
    const resumed = await killed.until(ready.is);
    assert.equal(resumed.budget.tokens, tokens, "the total after a kill is another one");
    await killed.stop();
    return {
      files: counted.budget.totalFiles,
      tokens,
      startMs: cold.startMs,
      coldMs: counted.atMs,
      warmMs: again.atMs,
      killedMs: resumed.atMs,
      saveMs,
      provisional,
      peakMiB,
    };
  } finally {
    rmSync(storageFolder, { recursive: true, force: true });
  }
}

async function measureProvisional(
  folder: string,
  bundle: string,
  options: ServerOptions,
): Promise<WorkspaceFigures["provisional"]> {
  const server = await TokenServer.start(bundle, [folder], options);
  await new Promise((resolve) => setTimeout(resolve, provisionalMs - server.nowMs));
  const ask = { path: "", filter: "*", sort: "path", limit: 1_000_000, leftOutLimit: 0 } as const;
  const early = server.last;
  const { rows } = await server.call("longContext/children", ask);
  const ready = await server.until(({ state }) => state === "ready");
  const { rows: exact } = await server.call("longContext/children", ask);
  await server.stop();
  const errorOf = (tokens: number): number => tokens / ready.budget.tokens - 1;
  const lastWrong = server.published.findLastIndex(({ budget }) => Math.abs(errorOf(budget.tokens)) > 0.01);
  const truth = new Map(exact.map((row) => [row.path, row.fullTokens]));
  const errors = rows
    .filter(({ kind }) => kind === "file")
    .map((row) => Math.abs(row.fullTokens - (truth.get(row.path) ?? 0)) / Math.max(1, truth.get(row.path) ?? 0))
    .sort((a, b) => a - b);
  return {
    totalError: errorOf(early?.tokens ?? 0),
    p95Error: errors[Math.floor(errors.length * 0.95)] ?? NaN,
    approximate: early?.approximate ?? false,
    withinOnePercentMs: server.published[lastWrong + 1]?.atMs ?? NaN,
  };
}

async function measureSaves(server: TokenServer, file: string): Promise<number> {
  const before = readFileSync(file);
  const took: number[] = [];
  try {
    for (let save = 0; save < 7; save++) {
      appendFileSync(file, `// saved ${save}\n`);
      const from = server.published.length;
      const beganMs = server.nowMs;
      server.notify(changedNotification, { uris: [pathToFileURL(file).href], more: false } satisfies ChangedNotification);
      const { atMs } = await server.until(({ state }) => state === "ready", from);
      took.push(atMs - beganMs);
    }
  } finally {
    writeFileSync(file, before);
  }
  return took.sort((a, b) => a - b)[Math.floor(took.length / 2)] ?? NaN;
}
