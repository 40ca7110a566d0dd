import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { DecoderSpec, Runner, RunnerOptions, TensorFormat, WeightStore } from "../../../engine/api.ts";
import { openOrtRunner } from "../../../engine/backends/ort.ts";
import { EngineError } from "../../../engine/errors.ts";
import { EMBEDDING, tensorShapes } from "../../../engine/models/weights.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { resolveRope } from "../../../engine/position/choose.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { bloomLike, gemmaLike, keyShifted, mixedLayers, reindexings } from "../../support/decoderShapes.ts";
import { goldenDecoder, goldenDecoders, randomModel } from "../../support/goldenModels.ts";
import { bytesStore, randomTensor } from "../../support/weightBytes.ts";

const greedy = { temperature: 0, topP: 1, seed: 0 };
// Two float32 programs that sum in another order differ by rounding only; the logits here are of size one.
const FLOAT_TOLERANCE = 2e-4;

const wasmFile = readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");
const wasm = new Uint8Array(wasmFile).buffer;

/** All that the twin supports in one small model: groups, biases everywhere, norms, shift, partial rotation, multiplier. */
const everything: Partial<DecoderSpec> = {
  layerCount: 3,
  headDim: 16,
  rotaryDim: 8,
  qkvBias: true,
  outBias: true,
  mlpBias: true,
  qkNorm: true,
  keyShift: true,
  tiedEmbeddings: true,
  embeddingMultiplier: 3,
};

function ortRunner(
  options: Omit<RunnerOptions, "weightFormat"> & { weightFormat?: RunnerOptions["weightFormat"] },
): Promise<Runner> {
  return openOrtRunner({ weightFormat: "f32", ...options, wasm, threads: 1 });
}

async function bothRunners(
  overrides: Partial<DecoderSpec>,
  options: Partial<RunnerOptions> = {},
): Promise<{ ort: Runner; reference: Runner; spec: DecoderSpec }> {
  const { spec, weights } = randomModel(overrides);
  const model = { weights, ...options, spec };
  const reference = await openReferenceRunner({ weightFormat: "f32", ...model });
  return { ort: await ortRunner(model), reference, spec };
}

function tokens(count: number, vocabSize: number, seed = 1): number[] {
  return Array.from({ length: count }, (_, index) => (index * 7 + seed * 13 + ((index * index) >> 2)) % vocabSize);
}

/** A whole embedding table whose rows all differ, quickly made. */
function sawtooth({ vocabSize, hiddenSize }: DecoderSpec): Float32Array<ArrayBuffer> {
  const table = new Float32Array(vocabSize * hiddenSize);
  for (let index = 0; index < table.length; index++) table[index] = ((index * 7919) % 1000003) / 500000 - 1;
  return table;
}

function assertClose(actual: ArrayLike<number> | undefined, expected: ArrayLike<number> | undefined, tolerance: number): void {
  assert.ok(actual && expected);
  assert.equal(actual.length, expected.length);
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs(actual[index] - expected[index]);
    assert.ok(difference <= tolerance, `number ${index}: ${actual[index]} against ${expected[index]}`);
  }
}

/** The next five tokens by argmax, each appended before the next; dynamic scaling is recomputed at each length. */
async function continueGreedily(runner: Runner, spec: DecoderSpec, ids: readonly number[]): Promise<number[]> {
  const all = [...ids];
  runner.truncate(0);
  for (let step = 0; step < 5; step++) {
    runner.setPositions(resolveRope({ kind: "model" }, spec, all.length, runner.capacityTokens).plan);
    await runner.append(all.slice(runner.length));
    all.push(await runner.sample(greedy));
  }
  return all.slice(ids.length);
}

