/** One rank of a ring: what the worker script does where ringWorkers.ts started it. */
import { openGpuRank } from "../engine/attention/ring/gpuRank.ts";
import { serveRank } from "../engine/attention/ring/rank.ts";
import { EngineError } from "../engine/errors.ts";
import { listedModelFiles } from "./modelPieces.ts";
import { openChannel } from "./protocol/channel.ts";
import type { RankCalls } from "./protocol/worker.ts";
import { channelPort, ringPort } from "./ringPort.ts";
import { RANK_NAME, type RankStart } from "./ringWorkers.ts";

export function isRingRank(): boolean {
  return self.name === RANK_NAME;
}

/** Waits for the first message and serves the rank until its worker is ended. */
export function serveRingRank(): void {
  globalThis.addEventListener(
    "message",
    (event: MessageEvent<RankStart>) => {
      void serve(event.data);
    },
    { once: true },
  );
}

async function serve({ model, control, next, previous, files }: RankStart): Promise<void> {
  const engine = openChannel<RankCalls, Record<string, never>, Record<string, never>, Record<string, never>>(
    channelPort(files),
    {},
    { name: "rank" },
  );
  const ports = { control: ringPort(control), next: ringPort(next), previous: ringPort(previous) };
  await serveRank(ports, async (options, signal, onProgress) => {
    // Where WebGPU is not offered, the property is not there either.
    const { gpu } = navigator as { gpu?: GPU };
    if (gpu === undefined) {
      throw new EngineError("no-adapter", "WebGPU does not exist in a worker's worker", "choose attention flash");
    }
    const read = async (name: string, offset: number, length: number, stop?: AbortSignal): Promise<ArrayBuffer> =>
      (await engine.call("model/read", { name, offset, length }, { signal: stop })).bytes;
    return openGpuRank(gpu, listedModelFiles(model, read), options, signal, onProgress);
  });
}
