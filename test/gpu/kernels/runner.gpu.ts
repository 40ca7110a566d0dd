import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { DecoderSpec, Runner, Sampling, TokenMask } from "../../../engine/api.ts";
import { openRunnerOn, openWgslRunner } from "../../../engine/backends/wgsl.ts";
import { openPace } from "../../../engine/backends/wgsl/pace.ts";
import { openDevice, probeAdapter, type EngineDevice } from "../../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import type { HeadFacts } from "../../../engine/attention/api.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { assertClose } from "../../support/gpuArrays.ts";
import { randomModel } from "../../support/goldenModels.ts";
import { requireGpu, type TestGpu } from "../../support/requireDevice.ts";

const small: Partial<DecoderSpec> = { headDim: 8, vocabSize: 75, layerCount: 3 };
const model = { ...randomModel(small), weightFormat: "f32" as const };

let test: TestGpu;
let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  test = await requireGpu();
  gpu = await openDevice(test.gpu, test);
  shaders = openShaderCache(gpu);
});

function tokens(count: number): number[] {
  return Array.from({ length: count }, (_, index) => (index * 7919 + 3) % model.spec.vocabSize);
}

function edges(count: number, end: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: count + 1 }, (_, index) => Math.floor((index * end) / count));
}

describe("sampling", () => {
  it("draws what the plain loops draw, over seeds, temperatures, nuclei and masks", async () => {
    const runner = await openRunnerOn(gpu, shaders, model);
    const reference = await openReferenceRunner(model);
    await runner.append(tokens(9));
    await reference.append(tokens(9));
    const mask: TokenMask = Uint32Array.of(0x0f0f0f0f, 0x80000001, 0x7ff);
    const drawn = new Set<number>();
    for (const allowed of [undefined, mask]) {
      for (const [temperature, topP] of [
        [0, 1],
        [0.3, 1],
        [1, 0.9],
        [5, 1],
        [2, 0.5],
        [1, 0.01],
      ] as const) {
        for (let seed = 0; seed < 6; seed++) {
          const sampling: Sampling = { temperature, topP, seed };
          const token = await runner.sample(sampling, allowed);
          assert.equal(
            token,
            await reference.sample(sampling, allowed),
            JSON.stringify({ sampling, masked: allowed !== undefined }),
          );
          if (allowed !== undefined) assert((((allowed[token >> 5] ?? 0) >>> (token & 31)) & 1) === 1);
          drawn.add(token);
        }
      }
    }
    assert(drawn.size > 10, "the seeds reach many tokens");
  });

  it("equal logits: the lowest index when greedy, rising indices in the nucleus", async () => {
    const { spec } = model;
    const zero = {
      ...model.weights,
      readRows: async (name: string, start = 0, end = 0) => {
        const rows = await model.weights.readRows(name, start, end);
        return name === "lm_head.weight" ? rows.fill(0) : rows;
      },
    };
    const runner = await openRunnerOn(gpu, shaders, { spec, weights: zero, weightFormat: "f32" });
    const reference = await openReferenceRunner({ spec, weights: zero, weightFormat: "f32" });
    await runner.append([1, 2]);
    await reference.append([1, 2]);
    assert.equal(await runner.sample({ temperature: 0, topP: 1, seed: 0 }), 0);
    for (let seed = 0; seed < 12; seed++) {
      const sampling = { temperature: 1, topP: 0.5, seed };
      assert.equal(await runner.sample(sampling), await reference.sample(sampling));
    }
  });

  it("refuses a mask of another length or without a token", async () => {
    const runner = await openRunnerOn(gpu, shaders, model);
    await runner.append([1]);
    await assert.rejects(runner.sample({ temperature: 0, topP: 1, seed: 0 }, new Uint32Array(2)), { code: "bad-argument" });
    // Bits behind the vocabulary allow nothing.
    await assert.rejects(runner.sample({ temperature: 0, topP: 1, seed: 0 }, Uint32Array.of(0, 0, 0xfffff800)), {
      code: "bad-argument",
    });
    await assert.rejects(runner.sample({ temperature: -1, topP: 1, seed: 0 }), { code: "bad-argument" });
  });
});