describe("the WebAssembly twin on the golden models", () => {
  for (const name of goldenDecoders) {
    it(`gives the logits and the greedy continuation of ${name}`, async () => {
      const { spec, weights, inputIds, golden, tolerance } = goldenDecoder(name);
      const runner = await ortRunner({ spec, weights });
      runner.setPositions(resolveRope({ kind: "model" }, spec, inputIds.length, runner.capacityTokens).plan);
      const logits = await runner.append(inputIds, { logits: "all" });
      const V = spec.vocabSize;
      assertClose(logits?.subarray(0, V), golden.logits_first, tolerance.float32);
      assertClose(logits?.subarray(6 * V, 7 * V), golden.logits_mid_pos6, tolerance.float32);
      assertClose(logits?.subarray(-V), golden.logits_last, tolerance.float32);
      assert.deepEqual(await continueGreedily(runner, spec, inputIds), golden.greedy_next_5);
      runner.dispose();
    });
  }
});

describe("the WebAssembly twin against the reference", () => {
  const shapes: [string, Partial<DecoderSpec>][] = [
    ["grouped heads with every feature", everything],
    ["one KV head for all", { ...everything, kvHeadCount: 1 }],
    ["windows with a rotation of their own, sandwich norms, softcaps, heads of 256", gemmaLike],
    ["ALiBi, LayerNorm, GELU, clamped projections", bloomLike],
    ["layers without rotation, a window of one key, a temperature, heads of 80", mixedLayers],
    ["a KV head for each head, an odd vocabulary, a wide head", { kvHeadCount: 4, vocabSize: 37, headDim: 80, rotaryDim: 80 }],
  ];
  for (const [name, overrides] of shapes) {
    it(`gives the same logits however the prompt is split: ${name}`, async () => {
      const { ort, reference, spec } = await bothRunners(overrides);
      const ids = tokens(150, spec.vocabSize);
      const expected = await reference.append(ids, { logits: "all" });
      for (const split of [ids.length, 1, 3, 5]) {
        ort.truncate(0);
        for (let start = 0; start < ids.length; start += split) {
          const part = await ort.append(ids.slice(start, start + split), { logits: "all" });
          const V = spec.vocabSize;
          assertClose(part, expected?.subarray(start * V, Math.min(ids.length, start + split) * V), FLOAT_TOLERANCE);
        }
        assert.equal(ort.length, ids.length);
      }
      ort.dispose();
    });
  }

  for (const scaling of reindexings) {
    it(`${JSON.stringify(scaling)}: any chunking equals the reference, and pooled attention too`, async () => {
      const layers = [11, undefined].map((window) => ({ window, rotation: "main" as const }));
      const { ort, reference, spec } = await bothRunners({ ...keyShifted, layers });
      const ids = tokens(45, spec.vocabSize);
      const plan = positionPlan(scaling, spec, ids.length);
      for (const runner of [ort, reference]) runner.setPositions(plan);
      const expected = await reference.append(ids, { logits: "all" });
      const V = spec.vocabSize;
      for (const split of [45, 1, 3, 5]) {
        ort.truncate(0);
        for (let start = 0; start < ids.length; start += split) {
          const part = await ort.append(ids.slice(start, start + split), { logits: "all" });
          assertClose(part, expected?.subarray(start * V, Math.min(ids.length, start + split) * V), FLOAT_TOLERANCE);
        }
      }
      const edges = { queryEdges: Uint32Array.of(0, 20, 45), keyEdges: Uint32Array.of(0, 5, 6, 30, 45) };
      for (const head of ["mean", 1] as const) {
        const request = { layer: "mean", head, ...edges } as const;
        assertClose((await ort.pool(request)).cells, (await reference.pool(request)).cells, FLOAT_TOLERANCE);
      }
      ort.dispose();
    });
  }

  it("moves cached keys to other positions as the reference does, and then has no queries to pool", async () => {
    for (const scaling of [{ kind: "linear", factor: 3 }, reindexings[0], reindexings[3], { kind: "none" }] as const) {
      const { ort, reference, spec } = await bothRunners({ headDim: 16, rotaryDim: 8 });
      const ids = tokens(40, spec.vocabSize);
      for (const runner of [ort, reference]) {
        await runner.append(ids);
        assert.equal(await runner.repositionCache(positionPlan(scaling, spec, 41)), true);
        assert.equal(runner.length, 40);
      }
      assert.deepEqual(ort.tap.layers, []);
      const [moved, expected] = [await ort.append([5], { logits: "last" }), await reference.append([5], { logits: "last" })];
      assertClose(moved, expected, FLOAT_TOLERANCE);
      ort.truncate(0);
      assert.equal(ort.tap.layers.length, spec.layerCount, "an empty cache is tapped again");
      ort.dispose();
    }
  });

  it("pools ALiBi and softcapped attention", async () => {
    for (const shape of [bloomLike, gemmaLike]) {
      const { ort, reference, spec } = await bothRunners(shape);
      const ids = tokens(45, spec.vocabSize);
      for (const runner of [ort, reference]) await runner.append(ids);
      for (const head of ["mean", 1] as const) {
        const request = {
          ...{ layer: "mean" as const, head },
          ...{ queryEdges: Uint32Array.of(0, 20, 45), keyEdges: Uint32Array.of(0, 5, 6, 30, 45) },
        };
        assertClose((await ort.pool(request)).cells, (await reference.pool(request)).cells, FLOAT_TOLERANCE);
      }
      ort.dispose();
    }
  });

  it("merges cached blocks of keys: a context longer than a block, then single tokens", async () => {
    const { ort, reference, spec } = await bothRunners({ ...everything, layerCount: 2, maxPositionEmbeddings: 4096 });
    const ids = tokens(1300, spec.vocabSize);
    for (const [start, end] of [
      [0, 1290],
      [1290, 1291],
      [1291, 1300],
    ]) {
      const part = ids.slice(start, end);
      assertClose(await ort.append(part, { logits: "last" }), await reference.append(part, { logits: "last" }), FLOAT_TOLERANCE);
    }
    ort.dispose();
  });

  for (const weightFormat of ["q8_0", "q4_0"] as const) {
    it(`unpacks ${weightFormat} weights to the same numbers, and says how far they are from the file's`, async () => {
      const overrides = { ...everything, hiddenSize: 64, intermediateSize: 96 };
      const { ort, reference, spec } = await bothRunners(overrides, { weightFormat });
      const full = await ortRunner(randomModel(overrides));
      const ids = tokens(70, spec.vocabSize);
      const logits = await ort.append(ids, { logits: "all" });
      assertClose(logits, await reference.append(ids, { logits: "all" }), FLOAT_TOLERANCE);
      assert.notDeepEqual(await full.append(ids, { logits: "all" }), logits, "quantising must change something");
      assert(ort.quantizationError !== undefined && ort.quantizationError > 0.001);
      assert.equal(ort.quantizationError, reference.quantizationError);
      assert.equal(full.quantizationError, undefined);
      ort.dispose();
      full.dispose();
    });
  }

  it("keeps the blocks of a file where onnxruntime has kernels for them, and widens the others", async () => {
    const { spec } = randomModel({ ...everything, hiddenSize: 64, intermediateSize: 96 });
    const formats: TensorFormat[] = ["q8_0", "q4_0", "q5_1", "bf16", "affine4"];
    let next = 0;
    const tensors = [...tensorShapes(spec)].map(([name, shape]) => {
      const isMatrix = shape.length === 2 && name.endsWith(".weight");
      return [name, randomTensor(name, isMatrix ? (formats[next++ % formats.length] ?? "f32") : "f32", shape)] as const;
    });
    const model = { spec, weights: bytesStore(Object.fromEntries(tensors)), weightFormat: "file" } as const;
    const [ort, reference] = [await ortRunner(model), await openReferenceRunner(model)];
    const ids = tokens(30, spec.vocabSize);
    const expected = await reference.append(ids, { logits: "all" });
    const largest = expected?.reduce((most, value) => Math.max(most, Math.abs(value)), 1) ?? 1;
    assertClose(await ort.append(ids, { logits: "all" }), expected, FLOAT_TOLERANCE * largest);
    assert.equal(ort.quantizationError, undefined);
    ort.dispose();
  });

  it("puts the slices of a large output head together", async () => {
    const { spec, weights } = randomModel({ hiddenSize: 64, layerCount: 1, tiedEmbeddings: true });
    const large = { ...spec, vocabSize: 263001 };
    const model: Pick<RunnerOptions, "spec" | "weights"> = {
      spec: large,
      weights: {
        has: (name) => weights.has(name),
        shape: (name) => (name === EMBEDDING ? [large.vocabSize, large.hiddenSize] : weights.shape(name)),
        format: () => "f32",
        readRows: async (name, ...rows) => (name === EMBEDDING ? sawtooth(large) : weights.readRows(name, ...rows)),
        readBytes: async (name, ...rows) =>
          name === EMBEDDING ? new Uint8Array(sawtooth(large).buffer) : weights.readBytes(name, ...rows),
      },
    };
    const ort = await ortRunner(model);
    const reference = await openReferenceRunner({ ...model, weightFormat: "f32" });
    const ids = [5, 263000];
    assertClose(await ort.append(ids, { logits: "all" }), await reference.append(ids, { logits: "all" }), FLOAT_TOLERANCE);
    ort.dispose();
  });

  it("goes on from a cut as if the cut tokens had never been there", async () => {
    const { ort, reference, spec } = await bothRunners(everything);
    const ids = tokens(100, spec.vocabSize);
    await ort.append(ids);
    assert.equal(ort.truncate(61), 48);
    assert.equal(ort.length, 48);
    await assert.rejects(ort.sample(greedy), { code: "bad-argument" });
    const other = [...ids.slice(0, 48), ...tokens(30, spec.vocabSize, 9)];
    const expected = await reference.append(other, { logits: "last" });
    assertClose(await ort.append(other.slice(48), { logits: "last" }), expected, FLOAT_TOLERANCE);
    assert.equal(ort.truncate(ort.length), 78);
    assert.equal(ort.truncate(0), 0);
    ort.dispose();
  });

  it("samples the same tokens under a temperature and a mask", async () => {
    const { ort, reference, spec } = await bothRunners(everything);
    const allowed = Uint32Array.of(0xf0f0f0f0, 0x3c);
    const ids = tokens(9, spec.vocabSize);
    await ort.append(ids);
    await reference.append(ids);
    for (let seed = 0; seed < 8; seed++) {
      const sampling = { temperature: 1.5, topP: 0.9, seed };
      assert.equal(await ort.sample(sampling, allowed), await reference.sample(sampling, allowed));
    }
    ort.dispose();
  });

  it("empties the cache for another rotation, and rotates with it", async () => {
    const { ort, reference, spec } = await bothRunners(everything);
    const ids = tokens(40, spec.vocabSize);
    const plain = await ort.append(ids, { logits: "last" });
    const yarn = { kind: "linear", factor: 4 } as const;
    for (const runner of [ort, reference]) runner.setPositions(resolveRope(yarn, spec, 64, runner.capacityTokens).plan);
    assert.equal(ort.length, 0);
    const scaled = await ort.append(ids, { logits: "last" });
    assertClose(scaled, await reference.append(ids, { logits: "last" }), FLOAT_TOLERANCE);
    assert.notDeepEqual(scaled, plain);
    ort.setPositions(resolveRope(yarn, spec, 64, ort.capacityTokens).plan);
    assert.equal(ort.length, ids.length, "the same rotation keeps the cache");
    ort.dispose();
  });
});

