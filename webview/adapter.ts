/** What WebGPU offers to the page, for the host's preflight of models that are not open. */
import { probeAdapter } from "../engine/gpu/device.ts";
import type { AdapterOffer } from "./protocol/panel.ts";

export async function adapterOffer(gpu: GPU | undefined): Promise<AdapterOffer> {
  if (gpu === undefined) return "no-webgpu";
  const report = await probeAdapter(gpu);
  if (report === undefined) return "no-adapter";
  const { vendor, architecture, description, fallback, limits } = report;
  const maxBindingBytes = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  return { vendor, architecture, description, fallback, maxBindingBytes };
}
