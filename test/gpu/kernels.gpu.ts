import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { DecoderSpec, WeightFormat } from "../../engine/api.ts";
import { loadMatrix, type Loader } from "../../engine/backends/wgsl/loadWeights.ts";
import { dequantizeQ8, quantizeQ8 } from "../../engine/formats/q8.ts";
import { storageBuffer } from "../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../engine/gpu/dispatch.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { matvecFloats } from "../../engine/kernels/linear.ts";
import { openOperations, type Operations } from "../../engine/kernels/ops.ts";
import { alloc32, embed, linear } from "../../engine/reference/ops.ts";
import { assertClose, download, numbers, upload } from "../support/gpuArrays.ts";
import { randomModel, storeOf } from "../support/goldenModels.ts";
import { requireDevice } from "../support/requireDevice.ts";

/** f32 sums of up to a few hundred products of numbers near one, in another order than the reference's. */
const TOLERANCE = 2e-5;

let gpu: EngineDevice;
let shaders: ShaderCache;
let recorder: Recorder;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
  recorder = openRecorder(gpu);
});
after(() => gpu.destroy());

async function operations(
  overrides: Partial<DecoderSpec>,
  format: WeightFormat = "f32",
): Promise<{ op: Operations; spec: DecoderSpec }> {
  const { spec } = randomModel(overrides);
  const scratch = {
    placeholder: storageBuffer(gpu, "placeholder", 16),
    parts: storageBuffer(gpu, "parts", matvecFloats(4096) * 4),
    slopes: storageBuffer(gpu, "slopes", spec.headCount * 4),
  };
  return { spec, op: await openOperations(spec, format, shaders, recorder, scratch) };
}

const room = (floats: number): GPUBuffer => storageBuffer(gpu, "room", floats * 4);

async function result(buffer: GPUBuffer, floats: number): Promise<Float32Array> {
  await recorder.finish();
  return download(gpu, buffer, floats);
}

function loader(
  tensors: Record<string, { shape: number[]; values: Float32Array }>,
  weightFormat: WeightFormat,
  maxBindingBytes: number,
): Loader {
  const store = storeOf(new Map(Object.entries(tensors)));
  return {
    gpu,
    options: { weightFormat, maxBindingBytes },
    read: (name, start, end) => store.readRows(name, start, end),
    shape: (name) => store.shape(name),
  };
}

describe("linear", () => {
  // Columns, rows, tokens: one token, a few, tiles not filled, rows odd; and slices of as little as eight rows.
  const cases: [columns: number, rows: number, tokens: number, maxBindingBytes: number][] = [
    [32, 16, 1, 2 ** 20],
    [64, 151, 1, 4096],
    [48, 40, 3, 2 ** 20],
    [64, 151, 65, 4096],
    [96, 70, 9, 1],
  ];
  for (const format of ["f32", "q8_0"] as const) {
    for (const [columns, rows, tokens, maxBindingBytes] of cases) {
      it(`${format}: [${tokens}, ${columns}] x [${rows}, ${columns}], ${maxBindingBytes} bytes per binding`, async () => {
        const { op } = await operations({}, format);
        const first = { shape: [rows, columns], values: numbers("w1", rows * columns) };
        const second = { shape: [8, columns], values: numbers("w2", 8 * columns) };
        const bias = { shape: [8], values: numbers("b2", 8) };
        const tensors = { "a_proj.weight": first, "b_proj.weight": second, "b_proj.bias": bias };
        const matrix = await loadMatrix(
          loader(tensors, format, maxBindingBytes),
          ["a_proj.weight", "b_proj.weight"],
          [undefined, "b_proj.bias"],
        );
        if (maxBindingBytes < rows * columns * 4) assert(matrix.slices.length > 1, "the matrix is split");
        const x = numbers("x", tokens * columns);
        const y = room(tokens * (rows + 8));
        const input = upload(gpu, x);
        op.linear(input, matrix, y, tokens);
        op.linear(input, matrix, y, tokens, "add");
        const joined = Float32Array.from([...first.values, ...second.values]);
        const canQuantize = format === "q8_0" && columns % 32 === 0;
        const stored = canQuantize ? dequantizeQ8(quantizeQ8(joined, columns)) : joined;
        const once = linear(alloc32, x, stored, Float32Array.from([...new Float32Array(rows), ...bias.values]), columns);
        assertClose(
          await result(y, once.length),
          once.map((value) => 2 * value),
          TOLERANCE,
          "written, then added",
        );
      });
    }
  }
});

describe("embed", () => {
  for (const format of ["f32", "q8_0"] as const) {
    it(`${format}: a table in several slices, times the multiplier`, async () => {
      const { op, spec } = await operations({ vocabSize: 37, hiddenSize: 32, embeddingMultiplier: 16 }, format);
      const table = numbers("table", 37 * 32);
      const name = "model.embed_tokens.weight";
      const matrix = await loadMatrix(loader({ [name]: { shape: [37, 32], values: table } }, format, 1), [name], []);
      assert.equal(matrix.slices.length, 5);
      const ids = Uint32Array.of(0, 36, 7, 8, 8, 31);
      const x = room(ids.length * 32);
      op.embed(upload(gpu, ids), matrix, x, ids.length);
      const stored = format === "q8_0" ? dequantizeQ8(quantizeQ8(table, 32)) : table;
      // One product per value.
      assertClose(await result(x, ids.length * 32), embed(alloc32, stored, ids, 32, spec.embeddingMultiplier), 1e-6, "rows");
    });
  }
});
