import { before } from "node:test";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import { openDevice, type EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { describeRecurrentRunner } from "../support/recurrentContract.ts";
import { requireGpu } from "../support/requireDevice.ts";

// One device for the file: kernels compile once. Runners are not disposed, because that would take the device with them.
let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  const test = await requireGpu();
  gpu = await openDevice(test.gpu, test);
  shaders = openShaderCache(gpu);
});

describeRecurrentRunner(
  "WebGPU",
  (options) => openRunnerOn(gpu, shaders, options),
  () => undefined,
);
