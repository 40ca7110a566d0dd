/** Ranks of a ring as worker threads, each with a device of its own; keys go from thread to thread by MessagePorts, without a copy. */
import { MessageChannel, SHARE_ENV, Worker, type MessagePort } from "node:worker_threads";
import type { RankWorker, RingWorkers } from "../../engine/attention/ring/coordinator.ts";
import { previousRank } from "../../engine/attention/ring/schedule.ts";
import { EngineError, plainError } from "../../engine/errors.ts";
import { ringPort } from "./ringPorts.ts";

/** What a thread is started with. */
export interface RankThreadData {
  /** A model folder or a GGUF file. */
  modelPath: string;
  control: MessagePort;
  next: MessagePort;
  previous: MessagePort;
}

/** A thread ends by itself within this, once its device has done what it was given. */
const CLOSE_MS = 10_000;

/** `script` is the absolute path of the bundle of ringThread.ts. */
export function ringThreads(script: string, modelPath: string): RingWorkers {
  return {
    async start(ranks) {
      const links = Array.from({ length: ranks }, () => new MessageChannel());
      return links.map(({ port1: next }, rank) => {
        const { port2: previous } = links[previousRank(rank, ranks)];
        return startThread(script, { modelPath, next, previous });
      });
    },
  };
}

function startThread(script: string, links: Omit<RankThreadData, "control">): RankWorker {
  const { port1: here, port2: control } = new MessageChannel();
  const workerData: RankThreadData = { ...links, control };
  // The driver that the main thread found is named by the environment, which native code reads of the process.
  const thread = new Worker(script, { workerData, transferList: [control, links.next, links.previous], env: SHARE_ENV });
  const port = ringPort(here);
  let told = false;
  const exited = new Promise<void>((resolve) => thread.on("exit", () => resolve()));
  const died = new Promise<EngineError>((resolve) => {
    thread.on("error", (error) => resolve(death(plainError(error).message)));
    thread.on("exit", (code) => {
      here.close();
      if (!told) resolve(death(`it ended with code ${code}`));
    });
  });
  return {
    control: port,
    died,
    async stop() {
      told = true;
      port.post({ kind: "close" });
      const late = setTimeout(() => void thread.terminate(), CLOSE_MS);
      await exited;
      clearTimeout(late);
    },
  };
}

function death(because: string): EngineError {
  return new EngineError(
    "internal",
    `the worker died: ${because}`,
    "ask again: the ring is started anew; or choose attention flash",
  );
}
