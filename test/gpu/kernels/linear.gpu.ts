import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { TensorFormat } from "../../../engine/api.ts";
import { openWeightLoader } from "../../../engine/backends/wgsl/loadWeights.ts";
import { LAYOUTS } from "../../../engine/formats/layouts.ts";
import { storageBuffer } from "../../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../../engine/gpu/dispatch.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { openLinear, type LinearOperations, type Matrix, type MatrixUse } from "../../../engine/kernels/linear.ts";
import { matrixFormatOf, matrixLayouts } from "../../../engine/kernels/matrixFormats.ts";
import { plainVariants, type MatmulVariants } from "../../../engine/kernels/variants.ts";
import { alloc32, embed, gateMultiply, linear, rmsNorm } from "../../../engine/reference/ops.ts";
import { assertClose, assertSums, download, numbers, upload } from "../../support/gpuArrays.ts";
import { requireDevice } from "../../support/requireDevice.ts";
import { bytesStore, randomTensor, valuesOf, type ByteTensor } from "../../support/weightBytes.ts";

let gpu: EngineDevice;
let shaders: ShaderCache;
let recorder: Recorder;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
  recorder = openRecorder(gpu);
});
after(() => gpu.destroy());

const direct: Partial<MatmulVariants> = { matmul: "direct", matvec: "none" };
const tokenCounts = [1, 2, 5, 16, 17, 33, 64, 65];

const room = (floats: number): GPUBuffer => storageBuffer(gpu, "room", floats * 4);

function open(uses: readonly MatrixUse[], variants: Partial<MatmulVariants> = {}): Promise<LinearOperations> {
  const setup = { gpu, shaders, recorder, placeholder: room(4), variants: { ...plainVariants, ...variants }, maxTokens: 66 };
  return openLinear(uses, setup);
}

/** Tensors behind each other as one matrix, in the formats they have. */
function load(tensors: Record<string, ByteTensor>, biases?: readonly (string | undefined)[], maxBindingBytes = 2 ** 24) {
  const names = Object.keys(tensors).filter((name) => name.endsWith(".weight"));
  return openWeightLoader(gpu, bytesStore(tensors), names, { weightFormat: "file", maxBindingBytes }).matrix(names, biases);
}

async function result(buffer: GPUBuffer, floats: number): Promise<Float32Array> {
  await recorder.finish();
  return download(gpu, buffer, floats);
}

/** y = x Wᵀ, written and added, for some token counts against the values that the decoders make of the same bytes. */
async function checkLinear(op: LinearOperations, matrix: Matrix, w: Float32Array, counts: readonly number[]): Promise<void> {
  const { rows, columns } = matrix;
  for (const tokens of counts) {
    const x = numbers("x", tokens * columns);
    const y = room(tokens * rows);
    const input = upload(gpu, x);
    op.linear(input, matrix, y, tokens);
    op.linear(input, matrix, y, tokens, "add");
    const once = (await result(y, tokens * rows)).map((value) => value / 2);
    assertSums(once, x, w, columns, `${tokens} tokens, [${rows}, ${columns}]`);
  }
}

/** Rows and columns that fill no panel, no tile and, where the format has no blocks, no block. */
function oddShapes(format: TensorFormat): readonly (readonly [rows: number, columns: number])[] {
  const block = LAYOUTS[format].numbers;
  if (block === 256) return [[70, 512]];
  if (block === 32) return [[70, 160]];
  return [
    [70, 64],
    [33, 36],
    [5, 18],
  ];
}

describe("matrices of every format", () => {
  for (const format of Object.keys(LAYOUTS) as TensorFormat[]) {
    it(`${format}: products and rows are those of its decoder`, async () => {
      for (const [rows, columns] of oddShapes(format)) {
        const tensor = randomTensor("w", format, [rows, columns]);
        const values = valuesOf(tensor);
        const matrix = await load({ "w_proj.weight": tensor });
        assert.deepEqual(
          matrix.slices.map((slice) => slice.format),
          [matrixFormatOf[format]],
        );
        const op = await open([{ matrix, table: true }], direct);
        await checkLinear(op, matrix, values, tokenCounts);
        const ids = Uint32Array.of(0, rows - 1, 3, 3);
        const x = room(4 * columns);
        op.embed(upload(gpu, ids), matrix, x, 4, 3);
        const expected = embed(alloc32, values, ids, columns, 3);
        // One product and one sum per value, besides the multiplier: two units in the last place of what is added.
        assertClose(await result(x, 4 * columns), expected, 8 * 2 ** -24 * largest(Float32Array.from(expected)), "rows");
      }
    });
  }
});

describe("tiles in workgroup memory", () => {
  const cases: [format: TensorFormat, rows: number, columns: number][] = [
    ["f32", 33, 36],
    ["q4_k", 70, 512],
  ];
  for (const [format, rows, columns] of cases) {
    it(`${format} [${rows}, ${columns}]: the same products, and one token in one dispatch`, async () => {
      const tensor = randomTensor("w", format, [rows, columns]);
      const matrix = await load({ "w_proj.weight": tensor });
      await checkLinear(await open([{ matrix }]), matrix, valuesOf(tensor), tokenCounts);
    });
  }
});

