/**
 * onnxruntime-web's WebGPU provider in Node, on a device of ours. Its WASM memory is a SharedArrayBuffer, views of which Dawn's
 * `writeBuffer` refuses, so they are copied first; nothing else is changed.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { openBlockWeight, putRows } from "../../engine/backends/ort/blockWeights.ts";
import {
  encodeOnnxModel,
  MICROSOFT_DOMAIN,
  type OnnxGraph,
  type OnnxNode,
  type OnnxTensor,
} from "../../engine/formats/onnxModel.ts";
import type { ByteTensor } from "../support/weightBytes.ts";
import { valuesOf } from "../support/weightBytes.ts";

/** The package's build with the WebGPU provider. */
export type OrtRuntime = typeof import("onnxruntime-web/webgpu");

/** Formats that onnxruntime has a product for. */
export type OrtFormat = "f32" | "q8_0" | "q4_0";

/** `copies` products of the same input with matrices of their own, as one session. */
export interface OrtProducts {
  run(): Promise<void>;
  outputs: readonly GPUBuffer[];
  release(): Promise<void>;
}

export interface OrtWebgpu {
  version: string;
  /** `accuracyLevel` 4 lets MatMulNBits round its inputs to 8 bits. */
  products(
    weight: ByteTensor,
    format: OrtFormat,
    options: { input: GPUBuffer; tokens: number; copies: number; accuracyLevel: 0 | 4 },
  ): Promise<OrtProducts>;
}

let runtime: Promise<OrtRuntime> | undefined;

/** Started once, for whichever device asks first. */
export function ortRuntime(entry: GPU): Promise<OrtRuntime> {
  runtime ??= startRuntime(entry);
  return runtime;
}

export async function openOrtWebgpu(entry: GPU, device: GPUDevice): Promise<OrtWebgpu> {
  const ort = await ortRuntime(entry);
  return {
    version: ort.env.versions.web ?? "unknown",
    async products(weight, format, { input, tokens, copies, accuracyLevel }) {
      const [rows = 0, columns = 0] = weight.shape;
      const graph = productsGraph(weight, format, copies, accuracyLevel);
      const provider = { name: "webgpu" as const, device };
      const session = await ort.InferenceSession.create(encodeOnnxModel(graph), {
        executionProviders: [provider],
        preferredOutputLocation: "gpu-buffer",
        logSeverityLevel: 3,
      });
      const outputs = Array.from({ length: copies }, () => device.createBuffer({ size: tokens * rows * 4, usage: 128 | 4 | 8 }));
      const feeds = { x: ort.Tensor.fromGpuBuffer(input, { dataType: "float32", dims: [tokens, columns] }) };
      const fetches = Object.fromEntries(
        outputs.map((buffer, i) => [`y${i}`, ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [tokens, rows] })]),
      );
      return {
        outputs,
        async run() {
          await session.run(feeds, fetches);
        },
        async release() {
          await session.release();
          for (const buffer of outputs) buffer.destroy();
        },
      };
    },
  };
}

async function startRuntime(gpu: GPU): Promise<OrtRuntime> {
  // It looks for WebGPU where a browser has it.
  Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "Node" }, configurable: true });
  const write = Reflect.get(GPUQueue.prototype, "writeBuffer") as (this: GPUQueue, ...args: unknown[]) => void;
  function writeCopied(this: GPUQueue, buffer: GPUBuffer, offset: number, data: unknown, start = 0, length?: number): void {
    if (!ArrayBuffer.isView(data) || !(data.buffer instanceof SharedArrayBuffer)) {
      write.call(this, buffer, offset, data, start, length);
      return;
    }
    // Start and length count the view's elements.
    const size = "BYTES_PER_ELEMENT" in data ? Number(data.BYTES_PER_ELEMENT) : 1;
    const bytes = length === undefined ? data.byteLength - start * size : length * size;
    write.call(this, buffer, offset, new Uint8Array(data.buffer, data.byteOffset + start * size, bytes).slice());
  }
  Reflect.set(GPUQueue.prototype, "writeBuffer", writeCopied);
  const ort = await import("onnxruntime-web/webgpu");
  const folder = dirname(fileURLToPath(import.meta.resolve("onnxruntime-web/webgpu")));
  const wasm = readFileSync(join(folder, "ort-wasm-simd-threaded.asyncify.wasm"));
  ort.env.wasm.wasmBinary = wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.length);
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  return ort;
}

function productsGraph(weight: ByteTensor, format: OrtFormat, copies: number, accuracyLevel: number): OnnxGraph {
  const [rows = 0, columns = 0] = weight.shape;
  const nodes: OnnxNode[] = [];
  const initializers: OnnxTensor[] = [];
  for (let copy = 0; copy < copies; copy++) {
    const outputs = [`y${copy}`];
    if (format === "f32") {
      initializers.push({ name: `w${copy}`, dims: [columns, rows], data: transposed(valuesOf(weight), rows, columns) });
      nodes.push({ op: "MatMul", domain: "", inputs: ["x", `w${copy}`], outputs, attributes: {} });
      continue;
    }
    const blocks = openBlockWeight(format, rows, columns);
    putRows(blocks, 0, weight.bytes);
    const blockBytes = blocks.codes.length / blocks.scales.length;
    initializers.push({ name: `w${copy}`, dims: [rows, columns / 32, blockBytes], data: blocks.codes });
    initializers.push({ name: `s${copy}`, dims: [blocks.scales.length], data: blocks.scales });
    const attributes = {
      ...{ K: { int: columns }, N: { int: rows }, bits: { int: format === "q8_0" ? 8 : 4 }, block_size: { int: 32 } },
      accuracy_level: { int: accuracyLevel },
    };
    nodes.push({ op: "MatMulNBits", domain: MICROSOFT_DOMAIN, inputs: ["x", `w${copy}`, `s${copy}`], outputs, attributes });
  }
  return {
    name: "products",
    nodes,
    initializers,
    inputs: [{ name: "x", element: "f32", dims: ["tokens", columns] }],
    outputs: Array.from({ length: copies }, (_, copy) => ({ name: `y${copy}`, element: "f32" as const, dims: ["tokens", rows] })),
  };
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column];
  }
  return turned;
}
