/**
 * The twin for machines without WebGPU: the same models on ONNX Runtime Web's WebAssembly build. The only file that imports it.
 * Works in Node, with threads, and in a worker started from a blob URL: build.mjs points the name at the build for plain WebAssembly whose
 * JavaScript glue becomes part of our bundle, and the binary comes as bytes, so nothing is fetched.
 */
import { env, InferenceSession, Tensor } from "onnxruntime-web";
import type { Runner, RunnerOptions } from "../api.ts";
import { EngineError } from "../errors.ts";
import { encodeOnnxModel, type OnnxGraph } from "../formats/onnxModel.ts";
import { loadDecoder } from "./ort/decoder.ts";
import type { OrtGraph } from "./ort/ortGraph.ts";
import { openOrtRecurrent } from "./ort/recurrent.ts";
import { OrtRunner } from "./ort/runner.ts";

/**
 * Opens a model on the WebAssembly backend.
 * @param options.wasm bytes of ort-wasm-simd-threaded.wasm; read once per process or worker
 * @param options.threads 1 where SharedArrayBuffer is missing (webviews); more only in Node
 * Throws `limit-exceeded` when the weights do not fit into WebAssembly's 4 GiB, `bad-argument` when the runtime already runs with
 * another number of threads, and what reading the weights throws.
 */
export async function openOrtRunner(options: RunnerOptions & { wasm: ArrayBuffer; threads: number }): Promise<Runner> {
  const { spec } = options;
  startRuntime(options.wasm, options.threads);
  if (spec.kind !== "decoder") return openOrtRecurrent(spec, options, loadGraph, () => deviceWords(options.threads));
  const decoder = await loadDecoder(spec, options, loadGraph);
  return new OrtRunner(spec, options, decoder, deviceWords(options.threads));
}

/** The runtime falls back to one thread where memory cannot be shared, and says so only when it has started. */
function deviceWords(wanted: number): string {
  const count = env.wasm.numThreads ?? wanted;
  return `CPU (onnxruntime-web ${env.versions.web ?? "?"} WASM, ${count === 1 ? "1 thread" : `${count} threads`})`;
}

let startedThreads: number | undefined;

/** Sets what ONNX Runtime reads when its first session is made; later it cannot be changed. */
function startRuntime(wasm: ArrayBuffer, threads: number): void {
  if (!Number.isInteger(threads) || threads < 1) {
    throw new EngineError("bad-argument", `${threads} is no number of threads`, "give a whole number from 1", { threads });
  }
  if (startedThreads !== undefined) {
    if (startedThreads === threads) return;
    throw new EngineError(
      "bad-argument",
      `the WebAssembly runtime already runs with ${startedThreads} threads`,
      "use the same number of threads for every model of one process",
      { startedThreads, threads },
    );
  }
  startedThreads = threads;
  env.wasm.wasmBinary = wasm;
  env.wasm.numThreads = threads;
  env.wasm.proxy = false;
  env.logLevel = "error";
}

/** The runtime keeps one stack for all sessions, so calls of two models must not interleave. */
let queue: Promise<unknown> = Promise.resolve();

function inTurn<T>(task: () => Promise<T>): Promise<T> {
  const result = queue.then(task);
  queue = result.then(
    () => undefined,
    () => undefined,
  );
  return result;
}

async function loadGraph(graph: OnnxGraph): Promise<OrtGraph> {
  const session = await inTurn(async () => createSession(graph));
  return {
    run: (inputs) =>
      inTurn(async () => {
        const feeds: Record<string, Tensor> = {};
        for (const [name, { data, dims }] of Object.entries(inputs)) feeds[name] = new Tensor("float32", data, dims);
        const results = await session.run(feeds);
        const outputs: Record<string, Float32Array<ArrayBuffer>> = {};
        for (const [name, tensor] of Object.entries(results)) outputs[name] = floatsOf(tensor);
        return outputs;
      }),
    release: () => inTurn(() => session.release()),
  };
}

async function createSession(graph: OnnxGraph): Promise<InferenceSession> {
  try {
    // Sizes differ from call to call, so remembered memory patterns would only pile up.
    return await InferenceSession.create(encodeOnnxModel(graph), {
      executionProviders: ["wasm"],
      enableMemPattern: false,
      logSeverityLevel: 3,
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (!/bad_alloc|alloc|memory|range/i.test(message)) throw error;
    throw new EngineError(
      "limit-exceeded",
      `WebAssembly has no memory left for the weights (${message})`,
      "store the weights as q8_0, take a smaller model, or use WebGPU",
      { graph: graph.name },
    );
  }
}

function floatsOf(tensor: Tensor): Float32Array<ArrayBuffer> {
  const data = tensor.data;
  if (!(data instanceof Float32Array)) throw new Error(`the graph returned ${tensor.type}, not float32`);
  return data.buffer instanceof ArrayBuffer
    ? new Float32Array(data.buffer, data.byteOffset, data.length)
    : new Float32Array(data);
}
