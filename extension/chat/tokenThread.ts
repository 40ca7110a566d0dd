/** A thread of its own for counting: reading a vocabulary would keep the extension host from everything else. */
import { parentPort } from "node:worker_threads";
import { type TokenJob, tokenCounter } from "./tokenJobs.ts";

const count = tokenCounter();
parentPort?.on("message", (job: TokenJob) => {
  // `count` turns every error into an answer.
  void count(job).then((answer) => parentPort?.postMessage(answer));
});
