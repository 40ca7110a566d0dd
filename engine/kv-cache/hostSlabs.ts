/** Slabs in host memory: what a cache streams past the device because it does not fit there. */
import { storageBuffer, type Readback } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Slab } from "./pages.ts";

/** Bytes of a slab as they lie on the device: keys of every copy, and values. */
export interface HostSlab {
  keys: Uint8Array<ArrayBuffer>[];
  values: Uint8Array<ArrayBuffer>;
}

/** Bytes of a streamed slab's keys at most: two of them are staged, and each is one transfer. */
export const STREAM_SLAB_BYTES = 32 * 2 ** 20;

/** Moves a slab that is written for good to host memory; its buffers are destroyed. */
export async function moveToHost(slab: Slab, readback: Readback): Promise<void> {
  const read = async (buffer: GPUBuffer): Promise<Uint8Array<ArrayBuffer>> =>
    new Uint8Array(await readback.read(buffer, 0, buffer.size));
  const keys: Uint8Array<ArrayBuffer>[] = [];
  for (const buffer of slab.keys) keys.push(await read(buffer));
  slab.host = { keys, values: await read(slab.values) };
  for (const buffer of [...slab.keys, slab.values]) buffer.destroy();
  slab.keys = [];
}

/** Brings a slab back into buffers of its own, to be written again. */
export function moveToDevice(slab: Slab, gpu: EngineDevice): void {
  const { host } = slab;
  if (host === undefined) return;
  const put = (bytes: Uint8Array<ArrayBuffer>): GPUBuffer => {
    const buffer = storageBuffer(gpu, "slab", bytes.length);
    gpu.device.queue.writeBuffer(buffer, 0, bytes);
    return buffer;
  };
  slab.keys = host.keys.map(put);
  slab.values = put(host.values);
  delete slab.host;
}

/** Buffers that host slabs pass through on their way to a kernel. */
export interface Staging {
  /** Copies one copy of the keys, and the values, of a host slab into the place that was used longer ago; the queue orders it behind what was submitted. */
  load(host: HostSlab, copy: number): { keys: GPUBuffer; values: GPUBuffer };
  readonly bytes: number;
  destroy(): void;
}

export function openStaging(gpu: EngineDevice): Staging {
  const places: { keys: GPUBuffer | undefined; values: GPUBuffer | undefined }[] = [
    { keys: undefined, values: undefined },
    { keys: undefined, values: undefined },
  ];
  let next = 0;
  const fitting = (buffer: GPUBuffer | undefined, bytes: number): GPUBuffer => {
    if (buffer !== undefined && buffer.size >= bytes) return buffer;
    buffer?.destroy();
    return storageBuffer(gpu, "staged slab", bytes);
  };
  return {
    load(host, copy) {
      const place = places[next];
      next = 1 - next;
      const source = host.keys[copy];
      const keys = fitting(place.keys, source.length);
      const values = fitting(place.values, host.values.length);
      place.keys = keys;
      place.values = values;
      gpu.device.queue.writeBuffer(keys, 0, source);
      gpu.device.queue.writeBuffer(values, 0, host.values);
      return { keys, values };
    },
    get bytes() {
      return places.reduce((sum, { keys, values }) => sum + (keys?.size ?? 0) + (values?.size ?? 0), 0);
    },
    destroy() {
      for (const { keys, values } of places) for (const buffer of [keys, values]) buffer?.destroy();
    },
  };
}
