import type { BackendChoice, BackendKind } from "../api.ts";
import { EngineError } from "../errors.ts";
import { type AdapterReport, probeAdapter } from "../gpu/device.ts";

/** The backend that will run, and why, in words for a person. */
export interface ChosenBackend {
  kind: BackendKind;
  because: string;
}

/** What WebGPU offers: nothing at all, no adapter, or one. */
export type WebGpuOffer =
  "no-webgpu" | "no-adapter" | Pick<AdapterReport, "fallback" | "description" | "architecture" | "vendor">;

export const WEBGPU_FLAG = "on Linux start VS Code with --enable-unsafe-webgpu --enable-features=Vulkan";

/** `auto` takes WebGPU where a hardware adapter exists, else WASM; an explicit choice is honoured or fails with `no-adapter`. */
export async function chooseBackend(choice: BackendChoice, gpu: GPU | undefined): Promise<ChosenBackend> {
  const asks = choice === "auto" || choice === "wgsl";
  const adapter = gpu && asks ? await probeAdapter(gpu) : undefined;
  return backendFor(choice, adapter ?? (gpu ? "no-adapter" : "no-webgpu"));
}

/** The same for an adapter that was asked for already. */
export function backendFor(choice: BackendChoice, offer: WebGpuOffer): ChosenBackend {
  if (choice === "ort" || choice === "reference") return { kind: choice, because: "chosen by you" };
  if (choice === "wgsl") {
    if (typeof offer !== "string")
      return { kind: "wgsl", because: offer.fallback ? "chosen by you; the adapter is software and slow" : "chosen by you" };
    const message = offer === "no-adapter" ? "WebGPU has no adapter here" : "WebGPU does not exist here";
    throw new EngineError("no-adapter", message, `choose the backend auto or ort, or ${WEBGPU_FLAG}`);
  }
  if (typeof offer === "string") {
    const what = offer === "no-adapter" ? "no WebGPU adapter" : "no WebGPU";
    return { kind: "ort", because: `${what}: WASM runs instead; for the GPU, ${WEBGPU_FLAG}` };
  }
  if (!offer.fallback) return { kind: "wgsl", because: "a WebGPU adapter was found" };
  const name = offer.description || offer.architecture || offer.vendor || "unnamed";
  return {
    kind: "ort",
    because: `only a software WebGPU adapter (${name}), which is slower than WASM; with a GPU in this machine, ${WEBGPU_FLAG}`,
  };
}