describe("slices", () => {
  it("tensors of several formats, with biases, in bindings of 9 KiB", async () => {
    const tensors = {
      "q_proj.weight": randomTensor("q", "q4_k", [40, 256]),
      "k_proj.weight": randomTensor("k", "q4_k", [37, 256]),
      "v_proj.weight": randomTensor("v", "q6_k", [9, 256]),
      "v_proj.bias": randomTensor("b", "f32", [9]),
    };
    const matrix = await load(tensors, [undefined, undefined, "v_proj.bias"], 9 * 2 ** 10);
    assert.deepEqual(
      matrix.slices.map(({ format, rowStart, rows }) => [format, rowStart, rows]),
      [
        ["q4_k", 0, 64],
        ["q4_k", 64, 13],
        ["q6_k", 77, 9],
      ],
      "a slice crosses from one tensor into the next where the format is the same",
    );
    const op = await open([{ matrix, table: true }], direct);
    const w = ["q", "k", "v"].flatMap((name) => [...valuesOf(tensors[`${name}_proj.weight` as keyof typeof tensors])]);
    const bias = Float32Array.from([...new Float32Array(77), ...valuesOf(tensors["v_proj.bias"])]);
    for (const tokens of [1, 3]) {
      const x = numbers("x", tokens * 256);
      const y = room(tokens * 86);
      op.linear(upload(gpu, x), matrix, y, tokens);
      const found = await result(y, tokens * 86);
      assertSums(
        found.map((value, i) => value - bias[i % 86]),
        x,
        Float32Array.from(w),
        256,
        `${tokens} tokens`,
      );
    }
    const x = room(3 * 256);
    op.embed(upload(gpu, Uint32Array.of(85, 0, 64)), matrix, x, 3, 1);
    assertClose(await result(x, 768), embed(alloc32, Float32Array.from(w), [85, 0, 64], 256, 1), 1e-5, "rows");
  });
});

describe("loading", () => {
  const names = ["w_proj.weight", "norm.weight"];
  const tensors = {
    "w_proj.weight": randomTensor("w", "f32", [5100, 1024]),
    "norm.weight": randomTensor("n", "bf16", [64]),
  };

  it("a large matrix goes through in bounded pieces, and progress ends at the bytes of the file", async () => {
    const store = bytesStore(tensors);
    const seen: [number, number][] = [];
    const loader = openWeightLoader(gpu, store, names, {
      ...{ weightFormat: "file", maxBindingBytes: 2 ** 27 },
      onProgress: (done, total) => seen.push([done, total]),
    });
    const matrix = await loader.matrix(["w_proj.weight"]);
    const norm = await loader.vector("norm.weight", 1);
    assert.equal(matrix.slices.length, 1);
    assert(store.largestRead() <= 16 * 2 ** 20 && store.largestRead() > 2 ** 20, `${store.largestRead()} bytes at once`);
    const total = 5100 * 1024 * 4 + 128;
    assert.deepEqual(seen.at(-1), [total, total]);
    assert(seen.length > 2);
    // Whole panels of 32 rows, and the vector in f32.
    assert.equal(loader.deviceBytes(), 5120 * 1024 * 4 + 256);
    const op = await open([{ matrix, table: true }], direct);
    const ids = Uint32Array.of(0, 4095, 4096, 5099);
    const x = room(4 * 1024);
    op.embed(upload(gpu, ids), matrix, x, 4, 1);
    assertClose(await result(x, 4096), embed(alloc32, valuesOf(tensors["w_proj.weight"]), ids, 1024, 1), 0, "rows");
    const values = valuesOf(tensors["norm.weight"]).map((value) => value + 1);
    assertClose(await result(norm, 64), values, 0, "the vector, with what is added to it");
  });

  it("stops between pieces", async () => {
    const stop = new AbortController();
    const options = { weightFormat: "file" as const, maxBindingBytes: 2 ** 27, signal: stop.signal };
    const loader = openWeightLoader(gpu, bytesStore(tensors), names, { ...options, onProgress: () => stop.abort() });
    await assert.rejects(loader.matrix(["w_proj.weight"]), { code: "aborted" });
    assert(loader.deviceBytes() > 0);
  });

  it("a matrix whose panel cannot be bound is refused, with what to do", async () => {
    const wide = { "w_proj.weight": randomTensor("w", "f32", [1, 2 ** 20]) };
    const small = { ...gpu, maxBufferBytes: 2 ** 20 };
    const options = { weightFormat: "file" as const, maxBindingBytes: 2 ** 20 };
    const loader = openWeightLoader(small, bytesStore(wide), ["w_proj.weight"], options);
    await assert.rejects(loader.matrix(["w_proj.weight"]), { code: "limit-exceeded" });
  });
});

