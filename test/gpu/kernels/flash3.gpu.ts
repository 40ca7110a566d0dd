/** flash3: tiles of 8 bits, Hadamard turns and the pipelined kernel against the plain loops with the same rounding. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Band, DecoderSpec, PositionPlan, Runner } from "../../../engine/api.ts";
import { attend } from "../../../engine/attention/attend.ts";
import { openChunkPositions } from "../../../engine/attention/chunkPositions.ts";
import { cacheTiles } from "../../../engine/attention/flash3.ts";
import { chooseFlash3, tryProducts } from "../../../engine/attention/flash3Choice.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { openRunnerOn } from "../../../engine/backends/wgsl.ts";
import type { GpuDecoderOptions } from "../../../engine/backends/wgsl/decoderRunner.ts";
import { storageBuffer, uploadedBuffer } from "../../../engine/gpu/buffers.ts";
import { openDevice, type EngineDevice, type MatrixUnit } from "../../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../../engine/gpu/dispatch.ts";
import { finalText, openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { attnFlash3, unitConsts, unitFor } from "../../../engine/kernels/attn_flash3.ts";
import { rowConstsOf } from "../../../engine/kernels/cachedRows.ts";
import { openFlash3, type Flash3Ingredients } from "../../../engine/kernels/flash3Ops.ts";
import { openLinear } from "../../../engine/kernels/linear.ts";
import { openOperations, type Operations } from "../../../engine/kernels/ops.ts";
import { plainVariants } from "../../../engine/kernels/variants.ts";
import { openOpenTiles } from "../../../engine/kv-cache/openTiles.ts";
import { openPagedCache } from "../../../engine/kv-cache/pages.ts";
import { openAttentionActivations } from "../../../engine/models/decoder.ts";
import { alibiSlopes } from "../../../engine/position/alibi.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { attention } from "../../../engine/reference/attend.ts";
import { flash3Attention, hadamardRows, roundTiles } from "../../../engine/reference/flash3.ts";
import { alloc32 } from "../../../engine/reference/ops.ts";
import { assertClose, download, numbers, upload } from "../../support/gpuArrays.ts";
import { randomModel } from "../../support/goldenModels.ts";
import { requireGpu, type TestGpu } from "../../support/requireDevice.ts";

/** Chunks that end in the middle of tiles, at and behind borders of tiles, pages and slabs, with single tokens between. */
const CHUNKS = [1, 3, 60, 1, 191, 1, 70] as const;
/**
 * The device may round to either neighbour where a quotient lies between two codes: one code of 127 more or less of a few numbers, in means
 * over a few keys.
 */
const TOLERANCE = 1e-3;

const all: Flash3Ingredients = { pipelined: true, eightBits: true, hadamard: true, integers: false };

let entry: TestGpu;
let gpu: EngineDevice;
let shaders: ShaderCache;
let recorder: Recorder;
/** Those of any model: of them flash3 keeps what has nothing to do with keys. */
let plain: Operations;
before(async () => {
  entry = await requireGpu();
  gpu = await openDevice(entry.gpu, entry);
  shaders = openShaderCache(gpu);
  recorder = openRecorder(gpu);
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const linear = await openLinear([], { gpu, shaders, recorder, placeholder, variants: plainVariants, maxTokens: 1 });
  const scratch = { placeholder, slopes: placeholder, formats: F32_CACHE };
  plain = await openOperations(randomModel().spec, linear, shaders, recorder, scratch);
});
after(() => gpu.destroy());

interface Case {
  headDim: number;
  headCount: number;
  kvHeadCount: number;
  ingredients?: Flash3Ingredients;
  change?: Partial<DecoderSpec>;
  bands?: readonly Pick<Band, "keys">[];
  chunks?: readonly number[];
  /** Multiplies keys by channel. */
  keyScale?: (channel: number) => number;
}

const causal: Pick<Band, "keys"> = { keys: (position) => [0, position + 1] };
const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

