import { Worker } from "node:worker_threads";
import { EngineError, type PlainError, plainError } from "../../engine/errors.ts";
import type { CountJobs } from "./countJobs.ts";
import { countStopped } from "./countStopped.ts";

export interface ThreadJob {
  name: keyof CountJobs;
  params: unknown;
  urgent: boolean;
  resolve(result: unknown): void;
  reject(error: EngineError): void;
}

/** The first message to a counting thread. */
export interface ThreadStart {
  /** See ServerOptions. */
  tokenizer: string;
  /** Ids of the jobs that run; one that is no longer in it is cancelled. */
  running: Int32Array<SharedArrayBuffer>;
}

export interface JobMessage {
  id: number;
  /** Where in `running` its id is. */
  slot: number;
  name: keyof CountJobs;
  params: unknown;
}

export type ThreadMessage =
  | { kind: "opened" }
  | { kind: "failed"; error: PlainError }
  | { kind: "done"; id: number; result: unknown }
  | { kind: "error"; id: number; error: PlainError };

/** Jobs given to a thread at a time: one to work on, and one so that it never waits for the next. */
const jobsAtOnce = 2;
/** Young objects of a counting thread are all short-lived: a small nursery keeps the process small at no cost in speed. */
const nurseryMiB = 8;

/** A counting thread that knows no tokenizer yet. */
export function startThread(file: string): Worker {
  return new Worker(file, { resourceLimits: { maxYoungGenerationSizeMb: nurseryMiB } });
}

/** One worker thread and the jobs it has; started with the first job, and again after it died. */
export class CountThread {
  private readonly file: string;
  private readonly tokenizer: string;
  private readonly onRoom: () => void;
  private started: Worker | undefined;
  private readonly running = new Int32Array(new SharedArrayBuffer(4 * jobsAtOnce));
  private readonly jobs = new Map<number, { job: ThreadJob; slot: number }>();
  private worker: Worker | undefined;
  private opening: Opening | undefined;
  private lastId = 0;

  /** `onRoom` is called when another job can be given; `started` is used before another one is. */
  constructor(file: string, tokenizer: string, onRoom: () => void, started: Worker | undefined) {
    this.file = file;
    this.tokenizer = tokenizer;
    this.onRoom = onRoom;
    this.started = started;
  }

  get load(): number {
    return this.jobs.size;
  }

  get hasRoom(): boolean {
    return this.jobs.size < jobsAtOnce;
  }

  opened(): Promise<void> {
    this.start();
    return this.opening?.promise ?? Promise.resolve();
  }

  give(job: ThreadJob): void {
    const worker = this.start();
    const id = ++this.lastId;
    const slot = this.running.indexOf(0);
    Atomics.store(this.running, slot, id);
    this.jobs.set(id, { job, slot });
    const message: JobMessage = { id, slot, name: job.name, params: job.params };
    worker.postMessage(message);
  }

  cancel(job: ThreadJob): void {
    for (const [id, given] of this.jobs) if (given.job === job) Atomics.compareExchange(this.running, given.slot, id, -id);
  }

  dispose(): void {
    this.running.fill(-1);
    void this.started?.terminate();
    this.end(countStopped());
  }

  private start(): Worker {
    if (this.worker) return this.worker;
    const worker = this.started ?? startThread(this.file);
    this.started = undefined;
    const start: ThreadStart = { tokenizer: this.tokenizer, running: this.running };
    worker.postMessage(start);
    this.worker = worker;
    const opening = newOpening();
    this.opening = opening;
    worker.on("message", (message: ThreadMessage) => this.onMessage(message, opening));
    worker.on("error", (error) => this.onDeath(worker, plainError(error).message));
    worker.on("exit", (code) => this.onDeath(worker, `it ended with code ${code}`));
    return worker;
  }

  private onMessage(message: ThreadMessage, opening: Opening): void {
    switch (message.kind) {
      case "opened":
        opening.resolve();
        return;
      case "failed":
        // The next job reads the tokenizer anew: the file may have been mended.
        this.end(EngineError.fromPlain(message.error));
        return;
      case "done":
        this.take(message.id)?.resolve(message.result);
        this.onRoom();
        return;
      case "error":
        this.take(message.id)?.reject(EngineError.fromPlain(message.error));
        this.onRoom();
    }
  }

  private take(id: number): ThreadJob | undefined {
    const given = this.jobs.get(id);
    if (!given) return undefined;
    this.jobs.delete(id);
    Atomics.store(this.running, given.slot, 0);
    return given.job;
  }

  private onDeath(worker: Worker, because: string): void {
    if (this.worker !== worker) return;
    this.end(new EngineError("internal", `a counting thread died: ${because}`, "look at the file it was reading"));
    this.onRoom();
  }

  /** Everything that waits on the thread fails; the next job starts another one. */
  private end(error: EngineError): void {
    const { worker } = this;
    this.worker = undefined;
    this.opening?.reject(error);
    const jobs = [...this.jobs.values()];
    this.jobs.clear();
    this.running.fill(0);
    for (const { job } of jobs) job.reject(error);
    void worker?.terminate();
  }
}

interface Opening {
  promise: Promise<void>;
  resolve(): void;
  reject(error: EngineError): void;
}

function newOpening(): Opening {
  let resolve = (): void => undefined;
  let reject: (error: EngineError) => void = () => undefined;
  const promise = new Promise<void>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  // Jobs that wait fail by themselves; not everybody asks whether the thread opened.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
