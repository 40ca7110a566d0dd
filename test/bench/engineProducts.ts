/**
 * Products with weight matrices: ours per format, and onnxruntime-web's on the same device in the same run. What is timed are several
 * products of the same shape with weights of their own, so that a fast device does not answer from its cache and the cost of one call is
 * not what is measured. A time counts only if the numbers are right.
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
import { bytesStore, randomTensor, valuesOf } from "../support/weightBytes.ts";
import type { OrtFormat, OrtProducts, OrtWebgpu } from "./ortWebgpu.ts";
import { median } from "./results.ts";

export interface Measured {
  /** Milliseconds of one product, the median of several batches. */
  ms: number;
  gflops: number;
  /** Bytes of weights, inputs and outputs, as stored on the device, over the time. */
  gbPerSecond: number;
  /** Relative RMS error against float64 sums of the same weights, over the first and the last token. */
  error: number;
}

/** All products with matrices of one format and shape. */
export interface ProductCase {
  /** Products that are run together. */
  copies: number;
  /** Our kernels, as the engine would choose them on this device. */
  ours(tokens: number, precision: MatmulPrecision): Promise<Measured>;
  /** onnxruntime-web's kernels: MatMul for f32, MatMulNBits for blocks; `fast` lets it round its inputs to 8 bits. */
  theirs(ort: OrtWebgpu, format: OrtFormat, tokens: number, precision: MatmulPrecision): Promise<Measured>;
  release(): void;
}

/** Relative RMS error up to which a product counts as right: exact ones within f32 rounding, fast ones within inputs of 8 or 11 bits. */
const ALLOWED: Readonly<Record<MatmulPrecision, number>> = { exact: 2e-5, fast: 0.02 };
/** Weights that are run together have at least this many bytes where the device has a cache to be kept out of, as far as copies go. */
const COLD_BYTES = 192 * 2 ** 20;
const MOST_COPIES = 16;

export function openProductBench(gpu: EngineDevice) {
  const shaders = openShaderCache(gpu);
  const recorder = openRecorder(gpu);
  const readback = openReadback(gpu);
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const batches = gpu.abilities.software ? 3 : 5;
  const batchMs = gpu.abilities.software ? 30 : 100;

  /** Milliseconds of one call of `run`, which is done when `finish` is. */
  const timed = async (run: () => Promise<void> | void, finish: () => Promise<void>): Promise<number> => {
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
      times.push((performance.now() - began) / repetitions);
    }
    gpu.check();
    return median(times);
  };

  return async function openCase(format: TensorFormat, rows: number, columns: number): Promise<ProductCase> {
    const size = matrixBytes(matrixFormatOf[format], rows, columns);
    const weightBytes = size.codes + size.scales;
    const copies = gpu.abilities.software ? 1 : Math.max(1, Math.min(MOST_COPIES, Math.ceil(COLD_BYTES / weightBytes)));
    const weight = randomTensor("bench", format, [rows, columns]);
    const values = valuesOf(weight);
    const store = bytesStore({ "w_proj.weight": weight });
    const options = { weightFormat: "file" as const, maxBindingBytes: gpu.maxBufferBytes };
    const first = await openWeightLoader(gpu, store, ["w_proj.weight"], options).matrix(["w_proj.weight"]);
    const matrices = Array.from({ length: copies }, (_, copy) => (copy === 0 ? first : copied(first)));
    recorder.submit();

    function copied(matrix: Matrix): Matrix {
      const twin = (buffer: GPUBuffer): GPUBuffer => {
        const copy = storageBuffer(gpu, "copy", buffer.size);
        recorder.copy(buffer, copy, buffer.size);
        return copy;
      };
      const slices = matrix.slices.map((slice) => ({
        ...slice,
        codes: twin(slice.codes),
        scales: slice.scales === undefined ? undefined : twin(slice.scales),
      }));
      return { ...matrix, slices };
    }

    /** Checks the first and the last token of y, and what the time of one product means. */
    async function measured(
      ms: number,
      tokens: number,
      x: Float32Array,
      y: GPUBuffer,
      precision: MatmulPrecision,
    ): Promise<Measured> {
      const found = new Float32Array(await readback.read(y, 0, tokens * rows * 4));
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
      assert(error <= ALLOWED[precision], `${format}, ${tokens} x [${rows}, ${columns}]: error ${error}`);
      const bytes = weightBytes + 4 * tokens * (rows + columns);
      return { ms, gflops: (2 * tokens * rows * columns) / ms / 1e6, gbPerSecond: bytes / ms / 1e6, error };
    }

    return {
      copies,
      async ours(tokens, precision) {
        const { variants } = await chooseVariants(gpu, shaders, precision);
        const setup = { gpu, shaders, recorder, placeholder, variants, maxTokens: tokens };
        const op = await openLinear(
          matrices.map((matrix) => ({ matrix })),
          setup,
        );
        const x = numbers("x", tokens * columns);
        const input = uploadedBuffer(gpu, "x", x);
        const y = storageBuffer(gpu, "y", tokens * rows * 4);
        const run = (): void => {
          for (const matrix of matrices) op.linear(input, matrix, y, tokens);
        };
        const ms = (await timed(run, () => recorder.finish())) / copies;
        const result = await measured(ms, tokens, x, y, precision);
        recorder.forget();
        input.destroy();
        y.destroy();
        return result;
      },

      async theirs(ort, ortFormat, tokens, precision) {
        const x = numbers("x", tokens * columns);
        const input = uploadedBuffer(gpu, "x", x);
        const accuracyLevel = precision === "fast" ? 4 : 0;
        const products: OrtProducts = await ort.products(weight, ortFormat, { input, tokens, copies, accuracyLevel });
        const done = (): Promise<void> => gpu.settle(gpu.device.queue.onSubmittedWorkDone());
        const ms = (await timed(() => products.run(), done)) / copies;
        const result = await measured(ms, tokens, x, products.outputs[0] ?? assert.fail("no output"), precision);
        await products.release();
        input.destroy();
        return result;
      },

      release() {
        const buffers = matrices.flatMap(({ slices }) => slices.flatMap(({ codes, scales }) => [codes, scales]));
        for (const buffer of buffers) buffer?.destroy();
      },
    };
  };
}
