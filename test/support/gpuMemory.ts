/** What lies on a graphics device: bytes of all buffers that were made and not destroyed. */
import type { EngineDevice } from "../../engine/gpu/device.ts";

export interface WatchedDevice {
  /** The device, watched. */
  gpu: EngineDevice;
  /** Bytes now; labels limit the sum to buffers whose label begins so. */
  liveBytes(...labels: string[]): number;
  /** The most that there were at once. */
  peakBytes(): number;
}

export function watchMemory(gpu: EngineDevice): WatchedDevice {
  const live = new Set<GPUBuffer>();
  let [now, peak] = [0, 0];
  const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
    const buffer = gpu.device.createBuffer(descriptor);
    live.add(buffer);
    now += buffer.size;
    peak = Math.max(peak, now);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      if (live.delete(buffer)) now -= buffer.size;
      destroy();
    };
    return buffer;
  };
  const device = new Proxy(gpu.device, {
    get(target, name) {
      if (name === "createBuffer") return createBuffer;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  return {
    gpu: { ...gpu, device },
    liveBytes: (...labels) =>
      [...live]
        .filter(({ label }) => labels.length === 0 || labels.some((start) => label.startsWith(start)))
        .reduce((sum, { size }) => sum + size, 0),
    peakBytes: () => peak,
  };
}
