/** A workspace through the token server, end to end: what it takes cold, warm, after a save, and in memory. */
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type ChangedNotification, changedNotification, type ServerOptions } from "../../extension/server/requests.ts";
import { TokenServer } from "../support/tokenServer.ts";
import { median } from "./results.ts";

/** Starts of each kind; of times the median is shown. */
const runs = 7;

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
   * The first total of a cold start, which is an estimate: when it was told, median and latest, and how far it was off, median and worst (a share of
   * the exact one). `wanderedError` is the largest error that any total had until the exact one.
   */
  provisional: { medianMs: number; latestMs: number; medianError: number; worstError: number; wanderedError: number };
  /** Largest resident memory of the process with its threads in a cold start; undefined where the system does not tell. */
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
    const cold = await measureCold(folder, bundle, { ...options, storageFolder: "" }, tokens);
    const first = await TokenServer.start(bundle, [folder], options);
    const counted = await first.until(ready.is);
    assert.equal(counted.budget.error, undefined);
    assert.equal(counted.budget.tokens, tokens, "the server's total is another one");
    await first.stop();

    const warmMs: number[] = [];
    let saveMs = NaN;
    for (let run = 0; run < runs; run++) {
      const warm = await TokenServer.start(bundle, [folder], options);
      const again = await warm.until(ready.is);
      assert.equal(again.budget.tokens, tokens, "the total from the index is another one");
      warmMs.push(again.atMs);
      if (run === runs - 1) {
        saveMs = await measureSaves(warm, savedFile);
        await warm.kill();
      } else await warm.stop();
    }

    const killed = await TokenServer.start(bundle, [folder], options);
    const resumed = await killed.until(ready.is);
    assert.equal(resumed.budget.tokens, tokens, "the total after a kill is another one");
    await killed.stop();
    return {
      files: counted.budget.totalFiles,
      tokens,
      ...cold,
      warmMs: median(warmMs),
      killedMs: resumed.atMs,
      saveMs,
    };
  } finally {
    rmSync(storageFolder, { recursive: true, force: true });
  }
}

async function measureCold(
  folder: string,
  bundle: string,
  options: ServerOptions,
  tokens: number,
): Promise<Pick<WorkspaceFigures, "startMs" | "coldMs" | "provisional" | "peakMiB">> {
  const startMs: number[] = [];
  const coldMs: number[] = [];
  const peaks: number[] = [];
  const firstMs: number[] = [];
  const firstErrors: number[] = [];
  let wanderedError = 0;
  for (let run = 0; run < runs; run++) {
    const server = await TokenServer.start(bundle, [folder], options);
    coldMs.push((await server.until(({ state }) => state === "ready")).atMs);
    startMs.push(server.startMs);
    peaks.push(server.peakMiB() ?? NaN);
    await server.stop();
    const totals = server.published.filter(({ budget }) => budget.totalFiles > 0);
    const errors = totals.map(({ budget }) => Math.abs(budget.tokens / tokens - 1));
    assert.ok(totals[0]?.budget.approximate, "the first total is not marked as an estimate");
    assert.equal(errors.at(-1), 0, "the server's total is another one");
    firstMs.push(totals[0].atMs);
    firstErrors.push(errors[0] ?? NaN);
    wanderedError = Math.max(wanderedError, ...errors);
  }
  const provisional = {
    medianMs: median(firstMs),
    latestMs: Math.max(...firstMs),
    medianError: median(firstErrors),
    worstError: Math.max(...firstErrors),
    wanderedError,
  };
  const peakMiB = Math.max(...peaks);
  return { startMs: median(startMs), coldMs: median(coldMs), provisional, peakMiB: Number.isNaN(peakMiB) ? undefined : peakMiB };
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
  return median(took);
}