/** Outputs [T, H, D] of the kernels, of the plain loops with the same rounding, and of exact attention; and the cached tiles as words. */
async function threeWays(given: Case) {
  const { headDim, headCount, kvHeadCount, ingredients = all, change = {}, bands: keysOf = [causal], chunks = CHUNKS } = given;
  const total = sum(chunks);
  const layers = [{ window: undefined, rotation: "none" as const }];
  const { spec } = randomModel({ headDim, headCount, kvHeadCount, layers, layerCount: 1, rotaryDim: 0, ...change });
  const same = (position: number): number => position;
  const bands = keysOf.map((band) => ({ ...band, queryPosition: same, copy: 0 }));
  const table = { invFreq: new Float64Array(0), attentionFactor: 1, key: "test" };
  const plan: PositionPlan = { key: "test", table, bands, copies: [same], queryScale: () => 1, everyLayer: true };
  const row = (headCount + 2 * kvHeadCount) * headDim;
  const firstKey = headCount * headDim;
  const lastKey = firstKey + kvHeadCount * headDim;
  const qkv = numbers("qkv", total * row).map((value, index) => {
    const at = index % row;
    return 2 * value * (at >= firstKey && at < lastKey ? (given.keyScale?.((at - firstKey) % headDim) ?? 1) : 1);
  });

  const slopes = spec.alibi === undefined ? new Float32Array(headCount) : Float32Array.from(alibiSlopes(headCount, 8));
  const setup = { gpu, shaders, recorder, slopes: uploadedBuffer(gpu, "slopes", slopes), maxTokens: 512, ingredients };
  const op = await openFlash3(plain, spec, setup);
  const sizes = { capacityTokens: total, chunkTokens: 512, maxBindingBytes: gpu.maxBufferBytes, slabPages: 1 };
  const choice = ingredients.eightBits ? parseAttention("flash3") : WHOLE;
  const cache = openPagedCache({ spec, gpu, formats: F32_CACHE, choice, ...sizes });
  await cache.reserve(total);
  const open = await openOpenTiles(spec, gpu, 1);
  const positions = openChunkPositions(spec, gpu, cache, 512);
  positions.setPlan(plan);
  const activations = openAttentionActivations(spec, gpu, bands.length, 512);
  const width = headCount * headDim;
  const out = storageBuffer(gpu, "out", total * width * 4);
  const part = (heads: number, offset: number, from: number, to: number): Float32Array => {
    const wide = heads * headDim;
    const cell = (i: number): number => (from + Math.floor(i / wide)) * row + offset * headDim + (i % wide);
    return Float32Array.from({ length: (to - from) * wide }, (_, i) => qkv[cell(i)]);
  };

  const [outputs, expected, exact] = [1, 2, 3].map(() => new Float32Array(total * width));
  let start = 0;
  for (const tokens of chunks) {
    const end = start + tokens;
    const chunk = { qkv: upload(gpu, qkv.slice(start * row, end * row)), rotated: activations.rotated };
    positions.write(start, tokens, undefined);
    recorder.forget();
    const span = { start, tokens };
    cacheTiles(op, chunk, cache.layer(0), open.layer(0), positions.layer(0), span);
    const into = { out, lse: activations.lse, parts: activations.parts };
    attend(op, chunk, cache.layer(0), positions.layer(0), into, span);
    await recorder.finish();
    outputs.set(await download(gpu, out, tokens * width), start * width);
    cache.advance(tokens);

    const scored = {
      queries: bands.map(() => part(headCount, 0, start, end)),
      keys: [part(kvHeadCount, headCount, 0, end)],
      bands,
    };
    const values = part(kvHeadCount, headCount + kvHeadCount, 0, end);
    // One token is decoded, with its query as it is.
    const rounding = {
      ...ingredients,
      integers: ingredients.integers && tokens > 1,
      halves: ingredients.matrices !== undefined && tokens > 1,
    };
    expected.set(flash3Attention(alloc32, scored, values, spec, start, rounding), start * width);
    exact.set(attention(alloc32, scored, values, spec, start), start * width);
    start = end;
  }
  const slab = cache.layer(0).slabs[0];
  const cached = await download(gpu, slab.keys[0], slab.keys[0].size / 4);
  return { outputs, expected, exact, cached: new Uint32Array(cached.buffer) };
}

async function check(given: Case, tolerance = TOLERANCE): Promise<void> {
  const { outputs, expected, exact } = await threeWays(given);
  assertClose(outputs, expected, tolerance, "outputs");
  const off = outputs.some((value, index) => Math.abs(value - exact[index]) > 1e-4);
  assert.equal(off, given.ingredients?.eightBits ?? true, "8 bits are not exact, all else is");
}

