/** Rings of ranks in plain loops: in this thread over real MessagePorts, so that what was transferred is gone here too. */
import { MessageChannel } from "node:worker_threads";
import type { RingWorkers, RankWorker } from "../../engine/attention/ring/coordinator.ts";
import type { OpenRank } from "../../engine/attention/ring/compute.ts";
import { serveRank } from "../../engine/attention/ring/rank.ts";
import { previousRank } from "../../engine/attention/ring/schedule.ts";
import { EngineError } from "../../engine/errors.ts";
import { ringPort } from "../../extension/adapter/ringPorts.ts";

export interface ThreadlessRing extends RingWorkers {
  /** Ranks that were started and have not ended. */
  readonly running: number;
  /** As if the worker of a rank died. */
  kill(rank: number): void;
}

/** `open` opens the model for a rank. */
export function threadlessRing(open: (rank: number) => OpenRank): ThreadlessRing {
  let running = 0;
  let kills: (() => void)[] = [];
  return {
    get running() {
      return running;
    },
    kill: (rank) => kills[rank](),
    async start(ranks) {
      const links = Array.from({ length: ranks }, () => new MessageChannel());
      kills = [];
      return links.map((link, rank): RankWorker => {
        const { port1: here, port2: there } = new MessageChannel();
        const ports = {
          control: ringPort(there),
          next: ringPort(link.port1),
          previous: ringPort(links[previousRank(rank, ranks)].port2),
        };
        running++;
        let dead = false;
        const served = serveRank(ports, open(rank)).then(() => {
          running--;
        });
        const died = new Promise<EngineError>((resolve) => {
          kills.push(() => {
            dead = true;
            for (const port of Object.values(ports)) port.close();
            running--;
            resolve(new EngineError("internal", "the worker died: killed by a test", "ask again"));
          });
        });
        return {
          control: ringPort(here),
          died,
          async stop() {
            here.postMessage({ kind: "close" });
            if (!dead) await served;
            here.close();
          },
        };
      });
    },
  };
}
