/** What the device can do at best: multiply-adds without memory, and copies without arithmetic. The roof that products stand under. */
import assert from "node:assert/strict";
import { openReadback, storageBuffer } from "../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openRecorder } from "../../engine/gpu/dispatch.ts";
import { kernel, openShaderCache } from "../../engine/gpu/shader.ts";
import { median } from "./results.ts";
import source from "./peaks.wgsl";

const peaks = kernel({ name: "peaks", source, params: { steps: "u32" }, buffers: { y: "read_write" } });

export interface Peaks {
  /** Of f32 multiply-adds, each of which counts as two. */
  gflops: number;
  /** Bytes read and written by a copy from buffer to buffer. */
  copyGBs: number;
}

export async function measurePeaks(gpu: EngineDevice): Promise<Peaks> {
  const { software } = gpu.abilities;
  const recorder = openRecorder(gpu);
  const invocations = software ? 2 ** 12 : 2 ** 18;
  const steps = software ? 256 : 2048;
  const y = storageBuffer(gpu, "peaks", invocations * 4);
  const program = await openShaderCache(gpu).program(peaks, {});
  const arithmeticMs = await medianMs(async () => {
    recorder.run(program, { steps }, { y }, [invocations / 256]);
    await recorder.finish();
  });
  // Every chain ends at added / (1 - factor): 8 (0.5 + 1 + 1.5 + 2).
  assert.equal(new Float32Array(await openReadback(gpu).read(y, 0, 4))[0], 40);
  const bytes = Math.min(software ? 2 ** 24 : 2 ** 28, gpu.maxBufferBytes);
  const [from, to] = [storageBuffer(gpu, "from", bytes), storageBuffer(gpu, "to", bytes)];
  const copyMs = await medianMs(async () => {
    for (let i = 0; i < 4; i++) recorder.copy(from, to, bytes);
    await recorder.finish();
  });
  for (const buffer of [y, from, to]) buffer.destroy();
  return { gflops: (invocations * steps * 8 * 4 * 2) / arithmeticMs / 1e6, copyGBs: (4 * 2 * bytes) / copyMs / 1e6 };
}

async function medianMs(run: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 6; i++) {
    const began = performance.now();
    await run();
    times.push(performance.now() - began);
  }
  return median(times.slice(1));
}