function relativeError(found: Float32Array, exact: Float32Array): number {
  let [errors, squares] = [0, 0];
  for (let i = 0; i < exact.length; i++) {
    errors += (found[i] - exact[i]) ** 2;
    squares += exact[i] ** 2;
  }
  return Math.sqrt(errors / squares);
}

describe("flash3 equals the plain loops with the same rounding", () => {
  const shapes: [what: string, shape: Case][] = [
    ["64 channels, two to one", { headDim: 64, headCount: 4, kvHeadCount: 2 }],
    ["80 channels, two to one", { headDim: 80, headCount: 2, kvHeadCount: 1 }],
    ["96 channels, three to one", { headDim: 96, headCount: 3, kvHeadCount: 1 }],
    ["128 channels, one key head", { headDim: 128, headCount: 4, kvHeadCount: 1 }],
    ["256 channels, a key head each", { headDim: 256, headCount: 2, kvHeadCount: 2 }],
    ["a softcap", { headDim: 16, headCount: 4, kvHeadCount: 2, change: { attentionSoftcap: 2, attentionScale: 0.4 } }],
    ["ALiBi", { headDim: 16, headCount: 4, kvHeadCount: 2, change: { alibi: { maxBias: 8 } } }],
    ["a window", { headDim: 16, headCount: 4, kvHeadCount: 2, bands: [{ keys: (at) => [Math.max(0, at - 20), at + 1] }] }],
  ];
  for (const [what, shape] of shapes) it(what, () => check(shape));

  it("two bands, one of them without keys for the first queries", async () => {
    const bands: Pick<Band, "keys">[] = [
      { keys: (at) => [Math.max(0, at - 90), at + 1] },
      { keys: (at) => [0, Math.max(0, at - 90)] },
    ];
    await check({ headDim: 16, headCount: 4, kvHeadCount: 2, bands });
  });
});

describe("ingredients", () => {
  const shape = { headDim: 64, headCount: 4, kvHeadCount: 2 };

  it("without pipelining: the same numbers in another order of work", async () => {
    const { outputs } = await threeWays(shape);
    const { outputs: plain } = await threeWays({ ...shape, ingredients: { ...all, pipelined: false } });
    assert.deepEqual(plain, outputs);
  });

  it("without 8 bits it is exact, turned or not", async () => {
    const ingredients = { ...all, eightBits: false };
    await check({ ...shape, ingredients }, 2e-5);
    await check({ ...shape, ingredients: { ...ingredients, hadamard: false, pipelined: false } }, 2e-5);
  });

  it("without a turn keys are rounded as they are", () => check({ ...shape, ingredients: { ...all, hadamard: false } }));

  it("products of integers round queries too, where WGSL has them", async (t) => {
    const ingredients = { ...all, integers: true };
    // The ability of the device is hidden where the least limits are asked for; the language has it all the same.
    if (!entry.gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product")) {
      t.diagnostic("WGSL has no products of packed integers here: the kernel is refused");
      await assert.rejects(threeWays({ ...shape, ingredients }), { code: "internal" });
      return;
    }
    for (const each of [shape, { headDim: 80, headCount: 2, kvHeadCount: 1 }]) await check({ ...each, ingredients });
  });

  it("products by matrix units round queries to binary16; loops compute what the units do", async () => {
    const ingredients = { ...all, matrices: "loops" as const };
    for (const each of [
      { headDim: 40, headCount: 4, kvHeadCount: 2 },
      { headDim: 16, headCount: 3, kvHeadCount: 1, change: { attentionSoftcap: 2, attentionScale: 0.4 } },
    ]) {
      await check({ ...each, ingredients });
      await check({ ...each, ingredients: { ...ingredients, pipelined: false, hadamard: false } });
    }
    const narrow = { headDim: 40, headCount: 4, kvHeadCount: 2 };
    const { outputs } = await threeWays({ ...narrow, ingredients });
    const { outputs: floats } = await threeWays(narrow);
    assert.notDeepEqual(outputs, floats, "queries were rounded");
  });

  it("refuses what does not go together", async () => {
    for (const wrong of [{ integers: true }, { eightBits: false }]) {
      const ingredients = { ...all, matrices: "loops" as const, ...wrong };
      await assert.rejects(threeWays({ headDim: 16, headCount: 2, kvHeadCount: 1, ingredients }), { code: "bad-argument" });
    }
    await assert.rejects(threeWays({ ...shape, ingredients: { ...all, eightBits: false, integers: true } }), {
      code: "bad-argument",
    });
    await assert.rejects(threeWays({ ...shape, headDim: 128, ingredients: { ...all, eightBits: false } }), {
      code: "bad-argument",
    });
  });

  for (const headDim of [64, 80, 96]) {
    it(`a turn spreads outliers of keys of ${headDim} channels: less is lost to the common scale`, async () => {
      const outliers = {
        headDim,
        headCount: headDim === 96 ? 3 : 2,
        kvHeadCount: 1,
        keyScale: (channel: number) => (channel === 5 ? 20 : 1),
      };
      const errors: number[] = [];
      for (const hadamard of [true, false]) {
        const { outputs, exact } = await threeWays({ ...outliers, ingredients: { ...all, hadamard } });
        errors.push(relativeError(outputs, exact));
      }
      // One channel 20 times as large as the others takes 20 of the 127 steps without; spread over 16 channels, five.
      assert(errors[0] < 0.6 * errors[1], `${errors[0]} turned, ${errors[1]} as they are`);
    });
  }
});

