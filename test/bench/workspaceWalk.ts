/** A workspace of very many files through the token server: when its rows are there, and whether it answers meanwhile. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServerOptions } from "../../extension/server/requests.ts";
import { TokenServer } from "../support/tokenServer.ts";

export interface LargeWorkspaceFigures extends Record<string, number> {
  /** From `initialized` to the first snapshot with every file, counted or estimated, and its estimate by the exact total. */
  allRowsMs: number;
  provisionalError: number;
  /** To exact totals. */
  exactMs: number;
  /** Longest a request waited for its answer until all rows were there, and from then on. */
  slowestAnswerMs: number;
  slowestAnswerWhileCountingMs: number;
  peakMiB: number;
  /** From the cancellation of the progress to the snapshot that says so. */
  cancelMs: number;
}

const askEveryMs = 250;

/** `files` is what git lists in the folder. */
export async function measureLargeWorkspace(bundle: string, folder: string, files: number): Promise<LargeWorkspaceFigures> {
  const options: ServerOptions = {
    tokenizer: "o200k",
    storageFolder: "",
    include: [],
    maxFileBytes: 1024 * 1024,
    window: 128_000,
    reserve: 8_000,
    git: false,
    commits: 0,
  };
  const server = await TokenServer.start(bundle, [folder], options);
  const slowest = { before: 0, after: 0 };
  let phase: keyof typeof slowest = "before";
  let isOver = false;
  const asking = (async () => {
    while (!isOver) {
      const asked = server.nowMs;
      const during = phase;
      await server.call("longContext/row", { path: "packages/" });
      slowest[during] = Math.max(slowest[during], server.nowMs - asked);
      await sleep(askEveryMs);
    }
  })();
  const first = await server.until(({ totalFiles }) => totalFiles === files);
  phase = "after";
  const exact = await server.until(({ state }) => state !== "counting");
  isOver = true;
  await asking;
  assert.equal(exact.budget.state, "ready");
  assert.equal(exact.budget.totalFiles + exact.budget.excluded, files + excludedRows);
  const peakMiB = server.peakMiB() ?? NaN;
  await server.stop();
  return {
    allRowsMs: Math.round(first.atMs),
    provisionalError: Number((first.budget.tokens / exact.budget.tokens - 1).toFixed(4)),
    exactMs: Math.round(exact.atMs),
    slowestAnswerMs: Math.round(slowest.before),
    slowestAnswerWhileCountingMs: Math.round(slowest.after),
    peakMiB: Math.round(peakMiB),
    cancelMs: Math.round(await measureCancel(bundle, folder, options)),
  };
}

/** Of each of the hundred packages two folders and twenty files that are ignored, and .git. */
const excludedRows = 100 * 22 + 1;

async function measureCancel(bundle: string, folder: string, options: ServerOptions): Promise<number> {
  const server = await TokenServer.start(bundle, [folder], options);
  while (server.progressTokens.length === 0) await sleep(5);
  // The server listens for a cancellation from its next turn on.
  await sleep(100);
  const from = server.published.length;
  const began = server.nowMs;
  server.notify("window/workDoneProgress/cancel", { token: server.progressTokens[0] });
  const { atMs } = await server.until(({ state }) => state === "failed", from);
  await server.kill();
  return atMs - began;
}
