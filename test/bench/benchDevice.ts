/** One device for all programs that a bench compares: with every limit and feature of the adapter, so that none is held back. */
import { openDevice, optionalFeatures, type EngineDevice } from "../../engine/gpu/device.ts";
import { requireGpu } from "../support/requireDevice.ts";

const limits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;
const features = [...optionalFeatures, "timestamp-query"] as const;

export interface BenchDevice {
  gpu: EngineDevice;
  entry: GPU;
  /** How the adapter was found. */
  how: string;
  adapter: { vendor: string; architecture: string; description: string; features: string[] };
}

/** `subgroups: false` leaves them out where the adapter is a software one: onnxruntime's attention counts on more than four lanes in one. */
export async function openBenchDevice(options: { subgroups?: boolean } = {}): Promise<BenchDevice> {
  const { gpu, how } = await requireGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new Error("the adapter that was there a moment ago is gone");
  const { vendor, architecture, description } = adapter.info;
  const leftOut = options.subgroups === false && adapter.info.isFallbackAdapter ? "subgroups" : "";
  const offered = features.filter((name) => adapter.features.has(name) && name !== leftOut);
  const requiredLimits = Object.fromEntries(limits.map((name) => [name, adapter.limits[name]]));
  const device = await adapter.requestDevice({ requiredFeatures: offered, requiredLimits, label: "bench" });
  // The engine asks for a device of its own; it gets this one.
  const entry = {
    wgslLanguageFeatures: gpu.wgslLanguageFeatures,
    requestAdapter: async () => ({
      info: adapter.info,
      features: new Set(offered),
      limits: adapter.limits,
      requestDevice: async () => device,
    }),
  };
  return {
    gpu: await openDevice(entry as unknown as GPU),
    entry: gpu,
    how,
    adapter: { vendor, architecture, description, features: [...adapter.features].sort() },
  };
}
