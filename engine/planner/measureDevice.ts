/** Rates of an open graphics device: those of the backend's own kernels, and of copies on it, to it and from it. */
import { openRunnerOn } from "../backends/wgsl.ts";
import { openReadback, storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import { openRecorder } from "../gpu/dispatch.ts";
import { lendDevice } from "../gpu/lend.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import type { MeasuredRates } from "./api.ts";
import { measureRates, type MeasureRequest } from "./measure.ts";

/** Measures on a device that stays open; what was made on it is released. Throws what opening a model throws, and `aborted`. */
export async function measureDevice(gpu: EngineDevice, shaders: ShaderCache, request: MeasureRequest): Promise<MeasuredRates> {
  const rates = await measureRates(async (options) => {
    const lent = lendDevice(gpu);
    try {
      return await openRunnerOn(lent, shaders, options);
    } catch (error) {
      lent.destroy();
      throw error;
    }
  }, request);
  return { ...rates, ...(await transferRates(gpu)) };
}

const MIB = 2 ** 20;
/** Bytes of one transfer: more than caches hold where memory is large. */
const TRANSFER_BYTES = { software: 4 * MIB, hardware: 64 * MIB };
const READBACK_BYTES = 4 * MIB;
const REPETITIONS = 5;

async function transferRates(gpu: EngineDevice): Promise<Pick<MeasuredRates, "copyBytes" | "uploadBytes" | "readbackBytes">> {
  const { device } = gpu;
  const bytes = Math.min(gpu.abilities.software ? TRANSFER_BYTES.software : TRANSFER_BYTES.hardware, gpu.maxBufferBytes);
  const [from, to] = [storageBuffer(gpu, "from", bytes), storageBuffer(gpu, "to", bytes)];
  const recorder = openRecorder(gpu);
  const readback = openReadback(gpu);
  const data = new Uint8Array(bytes).fill(1);
  try {
    const copy = await fastest(async () => {
      recorder.copy(from, to, bytes);
      await recorder.finish();
    });
    const upload = await fastest(async () => {
      device.queue.writeBuffer(from, 0, data);
      await recorder.finish();
    });
    const read = await fastest(() => readback.read(to, 0, Math.min(bytes, READBACK_BYTES)));
    // A copy reads and writes.
    return { copyBytes: (2 * bytes) / copy, uploadBytes: bytes / upload, readbackBytes: Math.min(bytes, READBACK_BYTES) / read };
  } finally {
    for (const buffer of [from, to]) buffer.destroy();
    recorder.destroy();
    readback.destroy();
  }
}

/** Least seconds of a few runs: what disturbs a copy only makes it slower. */
async function fastest(action: () => Promise<unknown>): Promise<number> {
  let least = Infinity;
  for (let run = 0; run < REPETITIONS; run++) {
    const began = performance.now();
    await action();
    least = Math.min(least, performance.now() - began);
  }
  return least / 1000;
}