describe("the WebAssembly twin's attention tap", () => {
  it("pools what the reference pools", async () => {
    const { ort, reference, spec } = await bothRunners({ ...everything, kvHeadCount: 2, headCount: 4 });
    const ids = tokens(300, spec.vocabSize);
    await ort.append(ids.slice(0, 170));
    await ort.append(ids.slice(170));
    await reference.append(ids);
    const wide = Uint32Array.of(0, 7, 64, 128, 200, 290, 300);
    const narrow = Uint32Array.of(130, 131, 250);
    for (const [layer, head] of [
      ["mean", "mean"],
      [0, "mean"],
      ["mean", 3],
      [2, 1],
    ] as const) {
      for (const [queryEdges, keyEdges] of [
        [wide, wide],
        [narrow, narrow],
      ]) {
        const request = { layer, head, queryEdges, keyEdges };
        const pooled = await ort.pool(request);
        const expected = await reference.pool(request);
        assert.deepEqual([pooled.rows, pooled.columns], [expected.rows, expected.columns]);
        // Probabilities are at most one; a hundredth of the heatmap's own tolerance leaves room for rounding only.
        assertClose(pooled.cells, expected.cells, 1e-5);
      }
    }
    const { cells } = await ort.pool({ layer: "mean", head: "mean", queryEdges: wide, keyEdges: wide });
    const rowSum = cells.subarray(0, 6).reduce((sum, cell) => sum + cell, 0);
    assertClose([rowSum], [1], 1e-5);
    ort.dispose();
  });

  it("says of each head what the reference says", async () => {
    const { ort, reference, spec } = await bothRunners({ ...everything, kvHeadCount: 2, headCount: 4 });
    const ids = tokens(300, spec.vocabSize);
    for (const runner of [ort, reference]) await runner.append(ids);
    for (const queries of [9, 300]) {
      const [found, expected] = [await ort.headFacts?.(queries), await reference.headFacts?.(queries)];
      assert.ok(found && expected);
      assert.deepEqual([found.queries, found.heads.length], [queries, spec.layerCount * 4]);
      for (const [index, own] of found.heads.entries()) {
        const { sinkMass, entropy, distances } = expected.heads[index];
        assertClose([own.sinkMass, own.entropy, ...own.distances], [sinkMass, entropy, ...distances], 1e-4);
      }
    }
    ort.dispose();
  });

  it("pools a context of more than one block of keys, and after a cut", async () => {
    const { ort, reference, spec } = await bothRunners({ layerCount: 1, maxPositionEmbeddings: 4096 });
    const ids = tokens(1200, spec.vocabSize);
    for (const runner of [ort, reference]) {
      await runner.append(ids);
      runner.truncate(1100);
      await runner.append(ids.slice(0, 40));
    }
    const edges = Uint32Array.of(0, 600, 1023, 1090, 1128);
    const request = { layer: 0, head: "mean", queryEdges: edges, keyEdges: edges } as const;
    assertClose((await ort.pool(request)).cells, (await reference.pool(request)).cells, 1e-5);
    ort.dispose();
  });

  it("keeps fewer layers when their queries outgrow the memory, and says so", async () => {
    // 4 heads of 9 numbers in 4 bytes, blocks of 128 tokens: 18 KiB a layer and block.
    const { ort, spec } = await bothRunners({ layerCount: 4, tiedEmbeddings: true }, { tapBytes: 80 * 1024 });
    assert.deepEqual(ort.tap.layers, [0, 1, 2, 3]);
    await ort.append(tokens(200, spec.vocabSize));
    assert.deepEqual(ort.tap.layers, [1, 3]);
    assert.match(ort.tap.because, /2 of 4 layers/);
    const edges = Uint32Array.of(0, 200);
    await assert.rejects(ort.pool({ layer: 0, head: 0, queryEdges: edges, keyEdges: edges }), { code: "bad-argument" });
    await ort.pool({ layer: 3, head: 0, queryEdges: edges, keyEdges: edges });
    ort.truncate(0);
    assert.deepEqual(ort.tap.layers, [0, 1, 2, 3]);
    ort.dispose();
  });

  it("stops pooling when asked", async () => {
    const { ort, spec } = await bothRunners({});
    await ort.append(tokens(64, spec.vocabSize));
    const stop = new AbortController();
    stop.abort();
    const edges = Uint32Array.of(0, 64);
    const pooling = ort.pool({ layer: 0, head: 0, queryEdges: edges, keyEdges: edges }, stop.signal);
    await assert.rejects(pooling, { code: "aborted" });
    ort.dispose();
  });
});

