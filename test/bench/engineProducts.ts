/**
 * Products with weight matrices: ours per format, and onnxruntime-web's on the same device in the same run. A case is several products of
 * the same shape with weights of their own, recorded together, so that a fast device does not answer from its cache and the cost of one
 * call is not what is measured. A time counts only if the numbers are right.
 */
import assert from "node:assert/strict";
import type { TensorFormat } from "../../engine/api.ts";
import { openWeightLoader } from "../../engine/backends/wgsl/loadWeights.ts";
import { openReadback, storageBuffer, uploadedBuffer } from "../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openRecorder } from "../../engine/gpu/dispatch.ts";
import { chooseVariants } from "../../engine/gpu/selfTest.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { openLinear, type Matrix } from "../../engine/kernels/linear.ts";
import { matrixBytes, matrixFormatOf } from "../../engine/kernels/matrixFormats.ts";
import type { MatmulPrecision } from "../../engine/api.ts";
import { alloc32, linear } from "../../engine/reference/ops.ts";
import { numbers } from "../support/gpuArrays.ts";
import { bytesStore, randomTensor, valuesOf, type ByteTensor } from "../support/weightBytes.ts";
import type { OrtFormat, OrtWebgpu } from "./ortWebgpu.ts";
import { median } from "./results.ts";

export interface ProductCase {
  format: TensorFormat;
  rows: number;
  columns: number;
  tokens: number;
}

export interface Measured {
  /** Milliseconds of one product, the median of several batches. */
  ms: number;
  gflops: number;
  /** Bytes of weights, inputs and outputs, as stored on the device, over the time. */
  gbPerSecond: number;
  /** Relative RMS error against float64 sums of the same weights, over the first and the last token. */
  error: number;
}

/** Relative RMS error up to which a product counts as right: exact ones within f32 rounding, fast ones within inputs of 8 or 11 bits. */
const ALLOWED: Readonly<Record<MatmulPrecision, number>> = { exact: 2e-5, fast: 0.02 };
/** Weights of one case are at least this many bytes where the device has a cache to be kept out of, as far as copies go. */
const COLD_BYTES = 192 * 2 ** 20;
const MOST_COPIES = 16;

