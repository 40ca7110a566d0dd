/** Buffers that are used again from layer to layer and chunk to chunk, each as large as what was asked for most. */
import { storageBuffer } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import type { Recorder } from "../../gpu/dispatch.ts";

export interface DeviceRoom {
  /** At least `bytes` bytes; what was in them is lost where they grow, beyond twice the need up to `most` bytes. */
  of(label: string, bytes: number, most?: number): GPUBuffer;
  /** The same with `words` in them. Submits what was recorded, which may still read what was there. */
  holding(label: string, words: Uint32Array<ArrayBuffer>): GPUBuffer;
  destroy(): void;
}

export function openDeviceRoom(gpu: EngineDevice, recorder: Recorder): DeviceRoom {
  const buffers = new Map<string, GPUBuffer>();

  function room(label: string, bytes: number, most = Infinity): GPUBuffer {
    const have = buffers.get(label);
    if (have !== undefined && have.size >= bytes) return have;
    recorder.submit();
    have?.destroy();
    recorder.forget();
    // A prompt grows: twice the room is asked for half as often.
    const made = storageBuffer(gpu, label, Math.max(bytes, Math.min(2 * bytes, most, gpu.maxBufferBytes)));
    buffers.set(label, made);
    return made;
  }

  return {
    of: room,
    holding(label, words) {
      const buffer = room(label, words.byteLength);
      recorder.submit();
      gpu.device.queue.writeBuffer(buffer, 0, words);
      return buffer;
    },
    destroy() {
      for (const buffer of buffers.values()) buffer.destroy();
      buffers.clear();
    },
  };
}
