import type { Runtime } from "../api.ts";
import { openRunner } from "../backends/open.ts";
import { WEBGPU_FLAG } from "../backends/choose.ts";
import { EngineError } from "../errors.ts";
import { openDevice } from "../gpu/device.ts";
import { openShaderCache } from "../gpu/shader.ts";
import type { MeasuredRates, PlanDevice } from "./api.ts";
import { measureRates, type MeasureRequest } from "./measure.ts";
import { measureDevice } from "./measureDevice.ts";

/** Rates of a backend, beside whatever runs on it: WebGPU on a device of its own. Throws what opening it throws, and `aborted`. */
export async function measureBackend(
  backend: PlanDevice["backend"],
  runtime: Runtime,
  request: MeasureRequest,
): Promise<MeasuredRates> {
  if (backend === "ort") {
    const rates = await measureRates((options) => openRunner("ort", options, runtime), request);
    return { ...rates, copyBytes: undefined, uploadBytes: undefined, readbackBytes: undefined };
  }
  if (runtime.gpu === undefined) throw new EngineError("no-adapter", "there is no WebGPU here to measure", WEBGPU_FLAG);
  const gpu = await openDevice(runtime.gpu);
  try {
    return await measureDevice(gpu, openShaderCache(gpu), request);
  } finally {
    gpu.destroy();
  }
}
