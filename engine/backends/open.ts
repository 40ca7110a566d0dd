import type { BackendKind, Runner, RunnerOptions, Runtime } from "../api.ts";
import { EngineError } from "../errors.ts";
import { openReferenceRunner } from "../reference/open.ts";
import { WEBGPU_FLAG } from "./choose.ts";
import { openOrtRunner } from "./ort.ts";
import { openWgslRunner } from "./wgsl.ts";

/** Opens a model on one backend. */
export type OpenRunner = (kind: BackendKind, options: RunnerOptions, runtime: Runtime) => Promise<Runner>;

export const openRunner: OpenRunner = async (kind, options, runtime) => {
  switch (kind) {
    case "reference":
      return openReferenceRunner(options);
    case "ort":
      return openOrtRunner({ ...options, wasm: await runtime.ortWasm(), threads: runtime.ortThreads });
    case "wgsl":
      if (!runtime.gpu)
        throw new EngineError("no-adapter", "WebGPU does not exist here", `choose the backend auto or ort, or ${WEBGPU_FLAG}`);
      return openWgslRunner({ ...options, gpu: runtime.gpu, ring: runtime.ring });
  }
};
