/** Rings of ranks with a device each, over the real kernels: against the reference, in this thread and in worker threads. */
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { afterEach, before, describe, it } from "node:test";
import type { DecoderSpec, RopeScaling, Runner, WeightStore } from "../../engine/api.ts";
import type { KvFormats, RingReport } from "../../engine/attention/api.ts";
import { openRing, type Ring, type RingWorkers } from "../../engine/attention/ring/coordinator.ts";
import { openRankOn } from "../../engine/attention/ring/gpuRank.ts";
import { openRunnerOn, openWgslRunner, type WgslRunnerOptions } from "../../engine/backends/wgsl.ts";
import { openDevice, type EngineDevice } from "../../engine/gpu/device.ts";
import { lendDevice } from "../../engine/gpu/lend.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { positionPlan } from "../../engine/position/bands.ts";
import { readDecoder } from "../../engine/reference/decoder.ts";
import { loadModel } from "../../engine/models/load.ts";
import { ringThreads } from "../../extension/adapter/ringThreads.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { randomModel } from "../support/goldenModels.ts";
import { threadlessRing } from "../support/plainRing.ts";
import { requireGpu, type TestGpu } from "../support/requireDevice.ts";
import { assertNear, assertSamePass, referencePass, ringPass, tokensOf } from "../support/ringPasses.ts";

const layouts = ["contiguous", "zigzag", "striped"] as const;
const f32: KvFormats = { keys: "f32", values: "f32" };

/** Every feature that the ring's own path through a layer has to do with. */
const models: [what: string, overrides: Partial<DecoderSpec>, rope: RopeScaling][] = [
  [
    "grouped heads, keys mixed with the one before, head norms",
    { keyShift: true, qkNorm: true, tiedEmbeddings: true },
    { kind: "none" },
  ],
  [
    "windows with a rotation of their own, norms behind, softcaps",
    {
      layerCount: 3,
      layers: [
        { window: 5, rotation: "local" },
        { window: undefined, rotation: "main" },
        { window: 40, rotation: "none" },
      ],
      local: { theta: 100, rotaryDim: 8, rope: { kind: "none" } },
      postNorms: true,
      attentionSoftcap: 3,
      finalSoftcap: 4,
      queryTemperature: { beta: 0.3, length: 20 },
    },
    { kind: "none" },
  ],
  [
    "Self-Extend: two bands and two copies of the keys",
    { qkvBias: true, outBias: true },
    { kind: "self_extend", group: 2, window: 12 },
  ],
  [
    "dual chunks: three bands, one key head, heads of 80",
    { kvHeadCount: 1, headDim: 80, rotaryDim: 80 },
    { kind: "dual_chunk", chunkSize: 24, localSize: 8 },
  ],
];

const rings: Ring[] = [];
afterEach(async () => {
  for (const runner of runners.splice(0)) runner.dispose();
  for (const ring of rings.splice(0)) await ring.close();
});

let test: TestGpu;
/** All ranks of this thread share it, so that kernels compile once. */
let shared: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  test = await requireGpu();
  shared = await openDevice(test.gpu, test);
  shaders = openShaderCache(shared);
});

interface Model {
  spec: DecoderSpec;
  weights: WeightStore;
}

/** Ranks in this thread, with buffers of their own. */
function ranksHere({ spec, weights }: Model): RingWorkers {
  return threadlessRing(
    () => async (options, signal) => openRankOn(lendDevice(shared), spec, weights, options, { signal, shaders }),
  );
}

/** A runner on the device of the ranks. */
async function openShared(options: Omit<WgslRunnerOptions, "gpu">): Promise<Runner> {
  const runner = await openRunnerOn(lendDevice(shared), shaders, options);
  runners.push(runner);
  return runner;
}

async function openHere(model: Model, ranks: number): Promise<Ring> {
  const { minimumLimits } = test;
  const options = { spec: model.spec, weightFormat: "f32" as const, products: "exact" as const, kv: f32, minimumLimits };
  const ring = await openRing(ranksHere(model), ranks, options);
  rings.push(ring);
  return ring;
}

/** f32 sums in another order, and exp and tanh of a few units in the last place, through up to three layers. */
const ROUNDING = 1e-4;

describe("ring of devices", () => {
  for (const [what, overrides, rope] of models) {
    it(`${what}: keys, values and logits are those of the reference`, { timeout: 600_000 }, async () => {
      const model = randomModel(overrides);
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const ring = await openHere(model, 3);
      for (const tokens of [3, 70, 151]) {
        const plan = positionPlan(rope, model.spec, tokens);
        const alone = await referencePass(decoder, plan, tokensOf(model.spec, tokens));
        for (const layout of layouts) {
          assertSamePass(await ringPass(ring, decoder, plan, tokens, layout), alone, ROUNDING, `${tokens} ${layout}`);
        }
      }
    });
  }

  it("ALiBi: runs of a shard keep their distances; stripes are refused with a remedy", { timeout: 600_000 }, async () => {
    const model = randomModel({ alibi: { maxBias: 8 }, rotaryDim: 0, layers: unrotated(2) });
    const decoder = await readDecoder(model.spec, model.weights, "f32");
    const plan = positionPlan({ kind: "none" }, model.spec, 75);
    const ring = await openHere(model, 2);
    const alone = await referencePass(decoder, plan, tokensOf(model.spec, 75));
    for (const layout of ["contiguous", "zigzag"] as const) {
      assertSamePass(await ringPass(ring, decoder, plan, 75, layout), alone, ROUNDING, layout);
    }
    const runner = await openShared({ ...model, weightFormat: "f32", ring: ranksHere(model) });
    const striped = { policy: { kind: "ring", ranks: 2, layout: "striped" } } as const;
    assert.throws(() => runner.setAttention(striped), { code: "bad-argument", remedy: /zigzag/ });
  });
});

