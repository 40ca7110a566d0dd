/** Buffers of one device: allocation that reports running out, upload in bounded pieces, readback. */
import { EngineError } from "../errors.ts";
import type { EngineDevice } from "./device.ts";
import type { Recorder } from "./dispatch.ts";

/** WebGPU's usage bits, as numbers because not every host has the GPUBufferUsage global. */
export const usage = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 } as const;
/** Largest piece handed to the queue at once. */
export const UPLOAD_BYTES = 64 * 2 ** 20;

/** A storage buffer of at least `bytes` bytes, zeroed; throws `limit-exceeded` when it cannot be bound. */
export function storageBuffer(gpu: EngineDevice, label: string, bytes: number): GPUBuffer {
  if (bytes > gpu.maxBufferBytes) {
    throw new EngineError(
      "limit-exceeded",
      `${label} needs a buffer larger than this device binds`,
      "choose a smaller model or the WASM backend",
      {
        needMiB: Math.ceil(bytes / 2 ** 20),
        haveMiB: Math.floor(gpu.maxBufferBytes / 2 ** 20),
      },
    );
  }
  const size = Math.max(16, Math.ceil(bytes / 16) * 16);
  return gpu.device.createBuffer({ label, size, usage: usage.storage | usage.copySource | usage.copyTarget });
}

/** A storage buffer holding `data`. */
export function uploadedBuffer(
  gpu: EngineDevice,
  label: string,
  data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
): GPUBuffer {
  const buffer = storageBuffer(gpu, label, data.byteLength);
  for (let byte = 0; byte < data.byteLength; byte += UPLOAD_BYTES) {
    const bytes = Math.min(UPLOAD_BYTES, data.byteLength - byte);
    gpu.device.queue.writeBuffer(buffer, byte, data.buffer, data.byteOffset + byte, bytes);
  }
  return buffer;
}

/** What `allocate` returns, once the device has said that it had the memory; else `fail` makes the error. */
export async function allocated<T>(gpu: EngineDevice, allocate: () => T, fail: () => EngineError): Promise<T> {
  gpu.device.pushErrorScope("out-of-memory");
  let value: T;
  let scope: Promise<GPUError | null>;
  try {
    value = allocate();
  } finally {
    scope = gpu.device.popErrorScope();
  }
  if ((await gpu.settle(scope)) !== null) throw fail();
  return value;
}

/** Reads buffers back through one mappable buffer that grows to the largest read and is kept. */
export interface Readback {
  /** Copies bytes [offset, offset + bytes) of `source` after all submitted work. */
  read(source: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer>;
  /** The first bytes of `source` behind everything that was recorded, all in one submission. */
  readBehind(recorder: Recorder, source: GPUBuffer, bytes: number): Promise<ArrayBuffer>;
  destroy(): void;
}

export function openReadback(gpu: EngineDevice): Readback {
  let staging: GPUBuffer | undefined;

  function stagingFor(bytes: number): GPUBuffer {
    if (staging !== undefined && staging.size >= bytes) return staging;
    staging?.destroy();
    staging = gpu.device.createBuffer({
      label: "readback",
      size: Math.max(bytes, 256),
      usage: usage.mapRead | usage.copyTarget,
    });
    return staging;
  }

  async function mapped(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    await gpu.settle(buffer.mapAsync(1, 0, bytes));
    const copy = buffer.getMappedRange(0, bytes).slice(0);
    buffer.unmap();
    return copy;
  }

  return {
    async read(source, offset, bytes) {
      const target = stagingFor(bytes);
      const encoder = gpu.device.createCommandEncoder();
      encoder.copyBufferToBuffer(source, offset, target, 0, bytes);
      gpu.device.queue.submit([encoder.finish()]);
      return mapped(target, bytes);
    },
    async readBehind(recorder, source, bytes) {
      const target = stagingFor(bytes);
      recorder.copy(source, target, bytes);
      recorder.submit();
      return mapped(target, bytes);
    },
    destroy: () => staging?.destroy(),
  };
}
