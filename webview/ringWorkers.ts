/**
 * Ranks of a ring as workers of the engine's worker: of the script that it was itself started from, because a webview's workers can load no
 * other. They read the model through it, as it reads through the page.
 */
import type { RankWorker, RingWorkers } from "../engine/attention/ring/coordinator.ts";
import { previousRank } from "../engine/attention/ring/schedule.ts";
import { EngineError } from "../engine/errors.ts";
import type { ListedModel, ReadPiece } from "./modelPieces.ts";
import { openChannel } from "./protocol/channel.ts";
import type { RankCalls } from "./protocol/worker.ts";
import { channelPort, ringPort } from "./ringPort.ts";

/** Name of a worker that is a rank; the script begins as one by it. */
export const RANK_NAME = "long-context-ring-rank";

/** The first message to a rank. */
export interface RankStart {
  model: ListedModel;
  control: MessagePort;
  next: MessagePort;
  previous: MessagePort;
  files: MessagePort;
}

/** Undefined where workers cannot start workers. `scriptUri` is what this worker was started from. */
export function ringWorkers(scriptUri: string, model: ListedModel, readPiece: ReadPiece): RingWorkers | undefined {
  if (typeof Worker === "undefined") return undefined;
  return {
    async start(ranks) {
      const links = Array.from({ length: ranks }, () => new MessageChannel());
      return links.map(({ port1: next }, rank) => {
        const { port2: previous } = links[previousRank(rank, ranks)];
        return startRank(scriptUri, { model, next, previous }, readPiece);
      });
    },
  };
}

function startRank(scriptUri: string, links: Omit<RankStart, "control" | "files">, readPiece: ReadPiece): RankWorker {
  const control = new MessageChannel();
  const files = new MessageChannel();
  const worker = new Worker(scriptUri, { type: "module", name: RANK_NAME });
  const died = new Promise<EngineError>((resolve) => {
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      const where = event.message === "" ? "" : `: ${event.message}`;
      resolve(
        new EngineError("internal", `the worker died${where}`, "ask again: the ring is started anew; or choose attention flash"),
      );
    });
  });
  const start: RankStart = { ...links, control: control.port2, files: files.port2 };
  worker.postMessage(start, [start.control, start.next, start.previous, start.files]);
  const reading = openChannel<Record<string, never>, RankCalls, Record<string, never>, Record<string, never>>(
    channelPort(files.port1),
    {
      "model/read": async ({ name, offset, length }, { signal }) => ({ bytes: await readPiece(name, offset, length, signal) }),
    },
    { name: "engine", transferResults: true },
  );
  return {
    control: ringPort(control.port1),
    died,
    async stop() {
      // The browser gives the worker's device back whatever it is doing.
      worker.terminate();
      reading.close("the ring was closed");
      for (const port of [control.port1, files.port1]) port.close();
    },
  };
}
