import type { BackendChoice, BackendKind, Runner, RunnerOptions, Runtime } from "../api.ts";
import { EngineError } from "../errors.ts";
import { probeAdapter } from "../gpu/device.ts";
import { openReferenceRunner } from "../reference/open.ts";
import { openOrtRunner } from "./ort.ts";
import { openWgslRunner } from "./wgsl.ts";

/** The backend that will run, and why, in words for a person. */
export interface ChosenBackend {
  kind: BackendKind;
  because: string;
}

/** Opens a model on one backend. */
export type OpenRunner = (kind: BackendKind, options: RunnerOptions, runtime: Runtime) => Promise<Runner>;

const FLAG = "on Linux start VS Code with --enable-unsafe-webgpu --enable-features=Vulkan";

/** `auto` takes WebGPU where a hardware adapter exists, else WASM; an explicit choice is honoured or fails with `no-adapter`. */
export async function chooseBackend(choice: BackendChoice, gpu: GPU | undefined): Promise<ChosenBackend> {
  if (choice === "ort" || choice === "reference") return { kind: choice, because: "chosen by you" };
  const adapter = gpu ? await probeAdapter(gpu) : undefined;
  if (choice === "wgsl") {
    if (adapter)
      return {
        kind: "wgsl",
        because: adapter.fallback ? "chosen by you; the adapter is software and slow" : "chosen by you",
      };
    throw new EngineError(
      "no-adapter",
      gpu ? "WebGPU has no adapter here" : "WebGPU does not exist here",
      `choose the backend auto or ort, or ${FLAG}`,
    );
  }
  if (!adapter)
    return { kind: "ort", because: `${gpu ? "no WebGPU adapter" : "no WebGPU"}: WASM runs instead; for the GPU, ${FLAG}` };
  if (!adapter.fallback) return { kind: "wgsl", because: "a WebGPU adapter was found" };
  const name = adapter.description || adapter.architecture || adapter.vendor || "unnamed";
  return {
    kind: "ort",
    because: `only a software WebGPU adapter (${name}), which is slower than WASM; with a GPU in this machine, ${FLAG}`,
  };
}

export const openRunner: OpenRunner = async (kind, options, runtime) => {
  switch (kind) {
    case "reference":
      return openReferenceRunner(options);
    case "ort":
      return openOrtRunner({ ...options, wasm: await runtime.ortWasm(), threads: runtime.ortThreads });
    case "wgsl":
      if (!runtime.gpu)
        throw new EngineError("no-adapter", "WebGPU does not exist here", `choose the backend auto or ort, or ${FLAG}`);
      return openWgslRunner({ ...options, gpu: runtime.gpu });
  }
};
