/** One counting thread: reads, hashes and counts files with a tokenizer of its own. Texts are dropped once they are counted. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import { plainError } from "../../engine/errors.ts";
import type { Stop } from "../../engine/tokenizer/tokenizer.ts";
import { type CountHandlers, countHandlers, type CountJobs, type OpenTextJobs } from "./countJobs.ts";
import type { JobMessage, ThreadMessage, ThreadStart } from "./countThread.ts";
import type * as TextThread from "./textThread.ts";
import { readTokenizer } from "./tokenizerFile.ts";

const warmUpCharacters = 128 * 1024;
const warmUpSlice = 2 * 1024;
let hasJobs = false;

/** The build puts that bundle beside this one, and this one is small, so that a thread counts soon after it was started. */
const openTextJobs: OpenTextJobs = async (read) => {
  const { textJobsWith } = (await import(join(__dirname, "textThread.js"))) as typeof TextThread;
  return textJobsWith(read);
};

parentPort?.once("message", (start: ThreadStart) => {
  const opened = readTokenizer(start.tokenizer).then((read) => countHandlers(read, openTextJobs));
  opened.then(
    (handlers) => {
      post({ kind: "opened" });
      // It ends when a job comes; what goes wrong with counting is told by the jobs.
      warmUp(handlers).catch(() => undefined);
    },
    (error: unknown) => post({ kind: "failed", error: plainError(error) }),
  );
  parentPort?.on("message", (message: JobMessage) => {
    hasJobs = true;
    // A tokenizer that could not be read is told once, above, and the pool gives up every job.
    opened.then(
      (handlers) => answer(handlers, message, start.running),
      () => undefined,
    );
  });
});

/**
 * While the thread waits for its first job it counts its own source: most of the time of the first thousands of pieces goes into what V8 compiles
 * meanwhile, and the first job is the one that somebody waits for.
 */
async function warmUp(handlers: CountHandlers): Promise<void> {
  const source = readFileSync(__filename, "utf8").slice(0, warmUpCharacters);
  for (let start = 0; start < source.length && !hasJobs; start += warmUpSlice) {
    await handlers.texts({ texts: [source.slice(start, start + warmUpSlice)] }, () => hasJobs);
    // A job may have come.
    await nextTurn();
  }
}

async function answer(
  handlers: CountHandlers,
  { id, slot, name, params }: JobMessage,
  running: ThreadStart["running"],
): Promise<void> {
  const stop = (): boolean => Atomics.load(running, slot) !== id;
  try {
    post({ kind: "done", id, result: await handle(handlers, name, params, stop) });
  } catch (error) {
    post({ kind: "error", id, error: plainError(error) });
  }
}

function handle<Name extends keyof CountJobs>(handlers: CountHandlers, name: Name, params: unknown, stop: Stop) {
  // Sender and receiver are typed by CountJobs; a thread is never of another version than its pool.
  return handlers[name](params as CountJobs[Name]["params"], stop);
}

function post(message: ThreadMessage): void {
  parentPort?.postMessage(message);
}
