import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { Runner, RunnerOptions, TensorFormat } from "../../../engine/api.ts";
import { openRunnerOn } from "../../../engine/backends/wgsl.ts";
import { openDevice, type EngineDevice } from "../../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { biased, bloomLike, gemmaLike, keyShifted, mixedLayers, reindexings } from "../../support/decoderShapes.ts";
import { assertClose } from "../../support/gpuArrays.ts";
import { goldenDecoder, goldenDecoders, randomModel } from "../../support/goldenModels.ts";
import { requireGpu } from "../../support/requireDevice.ts";
import { bytesStore, randomTensor } from "../../support/weightBytes.ts";

/** f32 logits of tiny models, a few units large: thousands of roundings of one part in ten million each. */
const TOLERANCE = 5e-5;
const greedy = { temperature: 0, topP: 1, seed: 0 };

// One device for the file: kernels compile once. Runners are not disposed, because that would take the device with them.
let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  const test = await requireGpu();
  gpu = await openDevice(test.gpu, test);
  shaders = openShaderCache(gpu);
});

function openGpu(options: RunnerOptions & { maxBindingBytes?: number }): Promise<Runner> {
  return openRunnerOn(gpu, shaders, options);
}

function tokens(count: number, vocabSize: number): number[] {
  return Array.from({ length: count }, (_, index) => (index * 7919 + 3) % vocabSize);
}

async function logitsOf(runner: Runner, ids: readonly number[]): Promise<Float32Array> {
  const logits = await runner.append(ids, { logits: "all" });
  assert(logits !== undefined);
  return logits;
}

describe("golden models", () => {
  for (const name of goldenDecoders) {
    it(`${name}: logits at every position and the greedy continuation`, async () => {
      const { spec, weights, inputIds, golden, tolerance } = goldenDecoder(name);
      const V = spec.vocabSize;
      const open = async (ids: readonly number[]) => {
        const runner = await openGpu({ spec, weights, weightFormat: "f32" });
        runner.setPositions(positionPlan(spec.rope, spec, ids.length));
        return runner;
      };
      const logits = await logitsOf(await open(inputIds), inputIds);
      assertClose(logits.slice(0, V), golden.logits_first, tolerance.float32, "first");
      assertClose(logits.slice(6 * V, 7 * V), golden.logits_mid_pos6, tolerance.float32, "middle");
      assertClose(logits.slice(-V), golden.logits_last, tolerance.float32, "last");
      const sums = golden.logits_sum_per_position.map((_, i) =>
        logits.slice(i * V, (i + 1) * V).reduce((sum, value) => sum + value, 0),
      );
      assertClose(sums, golden.logits_sum_per_position, tolerance.float32 * V, "sums of each position");

      const ids = [...inputIds];
      for (const expected of golden.greedy_next_5) {
        // Each step at its own length: dynamic scaling rotates all keys anew when the length grows.
        const runner = await open(ids);
        await runner.append(ids);
        assert.equal(await runner.sample(greedy), expected);
        ids.push(expected);
      }
    });
  }
});

