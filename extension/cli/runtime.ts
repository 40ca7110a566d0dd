import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { BackendChoice, Runtime } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { openDawn } from "../adapter/dawn.ts";
import { ringThreads } from "../adapter/ringThreads.ts";

/**
 * What Node lends the engine. WebGPU is only opened where the backend may use it: it costs time and keeps the process alive. The threads of a
 * ring read the model at `modelPath` themselves.
 */
export async function openRuntime(backend: BackendChoice, packageRoot: string, modelPath?: string): Promise<Runtime> {
  const usesGpu = backend === "auto" || backend === "wgsl";
  const gpu = usesGpu ? (await openDawn())?.gpu : undefined;
  const ring = modelPath === undefined ? undefined : ringThreads(join(packageRoot, "dist", "ringThread.mjs"), modelPath);
  return { gpu, ring, ortThreads: wasmThreads(), ortWasm: () => readOrtWasm(packageRoot) };
}

/** Half of the cores, four at most: WASM threads spin while they wait, and the matrices are too small to feed more. */
function wasmThreads(): number {
  return Math.min(4, Math.ceil(availableParallelism() / 2));
}

async function readOrtWasm(packageRoot: string): Promise<ArrayBuffer> {
  const file = join(packageRoot, "dist", "ort", "ort-wasm-simd-threaded.wasm");
  try {
    return new Uint8Array(await readFile(file)).buffer;
  } catch {
    throw new EngineError("not-found", `the WASM runtime ${file} is missing`, 'run "npm run build"', { file });
  }
}