describe("attention pool", () => {
  it("equals the plain loops for single heads and means, with bins of many sizes, across prefilled and decoded tokens", async () => {
    const runner = await openRunnerOn(gpu, shaders, model);
    const reference = await openReferenceRunner(model);
    const ids = tokens(70);
    for (const each of [runner, reference]) {
      await each.append(ids.slice(0, 68));
      for (const id of ids.slice(68)) await each.append([id]);
    }
    const requests = [
      { layer: 1, head: 2, queryEdges: edges(70, 70), keyEdges: edges(70, 70) },
      { layer: "mean" as const, head: 0, queryEdges: Uint32Array.of(3, 4, 50, 70), keyEdges: Uint32Array.of(0, 1, 40, 60) },
      { layer: "mean" as const, head: "mean" as const, queryEdges: Uint32Array.of(66, 70), keyEdges: edges(7, 70) },
    ];
    for (const request of requests) {
      const pooled = await runner.pool(request);
      // Sums of at most 70 probabilities, each off by a few f32 roundings of its score.
      assertClose(pooled.cells, (await reference.pool(request)).cells, 1e-5, JSON.stringify(request.layer));
      assert.deepEqual([pooled.rows, pooled.columns], [request.queryEdges.length - 1, request.keyEdges.length - 1]);
    }
    const whole = await runner.pool({ layer: "mean", head: "mean", queryEdges: edges(5, 70), keyEdges: edges(1, 70) });
    assertClose(whole.cells, [1, 1, 1, 1, 1], 1e-5, "rows over all keys sum to one");
    await assert.rejects(runner.pool({ layer: 9, head: 0, queryEdges: edges(1, 70), keyEdges: edges(1, 70) }), {
      code: "bad-argument",
    });
  });

  it("keeps the last layers that fit and says why", async () => {
    // 1024 tokens at 4 heads of 8 and a denominator each: 144 KiB of a layer.
    const runner = await openRunnerOn(gpu, shaders, { ...model, tapBytes: 2 * 144 * 1024 });
    await runner.append(tokens(20));
    assert.deepEqual(runner.tap.layers, [1, 2]);
    assert.match(runner.tap.because, /1024 tokens of one layer take 0\.1 MiB.*0\.3 MiB/);
    await runner.append(tokens(700));
    const reference = await openReferenceRunner(model);
    await reference.append([...tokens(20), ...tokens(700)]);
    const request = { layer: 2, head: 1, queryEdges: Uint32Array.of(10, 20, 700, 720), keyEdges: edges(8, 720) };
    assertClose((await runner.pool(request)).cells, (await reference.pool(request)).cells, 1e-5, "all queries are kept");
    await assert.rejects(runner.pool({ ...request, layer: 0 }), { code: "bad-argument" });
    const none = await openRunnerOn(gpu, shaders, { ...model, tapBytes: 0 });
    await none.append(tokens(5));
    assert.deepEqual(none.tap.layers, []);
  });

  it("says of each head what it does, as the plain loops do", async () => {
    const runner = await openRunnerOn(gpu, shaders, { ...model, slabPages: 1 });
    const reference = await openReferenceRunner(model);
    for (const each of [runner, reference]) await each.append(tokens(300));
    for (const queries of [300, 7]) {
      const [found, expected] = [await runner.headFacts?.(queries), await reference.headFacts?.(queries)];
      assert(found !== undefined && expected !== undefined);
      assert.deepEqual([found.queries, found.heads.length], [queries, model.spec.layerCount * model.spec.headCount]);
      for (const [index, { layer, head, sinkMass, entropy, distances }] of expected.heads.entries()) {
        const own: HeadFacts = found.heads[index];
        assert.deepEqual([own.layer, own.head], [layer, head]);
        assertClose([own.sinkMass, own.entropy, ...own.distances], [sinkMass, entropy, ...distances], 1e-4, `${layer} ${head}`);
        assertClose([own.distances.reduce((sum, share) => sum + share, 0)], [1], 1e-4, "distances share all attention");
      }
    }
  });

  it("samples a context that is longer than what is kept, and all that is decoded", async () => {
    const runner = await openRunnerOn(gpu, shaders, { ...model, tapBytes: 3 * 144 * 1024 });
    const reference = await openReferenceRunner(model);
    for (const each of [runner, reference]) {
      await each.append(tokens(1600));
      for (const id of tokens(3)) await each.append([id]);
    }
    assert.deepEqual(runner.tap.layers, [0, 1, 2], "the length takes no layers away");
    // Every fourth token of the prompt is kept: a row of one kept token is exact, and so is that of a decoded one.
    for (const query of [400, 1596, 1599, 1600, 1602]) {
      const request = { layer: 1, head: 3, queryEdges: Uint32Array.of(query, query + 1), keyEdges: edges(8, 1603) };
      assertClose((await runner.pool(request)).cells, (await reference.pool(request)).cells, 1e-5, `query ${query}`);
    }
    const whole = await runner.pool({ layer: 1, head: 3, queryEdges: edges(40, 1603), keyEdges: edges(1, 1603) });
    assertClose(whole.cells, new Float32Array(40).fill(1), 1e-5, "rows sum to one");
    assert.equal(whole.sampledQueries, 400 + 4, "every fourth, the prompt's last, and three decoded ones");
  });
});

