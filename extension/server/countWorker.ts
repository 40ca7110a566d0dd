/** One counting thread: reads, hashes and counts files with a tokenizer of its own. Texts are dropped once they are counted. */
import { parentPort, workerData } from "node:worker_threads";
import { plainError } from "../../engine/errors.ts";
import type { Stop } from "../../engine/tokenizer/tokenizer.ts";
import { type CountHandlers, countHandlers, type CountJobs } from "./countJobs.ts";
import type { JobMessage, ThreadMessage, ThreadStart } from "./countThread.ts";
import { openOutlines } from "./outline/outline.ts";
import { TextJobs } from "./textJobs.ts";
import { readTokenizer } from "./tokenizerFile.ts";

// The thread is only ever started by CountThread, with exactly this.
const { tokenizer, running } = workerData as ThreadStart;

const opened = readTokenizer(tokenizer).then((read) => countHandlers(read, new TextJobs(read, openOutlines)));

opened.then(
  () => post({ kind: "opened" }),
  (error: unknown) => post({ kind: "failed", error: plainError(error) }),
);

parentPort?.on("message", (message: JobMessage) => {
  // A tokenizer that could not be read is told once, above, and the pool gives up every job.
  opened.then(
    (handlers) => answer(handlers, message),
    () => undefined,
  );
});

async function answer(handlers: CountHandlers, { id, slot, name, params }: JobMessage): Promise<void> {
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