describe("the WebAssembly twin's limits and stops", () => {
  it("keeps finished chunks when it is stopped, and goes on from there", async () => {
    const { ort, reference, spec } = await bothRunners(everything);
    const ids = tokens(200, spec.vocabSize);
    const stop = new AbortController();
    const reports: number[] = [];
    const appending = ort.append(ids, {
      signal: stop.signal,
      onProgress: (done) => {
        reports.push(done);
        if (reports.length === 2) stop.abort();
      },
    });
    await assert.rejects(appending, { code: "aborted" });
    assert.equal(reports.length, 2);
    assert.equal(ort.length, reports[1]);
    assert.ok(ort.length < ids.length);
    const rest = await ort.append(ids.slice(ort.length), { logits: "last" });
    assertClose(rest, await reference.append(ids, { logits: "last" }), FLOAT_TOLERANCE);
    ort.dispose();
  });

  it("hears a stop that comes from outside while it works", async () => {
    const { ort, spec } = await bothRunners({ maxPositionEmbeddings: 16384 });
    const stop = new AbortController();
    setTimeout(() => {
      stop.abort();
    }, 50);
    await assert.rejects(ort.append(tokens(16000, spec.vocabSize), { signal: stop.signal }), { code: "aborted" });
    ort.dispose();
  });

  it("refuses more tokens than the cache holds and tokens that do not exist", async () => {
    const { ort } = await bothRunners({}, { capacityTokens: 32 });
    assert.equal(ort.capacityTokens, 32);
    await assert.rejects(ort.append(tokens(33, 40)), { code: "kv-cache-too-large" });
    await assert.rejects(ort.append([1, 40]), { code: "bad-argument" });
    assert.equal(ort.length, 0);
    ort.dispose();
  });

  it("refuses weights that WebAssembly cannot hold before it reads them", async () => {
    const { spec } = randomModel({ tiedEmbeddings: true });
    const huge = {
      ...spec,
      hiddenSize: 4096,
      intermediateSize: 14336,
      layerCount: 32,
      headDim: 128,
      headCount: 32,
      kvHeadCount: 8,
    };
    const shapes = tensorShapes(huge);
    const weights: WeightStore = {
      has: (name) => shapes.has(name),
      shape: (name) => shapes.get(name) ?? [],
      format: () => "f32",
      readRows: () => assert.fail("no weight may be read"),
      readBytes: () => assert.fail("no weight may be read"),
    };
    await assert.rejects(
      ortRunner({ spec: huge, weights }),
      (error) => EngineError.is(error, "limit-exceeded") && /q8_0/.test(error.remedy),
    );
    await assert.rejects(
      ortRunner({ spec: huge, weights, weightFormat: "q8_0" }),
      (error) => EngineError.is(error, "limit-exceeded") && /WebGPU/.test(error.remedy),
    );
  });

  it("names its runtime and refuses another number of threads in the same process", async () => {
    const { ort } = await bothRunners({});
    assert.match(ort.device, /^CPU \(onnxruntime-web 1\.\d+\.\d+ WASM, 1 thread\)$/);
    assert.equal(ort.loseDevice(), false);
    const options = { ...randomModel({}), weightFormat: "f32", wasm, threads: 2 } as const;
    await assert.rejects(openOrtRunner(options), { code: "bad-argument" });
    ort.dispose();
  });
});