describe("one token with its neighbours", () => {
  const eps = 1e-5;
  // Blocks that fill and do not fill; offsets; norms; either activation; every way of adding the parts that this device has.
  for (const matvec of ["none", "shared"] as const) {
    for (const [format, columns, gate] of [
      ["q4_k", 512, "silu"],
      ["f32", 44, "gelu_tanh"],
    ] as const) {
      it(`${format} ${matvec}: norm before, ${gate} behind, added to what is there`, async () => {
        const tensor = randomTensor("w", format, [70, columns]);
        const bias = randomTensor("b", "f32", [70]);
        const matrix = await load({ "w_proj.weight": tensor, "w_proj.bias": bias }, ["w_proj.bias"]);
        const op = await open(
          [
            { matrix, norm: true, gate },
            { matrix, norm: true },
            { matrix, gate },
          ],
          { matvec, matmul: "direct" },
        );
        const x = numbers("x", columns).map((value) => 3 * value);
        const gain = numbers("gain", columns);
        const [input, norm] = [upload(gpu, x), { gain: upload(gpu, gain), eps }];
        const y = room(70);
        const product = (input: ArrayLike<number>): Float32Array =>
          Float32Array.from(linear(alloc32, Float32Array.from(input), valuesOf(tensor), valuesOf(bias), columns));
        const normed = product(rmsNorm(alloc32, x, gain, eps));
        const plain = product(x);
        // f32 sums of numbers up to the largest of these; a few hundred roundings each.
        const tolerance = 256 * 2 ** -24 * largest(plain, normed);

        op.linearToken(input, matrix, y, { norm });
        assertClose(await result(y, 70), normed, tolerance, "normed");
        op.linearToken(input, matrix, y, { norm, mode: "add" });
        const twice = normed.map((value) => 2 * value);
        assertClose(await result(y, 70), twice, 2 * tolerance, "normed and added");

        assert(op.canGate(matrix));
        const gated = (both: Float32Array) => gateMultiply(alloc32, gate, both.slice(0, 35), both.slice(35));
        op.linearToken(input, matrix, y, { norm, gate });
        // Both factors may be off; exp of a GPU is good to a few units in the last place.
        assertClose(await result(y, 35), gated(normed), 3 * largest(normed) * tolerance, "normed and gated");
        op.linearToken(input, matrix, y, { gate });
        assertClose(await result(y, 35), gated(plain), 3 * largest(plain) * tolerance, "gated");
      });
    }
  }

  it("gates in several slices are refused", async () => {
    const matrix = await load({ "w_proj.weight": randomTensor("w", "f32", [70, 64]) }, undefined, 8192);
    assert(matrix.slices.length > 1);
    const op = await open([{ matrix }], direct);
    assert.equal(op.canGate(matrix), false);
    assert.throws(() => op.linearToken(room(64), matrix, room(70), { gate: "silu" }), RangeError);
  });
});

describe("products of integers", () => {
  const formats = (Object.keys(LAYOUTS) as TensorFormat[]).filter(
    (format) => matrixLayouts[matrixFormatOf[format]].integers && format !== "iq4_nl",
  );
  it("exist for the formats whose scales are those of whole blocks", () => {
    assert.deepEqual(formats, ["q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "affine4"]);
  });

  for (const format of formats) {
    // Tiles take seconds to compile on a software adapter; the codes they read are those of the other kernel.
    const tokenCounts = format === "q4_0" || format === "q5_k" ? [1, 7, 66] : [1];
    it(`${format}: exact for inputs rounded to 8 bits (${tokenCounts.join(" and ")} tokens)`, async () => {
      const columns = LAYOUTS[format].numbers === 256 ? 512 : 96;
      const tensor = randomTensor("w", format, [70, columns]);
      const matrix = await load({ "w_proj.weight": tensor });
      const op = await open([{ matrix, norm: true }], { ...direct, integers: true });
      for (const tokens of tokenCounts) {
        const x = numbers("x", tokens * columns);
        const y = room(tokens * 70);
        op.linear(upload(gpu, x), matrix, y, tokens);
        assertSums(await result(y, tokens * 70), roundedTo8(x), valuesOf(tensor), columns, `${tokens} tokens`);
      }
      const [x, gain] = [numbers("x", columns), numbers("gain", columns)];
      const y = room(70);
      op.linearToken(upload(gpu, x), matrix, y, { norm: { gain: upload(gpu, gain), eps: 1e-5 } });
      const factor = rmsNorm(alloc32, x, new Float32Array(columns).fill(1), 1e-5)[0] / x[0];
      const rounded = roundedTo8(x.map((value, i) => value * gain[i])).map((value) => value * factor);
      assertSums(await result(y, 70), rounded, valuesOf(tensor), columns, "normed");
    });
  }
});

function largest(...arrays: Float32Array[]): number {
  return Math.max(1, ...arrays.map((values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)));
}

/** Every value as code · scale with scale = max / 127 of its 32 and a whole code, in f32 as the kernel computes. */
function roundedTo8(x: Float32Array): Float32Array<ArrayBuffer> {
  return Float32Array.from(x, (value, index) => {
    const start = index - (index % 32);
    const step = Math.fround(x.subarray(start, start + 32).reduce((most, each) => Math.max(most, Math.abs(each)), 0) / 127);
    return Math.round(Math.fround(value * Math.fround(1 / step))) * step;
  });
}
