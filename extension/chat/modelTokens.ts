import { Worker } from "node:worker_threads";
import { EngineError, plainError } from "../../engine/errors.ts";
import type { TokenAnswer, TokenJob, TokenJobs } from "./tokenJobs.ts";

interface Waiting {
  resolve(result: unknown): void;
  reject(error: EngineError): void;
}

/** Exact counts with any model's own tokenizer, by a thread that is started with the first of them. No `vscode`. */
export class ModelTokens {
  private readonly file: string;
  private readonly waiting = new Map<number, Waiting>();
  private worker: Worker | undefined;
  private lastId = 0;

  /** `file` is the bundle of tokenThread.ts. */
  constructor(file: string) {
    this.file = file;
  }

  /** Throws what reading the model's tokenizer or template throws. */
  call<Name extends keyof TokenJobs>(
    name: Name,
    path: string,
    params: TokenJobs[Name]["params"],
  ): Promise<TokenJobs[Name]["result"]> {
    return new Promise<TokenJobs[Name]["result"]>((resolve, reject) => {
      const job: TokenJob<Name> = { id: ++this.lastId, name, path, params };
      // Both ends are built from TokenJobs: what comes back for a job is its result.
      this.waiting.set(job.id, { resolve: (result) => resolve(result as TokenJobs[Name]["result"]), reject });
      this.start().postMessage(job);
    });
  }

  dispose(): void {
    this.end(new EngineError("aborted", "the extension stopped", "reload the window"));
  }

  private start(): Worker {
    if (this.worker) return this.worker;
    const worker = new Worker(this.file);
    this.worker = worker;
    worker.on("message", (answer: TokenAnswer) => {
      const waiting = this.waiting.get(answer.id);
      this.waiting.delete(answer.id);
      if ("error" in answer) waiting?.reject(EngineError.fromPlain(answer.error));
      else waiting?.resolve(answer.result);
    });
    worker.on("error", (error) => this.onDeath(worker, plainError(error).message));
    worker.on("exit", (code) => this.onDeath(worker, `it ended with code ${code}`));
    return worker;
  }

  private onDeath(worker: Worker, because: string): void {
    if (this.worker !== worker) return;
    this.end(new EngineError("internal", `the counting thread died: ${because}`, "try again; the log says more"));
  }

  /** Everything that waits fails; the next count starts another thread. */
  private end(error: EngineError): void {
    const { worker } = this;
    this.worker = undefined;
    for (const waiting of this.waiting.values()) waiting.reject(error);
    this.waiting.clear();
    void worker?.terminate();
  }
}