describe("stopping", () => {
  it("a stop between chunks keeps what is done, and going on gives the same logits", async () => {
    const runner = await openRunnerOn(gpu, shaders, model);
    const ids = tokens(300);
    const stop = new AbortController();
    const progress: number[] = [];
    await assert.rejects(
      runner.append(ids, {
        signal: stop.signal,
        onProgress: (done) => {
          progress.push(done);
          stop.abort();
        },
      }),
      { code: "aborted" },
    );
    assert.deepEqual(progress, [runner.length]);
    assert(runner.length > 0 && runner.length < 300);
    const resumed = await runner.append(ids.slice(runner.length), { logits: "last" });
    const fresh = await openRunnerOn(gpu, shaders, model);
    const straight = await fresh.append(ids, { logits: "last" });
    assert(resumed !== undefined && straight !== undefined);
    // Other chunk borders add in another order.
    assertClose(resumed, straight, 5e-5, "logits");
  });

  it("a stop while weights load", async () => {
    const stop = new AbortController();
    const seen: [number, number][] = [];
    const onProgress = (done: number, total: number) => {
      seen.push([done, total]);
      if (done > total / 2) stop.abort();
    };
    await assert.rejects(openRunnerOn(gpu, shaders, { ...model, signal: stop.signal, onProgress }), { code: "aborted" });
    assert(seen.every(([done, total]) => done <= total) && seen.length > 1);
  });

  it("the pace follows the device", () => {
    const pace = openPace(8, 512);
    const now = () => [pace.chunkTokens, pace.layersPerSubmission];
    assert.deepEqual(now(), [64, 8]);
    pace.measured(64, 20);
    assert.deepEqual(now(), [128, 8], "a fast device gets more");
    pace.measured(100, 20);
    assert.deepEqual(now(), [128, 8], "a last, shorter chunk teaches nothing about longer ones");
    pace.measured(128, 240);
    assert.deepEqual(now(), [128, 2], "30 ms a layer");
    for (let i = 0; i < 9; i++) pace.measured(pace.chunkTokens, 4000);
    assert.deepEqual(now(), [64, 1], "a slow one is waited for after every layer");
    assert.equal(openPace(8, 40).chunkTokens, 40, "and no chunk is larger than the buffers");
  });
});

describe("losing the device", () => {
  async function open(): Promise<Runner> {
    return openWgslRunner({ ...model, ...test });
  }

  it("rejects work under way and later, and settles `lost`", async () => {
    const runner = await open();
    assert.equal(runner.kind, "wgsl");
    await runner.append(tokens(10));
    const underWay = runner.append(tokens(400));
    assert.equal(runner.loseDevice(), true);
    await assert.rejects(underWay, { code: "device-lost" });
    await runner.lost;
    await assert.rejects(runner.append([1]), { code: "device-lost" });
    await assert.rejects(runner.sample({ temperature: 0, topP: 1, seed: 0 }), { code: "device-lost" });
    await assert.rejects(runner.pool({ layer: 0, head: 0, queryEdges: edges(1, 5), keyEdges: edges(1, 5) }), {
      code: "device-lost",
    });
  });

  it("no adapter is an error with a remedy", async () => {
    const none = { requestAdapter: async () => null } as Pick<GPU, "requestAdapter"> as GPU;
    assert.equal(await probeAdapter(none), undefined);
    await assert.rejects(openWgslRunner({ ...model, gpu: none }), { code: "no-adapter", remedy: /WASM/ });
  });

  it("an error nobody waits for ends the next wait", async () => {
    const device = await openDevice(test.gpu, test);
    device.device.createBuffer({ size: 16, usage: 1 << 20 });
    await device.settle(device.device.queue.onSubmittedWorkDone()).catch(() => undefined);
    await assert.rejects(device.settle(device.device.queue.onSubmittedWorkDone()), {
      code: "internal",
      message: /refused a command/,
    });
    device.destroy();
  });

  it("the adapter is described, with its limits", async () => {
    const report = await probeAdapter(test.gpu);
    assert(report !== undefined && report.description !== "");
    assert(report.limits.maxStorageBufferBindingSize >= 128 * 2 ** 20);
    const minimum = await openDevice(test.gpu, { minimumLimits: true });
    assert.equal(minimum.maxBufferBytes, 128 * 2 ** 20);
    assert.equal(minimum.device.limits.maxBufferSize, 256 * 2 ** 20);
    minimum.destroy();
  });
});