function unrotated(layers: number): DecoderSpec["layers"] {
  return Array.from({ length: layers }, () => ({ window: undefined, rotation: "none" }));
}

describe("a runner whose prompts are read by a ring", () => {
  /** More than one page, a piece and a bit for each rank, and no multiple of either. */
  const TOKENS = 1100;
  const cases: [what: string, overrides: Partial<DecoderSpec>, kv: KvFormats][] = [
    ["f32", { keyShift: true, qkNorm: true }, f32],
    [
      "windows",
      {
        layers: [
          { window: 30, rotation: "main" },
          { window: undefined, rotation: "main" },
        ],
      },
      f32,
    ],
    ["q8 and f16", { headDim: 32, rotaryDim: 32 }, { keys: "q8", values: "f16" }],
  ];

  for (const [what, overrides, kv] of cases) {
    it(`${what}: answers, pools and goes on as one that reads them itself`, { timeout: 600_000 }, async () => {
      const model = randomModel({ ...overrides, maxPositionEmbeddings: 4096 });
      const { spec } = model;
      const options = { ...model, weightFormat: "f32" as const, kv };
      const alone = await openShared(options);
      const ringed = await openShared({ ...options, ring: ranksHere(model) });
      ringed.setAttention({ policy: { kind: "ring", ranks: 2, layout: "zigzag" } });
      const ids = tokensOf(spec, TOKENS);
      const progress: number[] = [];
      assert.equal(ringOf(ringed), undefined);
      const expected = await alone.append(ids, { logits: "all" });
      const found = await ringed.append(ids, { logits: "all", onProgress: (done) => progress.push(done) });
      // Rounded keys differ by a whole step where their sums differ in the last place.
      const tolerance = kv.keys === "f32" ? ROUNDING : 2e-2;
      assertNear(found ?? [], expected ?? [], tolerance, "logits of every token");
      assert.equal(ringed.length, TOKENS);
      assert.equal(progress.at(-1), TOKENS);
      const ring = ringOf(ringed);
      assert.deepEqual([ring?.ranks, ring?.layout, ring?.tokens, ring?.steps.length], [2, "zigzag", TOKENS, 4]);
      for (const runner of [alone, ringed]) for (const id of [3, 1, 4]) await runner.append([id]);
      assertNear(await last(ringed), await last(alone), tolerance, "decoded behind it");
      const edges = Uint32Array.from([0, 1, 300, 700, TOKENS - 1, TOKENS, TOKENS + 4]);
      const request = { layer: "mean", head: "mean", queryEdges: edges, keyEdges: edges } as const;
      assertNear((await ringed.pool(request)).cells, (await alone.pool(request)).cells, tolerance, "pooled attention");
      for (const runner of [alone, ringed]) {
        assert.equal(runner.truncate(1000), 992);
        await runner.append(ids.slice(992, 1040));
      }
      assertNear(await last(ringed), await last(alone), tolerance, "behind a cut");
    });
  }

  it(
    "keeps nothing of a prompt that was stopped, reads it afterwards, and another one by more ranks",
    { timeout: 600_000 },
    async () => {
      const model = randomModel();
      const options = { ...model, weightFormat: "f32" as const };
      const runner = await openShared({ ...options, ring: ranksHere(model) });
      runner.setAttention({ policy: { kind: "ring", ranks: 2, layout: "contiguous" } });
      const stop = new AbortController();
      const ids = tokensOf(model.spec, 90);
      const stopped = runner.append(ids, { signal: stop.signal, onProgress: () => stop.abort() });
      await assert.rejects(stopped, { code: "aborted" });
      assert.deepEqual([runner.length, ringOf(runner)], [0, undefined]);
      await assert.rejects(runner.append([1]), { code: "bad-argument", remedy: /at most 1 ranks/ });
      await runner.append(ids);
      const alone = await openShared(options);
      await alone.append(ids);
      assertNear(await last(runner), await last(alone), ROUNDING, "after a stop");
      // Another prompt, by another number of ranks.
      for (const each of [runner, alone]) assert.equal(each.truncate(0), 0);
      assert.equal(ringOf(runner), undefined);
      runner.setAttention({ policy: { kind: "ring", ranks: 3, layout: "striped" } });
      for (const each of [runner, alone]) await each.append(ids.slice(5));
      assertNear(await last(runner), await last(alone), ROUNDING, "another prompt");
      assert.deepEqual([ringOf(runner)?.ranks, ringOf(runner)?.layout], [3, "striped"]);
    },
  );

  it("starts another ring where the device of a rank was lost", { timeout: 600_000 }, async () => {
    const model = randomModel();
    const devices: EngineDevice[] = [];
    const ring = threadlessRing(() => async (options, signal) => {
      const gpu = await openDevice(test.gpu, test);
      devices.push(gpu);
      return openRankOn(gpu, model.spec, model.weights, options, { signal });
    });
    const runner = await open({ ...model, weightFormat: "f32", gpu: test.gpu, minimumLimits: test.minimumLimits, ring });
    runner.setAttention({ policy: { kind: "ring", ranks: 1, layout: "contiguous" } });
    const ids = tokensOf(model.spec, 40);
    const expected = await runner.append(ids, { logits: "last" });
    runner.truncate(0);
    devices[0].destroy();
    await devices[0].lost;
    await assert.rejects(runner.append(ids), { code: "device-lost", message: /^rank 0 of 1: / });
    assert.deepEqual([runner.length, ring.running], [0, 0]);
    assertNear((await runner.append(ids, { logits: "last" })) ?? [], expected ?? [], 0, "by another device");
    assert.equal(devices.length, 2);
  });

  it("says where there are no workers", async () => {
    const model = randomModel();
    const runner = await openShared({ ...model, weightFormat: "f32" });
    const ring = { policy: { kind: "ring", ranks: 2, layout: "zigzag" } } as const;
    assert.throws(() => runner.setAttention(ring), { code: "bad-argument", remedy: /flash/ });
  });
});