describe("tiles", () => {
  it("full tiles are the same in whatever chunks their keys came, to the bit", async () => {
    const shape = { headDim: 16, headCount: 4, kvHeadCount: 2 };
    const whole = await threeWays({ ...shape, chunks: [256] });
    const single = await threeWays({ ...shape, chunks: Array.from({ length: 256 }, () => 1) });
    const mixed = await threeWays({ ...shape, chunks: [5, 64, 60, 1, 126] });
    assert.deepEqual(single.cached, whole.cached);
    assert.deepEqual(mixed.cached, whole.cached);
    // What differs is the rounding of tiles that were not full: two roundings of keys and values near one at 1/127.
    assertClose(mixed.outputs, whole.outputs, 0.05, "outputs");
  });

  it("round with one scale for each tile and head", () => {
    const rows = numbers("rows", 130 * 2 * 8);
    const rounded = roundTiles(rows, 2, 8);
    const distinct = new Set(
      Array.from(rounded.subarray(0, 64 * 16))
        .filter((_, i) => i % 16 < 8)
        .map(Math.abs),
    );
    const step = Math.max(...distinct) / 127;
    for (const value of distinct) assert(Math.abs(value / step - Math.round(value / step)) < 1e-3);
  });

  it("turned rows have the products of the rows themselves", () => {
    for (const headDim of [8, 64, 80, 96, 256]) {
      const [q, k] = [numbers("q", headDim), numbers("k", headDim)];
      const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => q.reduce((total, _, i) => total + a[i] * b[i], 0);
      const [a, b] = [q, k].map((row) => hadamardRows(alloc32, row, headDim));
      assert(Math.abs(dot(a, b) - dot(q, k)) < 1e-5, `${headDim}`);
      assert(a.some((value, i) => Math.abs(value - q[i]) > 0.1));
    }
  });
});

