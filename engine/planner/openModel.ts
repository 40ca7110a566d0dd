import type { BackendKind, MatmulPrecision, Runtime, WeightFormat } from "../api.ts";
import { EngineError } from "../errors.ts";
import { probeAdapter } from "../gpu/device.ts";
import type { LoadedModel } from "../models/load.ts";
import { DEFAULT_CACHE_BYTES } from "../models/memory.ts";
import type { OpenModel } from "./attentionTable.ts";
import { measureBackend } from "./measureBackend.ts";

/** What planning needs of a session's model. Nobody tells a page how much memory there is, so that only the cache has a bound. */
export async function openModel(
  { spec, weights }: LoadedModel,
  { weightFormat, products }: { weightFormat: WeightFormat; products?: MatmulPrecision | undefined },
  runtime: Runtime,
  backend: BackendKind,
): Promise<OpenModel> {
  if (backend === "reference") {
    throw new EngineError("bad-argument", "the reference backend is not planned for", "choose auto, wgsl or ort");
  }
  const limits = backend === "wgsl" && runtime.gpu ? (await probeAdapter(runtime.gpu))?.limits : undefined;
  return {
    spec,
    formatOf: (name) => weights.format(name),
    weightFormat,
    products,
    device: {
      backend,
      memoryBytes: undefined,
      cacheBytes: DEFAULT_CACHE_BYTES,
      maxBufferBytes: limits && Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize),
    },
    measure: (request) => measureBackend(backend, runtime, request),
  };
}
