import { before, describe, it } from "node:test";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import { openDevice, type EngineDevice } from "../../engine/gpu/device.ts";
import { lendDevice } from "../../engine/gpu/lend.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { checkFamily } from "../support/familyChecks.ts";
import { familyNames } from "../support/familyGoldens.ts";
import { requireGpu } from "../support/requireDevice.ts";

// One device for the file, so that kernels compile once.
let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  const test = await requireGpu();
  gpu = await openDevice(test.gpu, test);
  shaders = openShaderCache(gpu);
});

describe("the WebGPU backend against Hugging Face transformers", () => {
  for (const name of familyNames()) {
    it(name, () =>
      checkFamily(name, async (model) => {
        return openRunnerOn(lendDevice(gpu), shaders, { ...model, weightFormat: "f32" });
      }),
    );
  }
});