describe("a model that attends by flash3", () => {
  const model = { ...randomModel({ headDim: 32, keyShift: true, qkNorm: true }), weightFormat: "f32" as const };
  const flash3 = parseAttention("flash3");
  const ids = (count: number, from = 0): number[] =>
    Array.from({ length: count }, (_, index) => ((from + index) * 7919 + 3) % model.spec.vocabSize);
  const open = (options: Partial<GpuDecoderOptions> = {}): Promise<Runner> =>
    openRunnerOn(gpu, shaders, { ...model, attention: flash3, ...options });
  const logitsOf = async (runner: Runner, given: readonly number[]): Promise<Float32Array> => {
    const logits = await runner.append(given, { logits: "all" });
    assert(logits !== undefined);
    return logits;
  };

  it("reads a prompt and answers as exactly as its cache is, and says how exact that is", async () => {
    const runner = await open({ slabPages: 1 });
    const exact = await openRunnerOn(gpu, shaders, model);
    const errorOf = ({ cacheError }: Runner) => cacheError;
    assert.equal(errorOf(runner), undefined);
    for (const part of [ids(300), ids(90, 400), ids(1, 7), ids(1, 9)]) {
      const [found, wanted] = [await logitsOf(runner, part), await logitsOf(exact, part)];
      const error = relativeError(found, wanted);
      assert(error > 1e-5 && error < 0.02, `relative error ${error}`);
    }
    const cacheError = errorOf(runner);
    assert(cacheError !== undefined);
    // Of uniform numbers rounding to 127 steps loses 0.5 %; of normal ones, whose largest of 2,048 is 3.5 deviations, 0.8 %.
    for (const error of [cacheError.keys, cacheError.values]) assert(error > 1e-3 && error < 0.02, `${error}`);
  });

  it("a cut inside the last tile goes on with its rows, and one inside an earlier tile from where that begins", async () => {
    const runner = await open();
    const straight = await logitsOf(runner, ids(300));
    const V = model.spec.vocabSize;
    assert.equal(runner.truncate(290), 288, "in the tile from 256 on");
    assertClose(await logitsOf(runner, ids(12, 288)), straight.subarray(288 * V), 0.05, "behind the last tile's rows");
    assert.equal(runner.truncate(140), 128, "in the tile from 128 on");
    const again = await logitsOf(runner, ids(172, 128));
    assertClose(again, straight.subarray(128 * V), 0.05, "behind a whole tile");
    assert.equal(runner.truncate(64), 64);
  });

  it("pages go out and come back, and a cut inside them goes to a whole tile", async () => {
    const first = await open();
    await first.append(ids(300));
    const kept = await first.pages?.export(0, 1);
    const page = kept?.[0];
    assert(page !== undefined && first.pages !== undefined);
    // Two layers with two key heads of 32 channels, keys and values, in bytes with four scales each; and raw keys for cuts.
    assert.equal(page.length, 2 * (2 * 2 * (256 * 32 + 16) + 16 * 2 * 32 * 4));
    assert.match(first.pages.layout, /tile8/);
    const second = await open();
    await second.pages?.import([page], 0);
    assert.equal(first.truncate(256), 256);
    const rest = ids(44, 256);
    assertClose(await logitsOf(second, rest), await logitsOf(first, rest), 1e-5, "behind the page");
    const third = await open();
    await third.pages?.import([page], 0);
    assert.equal(third.truncate(250), 192);
  });

  it("is left and chosen again; pooled attention is that of its own keys", async () => {
    const runner = await openRunnerOn(gpu, shaders, model);
    const whole = await logitsOf(runner, ids(200));
    runner.setAttention(flash3);
    assert.equal(runner.length, 0);
    const rounded = await logitsOf(runner, ids(200));
    assert(relativeError(rounded, whole) > 1e-5);
    const edges = Uint32Array.of(0, 50, 200);
    const request = { layer: "mean" as const, head: "mean" as const, queryEdges: edges, keyEdges: edges };
    const { cells } = await runner.pool(request);
    assertClose([cells[0] + cells[1], cells[2] + cells[3]], [1, 1], 0.01, "rows over all keys sum to one");
    runner.setAttention(WHOLE);
    assertClose(await logitsOf(runner, ids(200)), whole, 1e-6, "flash again");
  });

  it("keeps re-indexed copies of the keys, each in tiles", async () => {
    const attention = { kind: "self_extend", group: 4, window: 40 } as const;
    const plan = positionPlan(attention, model.spec, 400);
    const [runner, exact] = [await open(), await openRunnerOn(gpu, shaders, model)];
    for (const each of [runner, exact]) each.setPositions(plan);
    const error = relativeError(await logitsOf(runner, ids(300)), await logitsOf(exact, ids(300)));
    assert(error > 1e-5 && error < 0.02, `${error}`);
  });

  it("refuses another cache format beside its own, and top pages", async () => {
    await assert.rejects(open({ kv: { keys: "q8", values: "q8" } }), { code: "bad-argument" });
    const runner = await openRunnerOn(gpu, shaders, { ...model, kv: { keys: "q4", values: "q4" } });
    assert.throws(() => runner.setAttention(flash3), { code: "bad-argument" });
    await assert.rejects(open({ attention: { ...flash3, topPages: 4 } }), { code: "bad-argument" });
  });
});

