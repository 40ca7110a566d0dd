/** A GPU test without an adapter fails: `requireDevice` throws where this machine has none, and installs nothing. */
import { openDawn } from "../../extension/adapter/dawn.ts";
import { openDevice, type EngineDevice } from "../../engine/gpu/device.ts";

export interface TestGpu {
  gpu: GPU;
  /** LCP_GPU_LIMITS=minimum: WebGPU's guaranteed limits, whatever the adapter offers. */
  minimumLimits: boolean;
  how: string;
}

export async function requireGpu(): Promise<TestGpu> {
  const limits = process.env.LCP_GPU_LIMITS ?? "";
  if (limits !== "" && limits !== "minimum") throw new Error(`LCP_GPU_LIMITS is "${limits}"; only "minimum" is known`);
  const dawn = await openDawn();
  if (dawn === undefined) {
    throw new Error(
      "no WebGPU adapter: install a graphics driver, or Chromium (whose software driver is used), or set CHROMIUM to its path",
    );
  }
  return { gpu: dawn.gpu, how: dawn.how, minimumLimits: limits === "minimum" };
}

export async function requireDevice(): Promise<EngineDevice> {
  const { gpu, minimumLimits } = await requireGpu();
  return openDevice(gpu, { minimumLimits });
}