export function openProductBench(gpu: EngineDevice) {
  const shaders = openShaderCache(gpu);
  const recorder = openRecorder(gpu);
  const readback = openReadback(gpu);
  const batches = gpu.abilities.software ? 3 : 5;
  const batchMs = gpu.abilities.software ? 30 : 100;

  const copiesOf = ({ format, rows, columns }: ProductCase): number => {
    if (gpu.abilities.software) return 1;
    const { codes, scales } = matrixBytes(matrixFormatOf[format], rows, columns);
    return Math.max(1, Math.min(MOST_COPIES, Math.ceil(COLD_BYTES / (codes + scales))));
  };

  /** Time of one call of `run`, which makes `copies` products, per product. */
  const timed = async (copies: number, run: () => Promise<void> | void, finish: () => Promise<void>): Promise<number> => {
    // The first calls compile and allocate.
    for (let i = 0; i < 2; i++) {
      await run();
      await finish();
    }
    let began = performance.now();
    await run();
    await finish();
    const repetitions = Math.max(1, Math.min(200, Math.round(batchMs / (performance.now() - began))));
    const times: number[] = [];
    for (let batch = 0; batch < batches; batch++) {
      began = performance.now();
      for (let i = 0; i < repetitions; i++) await run();
      await finish();
      times.push((performance.now() - began) / repetitions / copies);
    }
    gpu.check();
    return median(times);
  };

  const checked = async (
    what: ProductCase,
    weight: ByteTensor,
    x: Float32Array,
    y: GPUBuffer,
    allowed: number,
  ): Promise<number> => {
    const { rows, columns, tokens } = what;
    const found = new Float32Array(await readback.read(y, 0, tokens * rows * 4));
    const values = valuesOf(weight);
    let errors = 0;
    let squares = 0;
    for (const token of new Set([0, tokens - 1])) {
      const exact = linear(alloc32, x.slice(token * columns, (token + 1) * columns), values, undefined, columns);
      for (let row = 0; row < rows; row++) {
        errors += (found[token * rows + row] - exact[row]) ** 2;
        squares += exact[row] ** 2;
      }
    }
    const error = Math.sqrt(errors / squares);
    assert(error <= allowed, `${describeCase(what)}: error ${error}, allowed ${allowed}`);
    return error;
  };

  const measured = (what: ProductCase, ms: number, error: number): Measured => {
    const { format, rows, columns, tokens } = what;
    const { codes, scales } = matrixBytes(matrixFormatOf[format], rows, columns);
    const bytes = codes + scales + 4 * tokens * (rows + columns);
    return { ms, gflops: (2 * tokens * rows * columns) / ms / 1e6, gbPerSecond: bytes / ms / 1e6, error };
  };

  return {
    copiesOf,

    /** Our kernels, as the engine would choose them on this device. */
    async ours(what: ProductCase, precision: MatmulPrecision): Promise<Measured> {
      const { format, rows, columns, tokens } = what;
      const copies = copiesOf(what);
      const weight = randomTensor("bench", format, [rows, columns]);
      const matrices: Matrix[] = [];
      for (let copy = 0; copy < copies; copy++) {
        const store = bytesStore({ "w_proj.weight": weight });
        const options = { weightFormat: "file" as const, maxBindingBytes: gpu.maxBufferBytes };
        matrices.push(await openWeightLoader(gpu, store, ["w_proj.weight"], options).matrix(["w_proj.weight"]));
      }
      const { variants } = await chooseVariants(gpu, shaders, precision);
      const placeholder = storageBuffer(gpu, "placeholder", 16);
      const setup = { gpu, shaders, recorder, placeholder, variants, maxTokens: tokens };
      const op = await openLinear(
        matrices.map((matrix) => ({ matrix })),
        setup,
      );
      const x = numbers("x", tokens * columns);
      const input = uploadedBuffer(gpu, "x", x);
      const y = storageBuffer(gpu, "y", tokens * rows * 4);
      const run = (): void => matrices.forEach((matrix) => op.linear(input, matrix, y, tokens));
      const ms = await timed(copies, run, () => recorder.finish());
      const error = await checked(what, weight, x, y, ALLOWED[precision]);
      recorder.forget();
      const owned = matrices.flatMap(({ slices }) => slices.flatMap(({ codes, scales }) => [codes, scales]));
      for (const buffer of [input, y, ...owned]) buffer?.destroy();
      return measured(what, ms, error);
    },

    /** onnxruntime-web's kernels: MatMul for f32, MatMulNBits for blocks; `fast` lets it round its inputs to 8 bits. */
    async theirs(what: ProductCase & { format: OrtFormat }, precision: MatmulPrecision, ort: OrtWebgpu): Promise<Measured> {
      const { format, rows, columns, tokens } = what;
      const copies = copiesOf(what);
      const weight = randomTensor("bench", format, [rows, columns]);
      const x = numbers("x", tokens * columns);
      const input = uploadedBuffer(gpu, "x", x);
      const options = { input, tokens, copies, accuracyLevel: precision === "fast" ? (4 as const) : (0 as const) };
      const products = await ort.products(weight, format, options);
      const done = (): Promise<void> => gpu.settle(gpu.device.queue.onSubmittedWorkDone());
      const ms = await timed(copies, () => products.run(), done);
      const output = products.outputs[0] ?? assert.fail("no output");
      const error = await checked(what, weight, x, output, ALLOWED[precision]);
      await products.release();
      input.destroy();
      return measured(what, ms, error);
    },
  };
}

export function describeCase({ format, rows, columns, tokens }: ProductCase): string {
  return `${format}, ${tokens} x [${rows}, ${columns}]`;
}