describe("the self-test", () => {
  it("multiplies whole numbers as integers without an error, where WGSL can", async (t) => {
    if (entry.gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product")) {
      assert((await tryProducts(gpu, shaders, { integers: true })) < 1e-5);
      return;
    }
    t.diagnostic("WGSL has no products of packed integers here: the trial fails");
    await assert.rejects(tryProducts(gpu, shaders, { integers: true }), { code: "internal" });
  });

  it("takes matrix units where they are right, before integers, and says why not where they are not", async () => {
    const { ingredients, matricesBecause, integersBecause } = await chooseFlash3(gpu, shaders, 64);
    assert(ingredients.pipelined && ingredients.eightBits && ingredients.hadamard);
    if (gpu.abilities.software) assert.deepEqual([ingredients.integers, ingredients.matrices], [false, undefined]);
    assert(matricesBecause !== "" && integersBecause !== "");
    const unit: MatrixUnit = { element: "f16", rows: 16, columns: 16, depth: 16, subgroup: 32 };
    const card = (matrixUnits: MatrixUnit[]): EngineDevice => ({
      ...gpu,
      abilities: { ...gpu.abilities, software: false, matrixUnits },
    });
    // This device only says that it has them: the kernel does not compile, and something else is taken.
    const lying = await chooseFlash3(card([unit]), shaders, 64);
    assert.equal(lying.ingredients.matrices, undefined);
    assert.match(lying.matricesBecause, /attn_flash3 does not compile here/);
    assert.match((await chooseFlash3(card([unit]), shaders, 40)).matricesBecause, /heads of 40 channels/);
    assert.match((await chooseFlash3(card([]), shaders, 64)).matricesBecause, /offers none/);
  });

  it("shapes of matrix units are those that divide a tile and fit workgroup memory, in binary16 first", () => {
    const unit = (element: MatrixUnit["element"], rows: number, columns: number, depth: number, subgroup = 32): MatrixUnit => ({
      ...{ element, rows, columns, depth, subgroup },
    });
    const [apple, nvidia] = [unit("f32", 8, 8, 8), unit("f16", 16, 16, 16)];
    const least = 16_384;
    assert.equal(unitFor(32, [apple, nvidia], least), nvidia);
    assert.equal(unitFor(40, [apple, nvidia], least), apple);
    assert.equal(unitFor(64, [apple], least), undefined);
    assert.equal(unitFor(64, [apple], 2 * least), apple);
    assert.equal(unitFor(128, [apple, nvidia], least), undefined);
    assert.equal(unitFor(128, [apple, nvidia], 2 * least), nvidia);
    const misfits = [unit("f16", 64, 16, 16), unit("f16", 16, 32, 16), unit("f16", 16, 16, 16, 128)];
    assert.equal(unitFor(64, misfits, 2 * least), undefined);
  });

  it("kernels of matrix units are valid WGSL, as a device without an adapter judges that has the feature and no shapes", async () => {
    const { create } = await import("webgpu");
    const adapter = await create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]).requestAdapter();
    const needed = ["chromium-experimental-subgroup-matrix" as GPUFeatureName, "shader-f16" as const];
    assert(adapter !== null && needed.every((name) => adapter.features.has(name)));
    const device = await adapter.requestDevice({ requiredFeatures: needed });
    for (const [unit, headDim] of [
      [{ element: "f16", rows: 16, columns: 16, depth: 16, subgroup: 32 }, 128],
      [{ element: "f16", rows: 16, columns: 8, depth: 16, subgroup: 32 }, 64],
      [{ element: "f32", rows: 8, columns: 8, depth: 8, subgroup: 32 }, 48],
    ] as const) {
      const consts = {
        ...{ HEAD_DIM4: headDim / 4, GROUP: 2, PIPELINED: 1, BLOCK_TOKENS: 64, PAGE_TOKENS: 256 },
        ...{ ...unitConsts(unit), ...rowConstsOf({ keys: "tile8", values: "tile8" }, headDim) },
      };
      const code = finalText(attnFlash3({ format: "tile8", products: unit }), consts);
      const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
      assert.deepEqual(
        messages.filter(({ type }) => type === "error").map(({ message, lineNum }) => `${lineNum}: ${message}`),
        [],
      );
    }
    device.destroy();
  });
});
