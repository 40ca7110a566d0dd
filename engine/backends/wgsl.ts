/** The WebGPU backend: our own kernels behind the Runner interface. */
import type { Runner, RunnerOptions } from "../api.ts";
import { checkF32Cache } from "../attention/wholeOnly.ts";
import { throwIfAborted } from "../errors.ts";
import { openDevice, type EngineDevice } from "../gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../gpu/shader.ts";
import { checkWeights } from "../models/weights.ts";
import { openGpuDecoder, type GpuDecoderOptions } from "./wgsl/decoderRunner.ts";
import { openGpuRecurrent } from "./wgsl/recurrentRunner.ts";

export interface WgslRunnerOptions extends RunnerOptions, Omit<GpuDecoderOptions, keyof RunnerOptions> {
  gpu: GPU;
}

/** Opens the model on a device of its own. Until `setPositions` it rotates as config.json says. Throws EngineErrors only. */
export async function openWgslRunner(options: WgslRunnerOptions): Promise<Runner> {
  throwIfAborted(options.signal);
  checkWeights(options.spec, options.weights);
  const gpu = await openDevice(options.gpu, { minimumLimits: options.minimumLimits ?? false });
  try {
    return await openRunnerOn(gpu, openShaderCache(gpu), options);
  } catch (error) {
    gpu.destroy();
    throw error;
  }
}

/** The same on an open device with its compiled kernels; `dispose` takes the device with it. */
export async function openRunnerOn(gpu: EngineDevice, shaders: ShaderCache, options: GpuDecoderOptions): Promise<Runner> {
  const { spec } = options;
  if (spec.kind === "decoder") return openGpuDecoder(gpu, shaders, spec, options);
  checkF32Cache(options.kv, "a recurrent model");
  return openGpuRecurrent(gpu, shaders, spec, options);
}
