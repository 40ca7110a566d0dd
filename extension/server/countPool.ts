import { setMaxListeners } from "node:events";
import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import type { EngineError } from "../../engine/errors.ts";
import type { CountHandlers, CountJobs } from "./countJobs.ts";
import { countStopped } from "./countStopped.ts";
import { CountThread, type ThreadJob } from "./countThread.ts";

/** Counts beside the thread that answers; every job ends soon after its signal is aborted. */
export interface CountPool {
  /** Jobs worth handing over before one is answered. */
  readonly width: number;
  /** Settles once the first thread has read the tokenizer; throws why it cannot. */
  opened(): Promise<void>;
  /** `urgent` goes before everything that waits. Rejects with `aborted`, or with the error of the job. */
  call<Name extends keyof CountJobs>(
    name: Name,
    params: CountJobs[Name]["params"],
    options?: { signal?: AbortSignal; urgent?: boolean },
  ): Promise<CountJobs[Name]["result"]>;
  dispose(): void;
}

/** Two threads keep up with a disk and leave the editor the rest; a machine with one core gets one. */
function defaultThreads(): number {
  return Math.max(1, Math.min(2, availableParallelism()));
}

/** Threads that each run the bundle `file` with a tokenizer of their own; `started` is one of them that was started before it was known. */
export function openThreadPool(file: string, tokenizer: string, started?: Worker): CountPool {
  return new ThreadPool(file, tokenizer, defaultThreads(), started);
}

/** The same jobs on this thread, one turn of the event loop each: for tests, whose tokenizers are in no file. */
export function openInlinePool(open: () => Promise<CountHandlers>): CountPool {
  const handlers = open();
  // Whoever calls gets the error; nobody has to call.
  handlers.catch(() => undefined);
  return {
    width: 1,
    opened: () => handlers.then(() => undefined),
    async call(name, params, { signal } = {}) {
      const opened = await handlers;
      await new Promise<void>((resume) => setImmediate(resume));
      return opened[name](params, () => signal?.aborted ?? false);
    },
    dispose: () => undefined,
  };
}

class ThreadPool implements CountPool {
  readonly width: number;
  private readonly threads: CountThread[];
  private readonly queue: ThreadJob[] = [];
  private failure: EngineError | undefined;

  constructor(file: string, tokenizer: string, count: number, started: Worker | undefined) {
    const feed = (): void => this.feed();
    this.threads = Array.from({ length: count }, (_, i) => new CountThread(file, tokenizer, feed, i === 0 ? started : undefined));
    this.width = 2 * count + 1;
  }

  async opened(): Promise<void> {
    await this.threads[0]?.opened();
  }

  call<Name extends keyof CountJobs>(
    name: Name,
    params: CountJobs[Name]["params"],
    { signal, urgent = false }: { signal?: AbortSignal; urgent?: boolean } = {},
  ): Promise<CountJobs[Name]["result"]> {
    return new Promise<CountJobs[Name]["result"]>((resolve, reject) => {
      if (this.failure ?? signal?.aborted) {
        reject(this.failure ?? countStopped());
        return;
      }
      const onAbort = (): void => {
        if (!this.drop(job)) for (const thread of this.threads) thread.cancel(job);
      };
      const settle = (): void => signal?.removeEventListener("abort", onAbort);
      const job: ThreadJob = {
        name,
        params,
        urgent,
        resolve: (result) => {
          settle();
          // Both ends are built from CountJobs: what comes back under a name is the result of that name.
          resolve(result as CountJobs[Name]["result"]);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      if (signal) {
        // As many jobs as there are batches under way listen to one signal, and each goes with its job.
        setMaxListeners(0, signal);
        signal.addEventListener("abort", onAbort, { once: true });
      }
      const place = urgent ? this.queue.findIndex((other) => !other.urgent) : -1;
      if (place < 0) this.queue.push(job);
      else this.queue.splice(place, 0, job);
      this.feed();
    });
  }

  dispose(): void {
    this.failure = countStopped();
    for (const job of this.queue.splice(0)) job.reject(this.failure);
    for (const thread of this.threads) thread.dispose();
  }

  private feed(): void {
    for (let job = this.queue[0]; job; job = this.queue[0]) {
      const thread = this.threads.reduce((least, other) => (other.load < least.load ? other : least));
      if (!thread.hasRoom) return;
      this.queue.shift();
      thread.give(job);
    }
  }

  private drop(job: ThreadJob): boolean {
    const place = this.queue.indexOf(job);
    if (place < 0) return false;
    this.queue.splice(place, 1);
    job.reject(countStopped());
    return true;
  }
}
