import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { PAGE_TOKENS, type ModelSpec, type WeightFormat } from "../../engine/api.ts";
import { loadMatrix, type Loader } from "../../engine/backends/wgsl/loadWeights.ts";
import { dequantizeQ8, quantizeQ8 } from "../../engine/formats/q8.ts";
import { storageBuffer } from "../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../engine/gpu/dispatch.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { matvecFloats } from "../../engine/kernels/linear.ts";
import { MAX_SPLITS, openOperations, splitKeys, type Operations } from "../../engine/kernels/ops.ts";
import { rotateHeads, rotation } from "../../engine/position/rope.ts";
import { ropeBase, ropeTable } from "../../engine/position/scaling.ts";
import { alloc32, attention, embed, keyShift, linear, rmsNorm, siluMultiply } from "../../engine/reference/ops.ts";
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
  overrides: Partial<ModelSpec>,
  format: WeightFormat = "f32",
): Promise<{ op: Operations; spec: ModelSpec }> {
  const { spec } = randomModel(overrides);
  const scratch = {
    placeholder: storageBuffer(gpu, "placeholder", 16),
    parts: storageBuffer(gpu, "parts", matvecFloats(4096) * 4),
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

describe("elementwise kernels", () => {
  it("rms_norm: rows from an offset, a width that is no multiple of the workgroup's", async () => {
    const { op, spec } = await operations({ hiddenSize: 140 });
    const x = numbers("x", 5 * 140);
    const weight = numbers("weight", 140);
    const y = room(3 * 140);
    op.rmsNorm(upload(gpu, x), upload(gpu, weight), y, 3, 2);
    assertClose(
      await result(y, 3 * 140),
      rmsNorm(alloc32, x.slice(2 * 140), weight, spec.rmsNormEps),
      1e-5,
      "normed rows, as f32 allows",
    );
  });

  it("silu_mul: gate and up of each token", async () => {
    const { op } = await operations({ intermediateSize: 52 });
    const gateUp = numbers("gateUp", 3 * 104).map((value) => 8 * value);
    const y = room(3 * 52);
    op.siluMul(upload(gpu, gateUp), y, 3);
    const rows = (offset: number) =>
      Float32Array.from({ length: 156 }, (_, i) => gateUp[Math.floor(i / 52) * 104 + offset + (i % 52)]);
    // exp of a GPU is good to a few units in the last place of values up to 64.
    assertClose(await result(y, 156), siluMultiply(alloc32, rows(0), rows(52)), 1e-4, "products");
  });

  it("qk_norm and rope_apply touch queries and keys only; partial rotary leaves the rest of the head", async () => {
    const { op, spec } = await operations({ headDim: 24, rotaryDim: 16, headCount: 6, kvHeadCount: 3, qkNorm: true });
    const tokens = 5;
    const qkv = numbers("qkv", tokens * 12 * 24);
    const queryNorm = numbers("qn", 24);
    const keyNorm = numbers("kn", 24);
    const turn = rotation(ropeTable(spec.rope, ropeBase(spec), 64), 11, tokens);
    const pairs = Float32Array.from({ length: 2 * turn.cos.length }, (_, i) => (i % 2 === 0 ? turn.cos : turn.sin)[i >> 1]);
    const buffer = upload(gpu, qkv);
    op.qkNorm(buffer, upload(gpu, queryNorm), upload(gpu, keyNorm), tokens);
    op.rope(buffer, upload(gpu, pairs), tokens);
    const expected = qkv.slice();
    for (let token = 0; token < tokens; token++) {
      const row = expected.subarray(token * 288, (token + 1) * 288);
      row.set(rmsNorm(alloc32, row.slice(0, 144), queryNorm, spec.rmsNormEps));
      row.set(rmsNorm(alloc32, row.slice(144, 216), keyNorm, spec.rmsNormEps), 144);
      const own = { cos: turn.cos.slice(token * 8, token * 8 + 8), sin: turn.sin.slice(token * 8, token * 8 + 8), pairs: 8 };
      rotateHeads(row.subarray(0, 216), 9, 24, own);
    }
    assertClose(await result(buffer, qkv.length), expected, TOLERANCE, "rotated");
  });

  it("key_shift: chunks that end in the middle, at and behind page borders go on where the last one stopped", async () => {
    const { op } = await operations({ headDim: 8, headCount: 4, kvHeadCount: 2, keyShift: true });
    const total = 41;
    const qkv = numbers("qkv", total * 64);
    const gate = numbers("gate", 16);
    const tails = room(4 * 16);
    const raw = Float32Array.from({ length: total * 16 }, (_, i) => qkv[Math.floor(i / 16) * 64 + 32 + (i % 16)]);
    const expected = keyShift(alloc32, raw, new Float32Array(16), gate);
    const gateBuffer = upload(gpu, gate);
    let start = 0;
    for (const tokens of [1, 4, 11, 17, 8]) {
      const buffer = upload(gpu, qkv.slice(start * 64, (start + tokens) * 64));
      op.keyShift(buffer, gateBuffer, tails, { start, tokens });
      const chunk = await result(buffer, tokens * 64);
      const keys = Float32Array.from({ length: tokens * 16 }, (_, i) => chunk[Math.floor(i / 16) * 64 + 32 + (i % 16)]);
      assertClose(keys, expected.slice(start * 16, (start + tokens) * 16), 1e-6, `keys from ${start}, one mix per value`);
      start += tokens;
    }
  });
});

describe("attention", () => {
  const shapes: [headDim: number, headCount: number, kvHeadCount: number][] = [
    [8, 4, 2],
    [64, 4, 1],
    [80, 3, 3],
    [96, 6, 2],
    [128, 2, 1],
  ];
  for (const [headDim, headCount, kvHeadCount] of shapes) {
    it(`D=${headDim} H=${headCount} G=${kvHeadCount}: chunks and single tokens equal the reference, through scattered pages`, async () => {
      const { op, spec } = await operations({ headDim, rotaryDim: headDim, headCount, kvHeadCount });
      const total = 75;
      const row = (headCount + 2 * kvHeadCount) * headDim;
      const qkv = numbers("qkv", total * row).map((value) => 2 * value);
      const part = (heads: number, offset: number) =>
        Float32Array.from({ length: total * heads * headDim }, (_, i) => {
          const width = heads * headDim;
          return qkv[Math.floor(i / width) * row + offset * headDim + (i % width)];
        });
      const expected = attention(
        alloc32,
        part(headCount, 0),
        part(kvHeadCount, headCount),
        part(kvHeadCount, headCount + kvHeadCount),
        spec,
        0,
      );
      const cells = 8 * PAGE_TOKENS * kvHeadCount * headDim;
      const layer = { pages: upload(gpu, Uint32Array.of(6, 1, 7, 0, 3, 2, 5, 4)), keys: room(cells), values: room(cells) };
      const width = headCount * headDim;
      const out = room(total * width);
      const lse = room(total * headCount);
      const queries = room(total * width);
      const parts = { out: room(MAX_SPLITS * width), lse: room(MAX_SPLITS * headCount) };
      const outputs: number[] = [];
      let start = 0;
      for (const tokens of [1, 3, 30, 1, 39, 1]) {
        const buffer = upload(gpu, qkv.slice(start * row, (start + tokens) * row));
        op.kvWrite(buffer, layer, queries, { start, tokens });
        if (tokens === 1) op.attendDecode(buffer, layer, parts, out, lse, start);
        else op.attendPrefill(buffer, layer, out, lse, { start, tokens });
        outputs.push(...(await result(out, tokens * width)));
        start += tokens;
      }
      assert.equal(start, total);
      assertClose(Float32Array.from(outputs), expected, TOLERANCE, "outputs");
      assertClose(await result(queries, total * width), part(headCount, 0), 0, "kept queries");
      assertClose(
        await result(lse, total * headCount),
        denominators(part(headCount, 0), part(kvHeadCount, headCount), spec),
        TOLERANCE,
        "denominators",
      );
    });
  }

  it("split-K ranges cover all keys once", () => {
    for (const keys of [1, 63, 64, 65, 4096, 4097, 100000]) {
      const { splits, keysPerSplit } = splitKeys(keys);
      assert(splits <= MAX_SPLITS && splits * keysPerSplit >= keys && (splits - 1) * keysPerSplit < keys);
    }
  });
});

/** log of the sum of exp(q . k / sqrt(D)) over visible keys, [T, H]. */
function denominators(q: Float32Array, k: Float32Array, { headCount, kvHeadCount, headDim }: ModelSpec): Float32Array {
  const tokens = q.length / (headCount * headDim);
  return Float32Array.from({ length: tokens * headCount }, (_, index) => {
    const token = Math.floor(index / headCount);
    const kvHead = Math.floor(((index % headCount) * kvHeadCount) / headCount);
    let sum = 0;
    for (let key = 0; key <= token; key++) {
      let dot = 0;
      for (let i = 0; i < headDim; i++) dot += q[index * headDim + i] * k[(key * kvHeadCount + kvHead) * headDim + i];
      sum += Math.exp(dot / Math.sqrt(headDim));
    }
    return Math.log(sum);
  });
}
