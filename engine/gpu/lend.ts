/** A device that several users share one after the other, or side by side. */
import type { EngineDevice } from "./device.ts";

/** The device for one user: destroying it releases the buffers that were made through it, and no more. */
export function lendDevice(gpu: EngineDevice): EngineDevice {
  const made: GPUBuffer[] = [];
  const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
    const buffer = gpu.device.createBuffer(descriptor);
    made.push(buffer);
    return buffer;
  };
  const device = new Proxy(gpu.device, {
    get(target, name) {
      if (name === "createBuffer") return createBuffer;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  return { ...gpu, device, destroy: () => made.splice(0).forEach((buffer) => buffer.destroy()) };
}