describe("forward pass", () => {
  for (const [what, overrides] of [
    ["key shift, head norms, partial rotary, tied", keyShifted],
    ["biases everywhere, no grouping", biased],
    ["windows with a rotation of their own, sandwich norms, softcaps, heads of 256", gemmaLike],
    ["ALiBi, LayerNorm, GELU, clamped projections", bloomLike],
    ["layers without rotation, a window of one key, a temperature, heads of 80", mixedLayers],
  ] as const) {
    it(`${what}: any chunking equals the reference`, async () => {
      const { spec, weights } = randomModel(overrides);
      const ids = tokens(45, spec.vocabSize);
      const expected = await logitsOf(await openReferenceRunner({ spec, weights, weightFormat: "f32" }), ids);
      const runner = await openGpu({ spec, weights, weightFormat: "f32" });
      for (const size of [45, 1, 3, 5]) {
        runner.truncate(0);
        const logits: number[] = [];
        for (let start = 0; start < ids.length; start += size)
          logits.push(...(await logitsOf(runner, ids.slice(start, start + size))));
        assertClose(logits, expected, TOLERANCE, `chunks of ${size}`);
      }
      assert.deepEqual(runner.length, 45);
    });
  }

  for (const weightFormat of ["q8_0", "q4_0"] as const) {
    it(`${weightFormat} weights equal the reference on rounded weights, and are as far from f32 as they say`, async () => {
      const { spec, weights } = randomModel(keyShifted);
      const ids = tokens(20, spec.vocabSize);
      const reference = await openReferenceRunner({ spec, weights, weightFormat });
      const exact = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
      const runner = await openGpu({ spec, weights, weightFormat });
      const logits = await logitsOf(runner, ids);
      assertClose(logits, await logitsOf(reference, ids), TOLERANCE, weightFormat);
      const unrounded = await logitsOf(exact, ids);
      assert(logits.some((value, i) => Math.abs(value - unrounded[i]) > 10 * TOLERANCE));
      const error = runner.quantizationError ?? assert.fail("no error is reported");
      assert(Math.abs(error - (reference.quantizationError ?? 0)) < 1e-9);
      // Uniform numbers: the step over the square root of 12, against their own deviation.
      const [low, high] = weightFormat === "q8_0" ? [0.003, 0.006] : [0.05, 0.11];
      assert(error > low && error < high, `${error}`);
      assert.equal(exact.quantizationError, undefined);
    });
  }

  it("the kernels of a graphics card give the same, and those for fast products are as far off as rounding makes them", async () => {
    const { spec, weights } = randomModel(keyShifted);
    const ids = tokens(12, spec.vocabSize);
    const options = { spec, weights, weightFormat: "q8_0" as const };
    const expected = await logitsOf(await openReferenceRunner(options), ids);
    const card = { ...gpu, abilities: { ...gpu.abilities, software: false, integerProducts: true } };
    for (const products of ["exact", "fast"] as const) {
      const runner = await openRunnerOn(card, shaders, { ...options, products });
      // Chunks through tiles, then single tokens, with norms and gates in the dispatches of their products.
      const logits = [...(await logitsOf(runner, ids.slice(0, 8)))];
      for (const id of ids.slice(8)) logits.push(...(await logitsOf(runner, [id])));
      if (products === "exact") assertClose(logits, expected, TOLERANCE, "exact");
      else {
        const off = logits.map((value, i) => Math.abs(value - expected[i]));
        const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const worst = Math.max(...off);
        assert(worst > 10 * TOLERANCE, "inputs are rounded");
        // Half a percent for each of a dozen products behind each other, of which the worst of some hundred logits is shown.
        assert(worst < 0.05 * largest, `off by ${worst} of ${largest}`);
      }
    }
  });

  it("weights keep the formats of their file: 16 bits, and blocks of several kinds side by side", async () => {
    const { spec } = randomModel({ ...keyShifted, hiddenSize: 256, intermediateSize: 256, headDim: 64, rotaryDim: 32 });
    const formats: TensorFormat[] = ["bf16", "f16", "q4_0", "q5_0", "q8_0", "q4_k", "q5_k", "q6_k"];
    let next = 0;
    const tensors = [...tensorShapes(spec)].map(([name, shape]) => {
      const format = shape.length === 2 && name.endsWith(".weight") ? (formats[next++ % formats.length] ?? "f32") : "f32";
      return [name, randomTensor(name, format, shape)] as const;
    });
    assert(next > formats.length);
    const weights = bytesStore(Object.fromEntries(tensors));
    const ids = tokens(20, spec.vocabSize);
    const reference = await openReferenceRunner({ spec, weights, weightFormat: "file" });
    const expected = await logitsOf(reference, ids);
    const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    const runner = await openGpu({ spec, weights, weightFormat: "file" });
    assert.equal(runner.quantizationError, undefined);
    // Weights of size one make large activations: relative to the largest logit it is the tolerance of the others.
    assertClose(await logitsOf(runner, ids), expected, TOLERANCE * largest, "all formats");
    runner.truncate(0);
    const stepwise: number[] = [];
    for (const id of ids) stepwise.push(...(await logitsOf(runner, [id])));
    assertClose(stepwise, expected, TOLERANCE * largest, "token by token");
  });

  it("weights in slices of a few rows and a cache of small buffers give the same", async () => {
    const { spec, weights } = randomModel(keyShifted);
    const ids = tokens(40, spec.vocabSize);
    const whole = await openGpu({ spec, weights, weightFormat: "f32" });
    const small = { maxBindingBytes: 4096, slabPages: 1, capacityTokens: 620 };
    const sliced = await openGpu({ spec, weights, weightFormat: "f32", ...small });
    assertClose(await logitsOf(sliced, ids), await logitsOf(whole, ids), 1e-6, "the sums are the same, in the same order");
    const more = tokens(570, spec.vocabSize);
    await whole.append(more);
    await sliced.append(more);
    // A page to a slab: what is seen is joined from three of them.
    const [joined, direct] = [await sliced.append([5], { logits: "last" }), await whole.append([5], { logits: "last" })];
    assert(joined !== undefined && direct !== undefined);
    assertClose(joined, direct, TOLERANCE, "slabs of one page");
    await assert.rejects(sliced.append(tokens(25, spec.vocabSize)), { code: "kv-cache-too-large" });
    assert.equal(sliced.length, 611);
  });

  it("logits of every token come in pieces where the vocabulary is large", async () => {
    const { spec, weights } = randomModel({ vocabSize: 100_000, layerCount: 1, tiedEmbeddings: true });
    // 32 MiB hold those of 83 tokens.
    const ids = tokens(90, spec.vocabSize);
    const found = await logitsOf(await openGpu({ spec, weights, weightFormat: "f32" }), ids);
    const expected = await logitsOf(await openReferenceRunner({ spec, weights, weightFormat: "f32" }), ids);
    assert.equal(found.length, 90 * spec.vocabSize);
    for (const token of [0, 82, 83, 89]) {
      const row = [token * spec.vocabSize, (token + 1) * spec.vocabSize] as const;
      assertClose(found.subarray(...row), expected.subarray(...row), TOLERANCE, `logits ${token}`);
    }
  });

  it("truncate keeps pages and continues from them; the cache grows past its first buffers", async () => {
    const { spec, weights } = randomModel(keyShifted);
    const reference = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
    const runner = await openGpu({ spec, weights, weightFormat: "f32" });
    const ids = tokens(60, spec.vocabSize);
    for (const each of [reference, runner]) {
      await each.append(ids);
      assert.equal(each.truncate(60), 60);
      assert.equal(each.truncate(47), 32);
      await assert.rejects(each.sample(greedy), { code: "bad-argument" });
    }
    const other = tokens(30, spec.vocabSize).reverse();
    assertClose(await logitsOf(runner, other), await logitsOf(reference, other), TOLERANCE, "after the cut");
    // 64 pages are allocated at first; keys written before must survive the move to larger buffers.
    const long = tokens(1000, spec.vocabSize);
    await runner.append(long);
    const fresh = await openGpu({ spec, weights, weightFormat: "f32" });
    await fresh.append([...ids.slice(0, 32), ...other, ...long]);
    assert.equal(runner.length, fresh.length);
    const [grown, straight] = [await runner.append([5], { logits: "last" }), await fresh.append([5], { logits: "last" })];
    assert(grown !== undefined && straight !== undefined);
    assertClose(grown, straight, TOLERANCE, "grown in steps and at once");
  });

  for (const scaling of reindexings) {
    it(`${JSON.stringify(scaling)}: any chunking equals the reference, and pooled attention too`, async () => {
      const layers = [11, undefined].map((window) => ({ window, rotation: "main" as const }));
      const { spec, weights } = randomModel({ ...keyShifted, layers });
      const ids = tokens(45, spec.vocabSize);
      const plan = positionPlan(scaling, spec, ids.length);
      const reference = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
      const plain = await logitsOf(reference, ids);
      reference.setPositions(plan);
      const expected = await logitsOf(reference, ids);
      assert(
        expected.some((value, i) => Math.abs(value - plain[i]) > 100 * TOLERANCE),
        "the scheme changes something",
      );
      const runner = await openGpu({ spec, weights, weightFormat: "f32" });
      await runner.append(ids.slice(0, 3));
      runner.setPositions(plan);
      assert.equal(runner.length, 0);
      for (const size of [45, 1, 3, 5]) {
        runner.truncate(0);
        const logits: number[] = [];
        for (let start = 0; start < ids.length; start += size)
          logits.push(...(await logitsOf(runner, ids.slice(start, start + size))));
        assertClose(logits, expected, TOLERANCE, `chunks of ${size}`);
      }
      const edges = { queryEdges: Uint32Array.of(0, 20, 45), keyEdges: Uint32Array.of(0, 5, 6, 30, 45) };
      const request = { layer: "mean", head: "mean", ...edges } as const;
      assertClose((await runner.pool(request)).cells, (await reference.pool(request)).cells, TOLERANCE, "pooled");
    });
  }

  it("pools ALiBi, windowed and softcapped attention as the reference does", async () => {
    for (const shape of [bloomLike, gemmaLike, mixedLayers]) {
      const { spec, weights } = randomModel(shape);
      const ids = tokens(45, spec.vocabSize);
      const reference = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
      const runner = await openGpu({ spec, weights, weightFormat: "f32" });
      for (const each of [runner, reference]) await each.append(ids);
      const edges = { queryEdges: Uint32Array.of(0, 20, 45), keyEdges: Uint32Array.of(0, 5, 6, 30, 45) };
      for (const head of ["mean", 1] as const) {
        const request = { layer: "mean", head, ...edges } as const;
        assertClose((await runner.pool(request)).cells, (await reference.pool(request)).cells, TOLERANCE, `head ${head}`);
      }
    }
  });

  it("keys moved to other positions are those that one layer would have computed there; deeper layers differ", async () => {
    for (const layerCount of [1, 2]) {
      const { spec, weights } = randomModel({ layerCount, headDim: 16, rotaryDim: 8 });
      const ids = tokens(40, spec.vocabSize);
      for (const scaling of [
        { kind: "linear", factor: 3 },
        { kind: "self_extend", group: 4, window: 9 },
        { kind: "dual_chunk", chunkSize: 12, localSize: 3 },
        { kind: "none" },
      ] as const) {
        const plan = positionPlan(scaling, spec, ids.length + 1);
        const moved = await openGpu({ spec, weights, weightFormat: "f32" });
        await moved.append(ids);
        assert.equal(await moved.repositionCache(plan), true);
        assert.equal(moved.length, ids.length);
        assert.deepEqual(moved.tap.layers, []);
        const exact = await openGpu({ spec, weights, weightFormat: "f32" });
        exact.setPositions(plan);
        await exact.append(ids);
        const reference = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
        await reference.append(ids);
        await reference.repositionCache(plan);
        const [a, b, c] = await Promise.all([logitsOf(moved, [5]), logitsOf(exact, [5]), logitsOf(reference, [5])]);
        assertClose(a, c, TOLERANCE, "as the reference moves them");
        if (layerCount === 1 || scaling.kind === "none")
          assertClose(a, b, TOLERANCE, "one layer's keys do not depend on positions");
        else
          assert(
            a.some((value, i) => Math.abs(value - b[i]) > 20 * TOLERANCE),
            "deeper layers hold what the old positions gave",
          );
      }
    }
  });

  it("another rotation empties the cache, the same one does not", async () => {
    const { spec, weights } = randomModel({});
    const runner = await openGpu({ spec, weights, weightFormat: "f32" });
    const ids = tokens(20, spec.vocabSize);
    const before = await logitsOf(runner, ids);
    runner.setPositions(positionPlan({ kind: "none" }, spec, 20));
    assert.equal(runner.length, 20);
    runner.setPositions(positionPlan({ kind: "linear", factor: 4 }, spec, 20));
    assert.equal(runner.length, 0);
    const after = await logitsOf(runner, ids);
    assert(after.some((value, i) => Math.abs(value - before[i]) > 100 * TOLERANCE));
  });

  it("bad ids are refused and leave the cache alone", async () => {
    const { spec, weights } = randomModel({});
    const runner = await openGpu({ spec, weights, weightFormat: "f32" });
    await assert.rejects(runner.append([1, spec.vocabSize]), { code: "bad-argument" });
    await assert.rejects(runner.append([1.5]), { code: "bad-argument" });
    assert.equal(runner.length, 0);
  });

  it("shapes the kernels cannot do are named", async () => {
    const { spec, weights } = randomModel({ headDim: 6, rotaryDim: 6 });
    await assert.rejects(openGpu({ spec, weights, weightFormat: "f32" }), {
      code: "unsupported-model",
      message: /head dimension 6/,
    });
  });
});