describe("ring of worker threads with a device each", () => {
  const folder = "media/specimens/ask-5m";
  const script = resolve("dist/ringThread.mjs");
  const zigzag = { policy: { kind: "ring", ranks: 2, layout: "zigzag" } } as const;

  async function openSpecimen(ring: RingWorkers | undefined): Promise<Runner> {
    const files = nodeModelFiles(folder);
    try {
      const { spec, weights } = await loadModel(files);
      return await open({ spec, weights, weightFormat: "file", gpu: test.gpu, ring });
    } finally {
      await files.close();
    }
  }

  it(
    "reads a prompt of the bundled model as one device does, can be stopped, and goes on with more ranks",
    { timeout: 600_000 },
    async () => {
      const runner = await openSpecimen(ringThreads(script, folder));
      const alone = await openSpecimen(undefined);
      runner.setAttention(zigzag);
      const ids = Array.from({ length: 333 }, (_, index) => 3 + ((index * 7919) % 4000));
      const stop = new AbortController();
      const stopped = runner.append(ids, { signal: stop.signal, onProgress: () => stop.abort() });
      await assert.rejects(stopped, { code: "aborted" });
      const found = await runner.append(ids, { logits: "last" });
      const expected = await alone.append(ids, { logits: "last" });
      // Logits of up to twelve, through four layers.
      assertNear(found ?? [], expected ?? [], ROUNDING, "logits");
      const steps = ringOf(runner)?.steps ?? [];
      assert.deepEqual(
        steps.map(({ rank, step, owner }) => [rank, step, owner]),
        [
          [0, 0, 0],
          [0, 1, 1],
          [1, 0, 1],
          [1, 1, 0],
        ],
      );
      assert(
        steps.every(({ computeMs, bytes, transferMs, step }) => computeMs > 0 && (step === 0 || (bytes > 0 && transferMs > 0))),
      );
      // Another number of ranks: the threads of before end, others begin.
      runner.truncate(0);
      runner.setAttention({ policy: { kind: "ring", ranks: 4, layout: "striped" } });
      assertNear((await runner.append(ids, { logits: "last" })) ?? [], expected ?? [], ROUNDING, "logits by four ranks");
      assert.equal(ringOf(runner)?.ranks, 4);
    },
  );

  it("says which rank could not open its model", { timeout: 600_000 }, async () => {
    const runner = await openSpecimen(ringThreads(script, `${folder}/nowhere`));
    runner.setAttention(zigzag);
    await assert.rejects(runner.append([1, 2, 3, 4]), { code: "not-found", message: /^rank [01] of 2: / });
    const unbuilt = await openSpecimen(ringThreads(resolve("dist/absent.mjs"), folder));
    unbuilt.setAttention(zigzag);
    await assert.rejects(unbuilt.append([1, 2, 3, 4]), {
      code: "internal",
      message: /^rank [01] of 2: the worker died: .*absent\.mjs/,
    });
  });
});

const runners: Runner[] = [];

async function open(options: WgslRunnerOptions): Promise<Runner> {
  const runner = await openWgslRunner(options);
  runners.push(runner);
  return runner;
}

function ringOf({ ring }: Runner): RingReport | undefined {
  return ring;
}

/** Logits behind what is cached: the next token is appended, the same for all runners. */
async function last(runner: Runner): Promise<Float32Array> {
  return (await runner.append([7], { logits: "last" })) ?? new Float32Array();
}
