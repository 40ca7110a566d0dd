/** One rank of a ring, in a thread of its own: opens the model's files by path and a device of its own. */
import { workerData } from "node:worker_threads";
import { openGpuRank } from "../../engine/attention/ring/gpuRank.ts";
import { serveRank } from "../../engine/attention/ring/rank.ts";
import { EngineError } from "../../engine/errors.ts";
import { nodeModelFiles } from "../models/nodeFiles.ts";
import { openDawn } from "./dawn.ts";
import { ringPort } from "./ringPorts.ts";
import type { RankThreadData } from "./ringThreads.ts";

// ringThreads.ts makes it, of the same build.
const { modelPath, control, next, previous } = workerData as RankThreadData;

const ports = { control: ringPort(control), next: ringPort(next), previous: ringPort(previous) };
await serveRank(ports, async (options, signal, onProgress) => {
  const dawn = await openDawn();
  if (dawn === undefined) {
    throw new EngineError("no-adapter", "WebGPU has no adapter in a worker thread", "choose attention flash, or another backend");
  }
  const files = nodeModelFiles(modelPath);
  try {
    return await openGpuRank(dawn.gpu, files, options, signal, onProgress);
  } finally {
    await files.close();
  }
});
// Dawn keeps a thread alive.
process.exit(0);
