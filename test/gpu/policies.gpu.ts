/** The WebGPU runner under every fixed policy and cache format, against the reference runner under the same. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Runner, RunnerOptions } from "../../engine/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import type { GpuDecoderOptions } from "../../engine/backends/wgsl/decoderRunner.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { positionPlan } from "../../engine/position/bands.ts";
import { openReferenceRunner } from "../../engine/reference/open.ts";
import { assertClose } from "../support/gpuArrays.ts";
import { randomModel } from "../support/goldenModels.ts";
import { requireDevice } from "../support/requireDevice.ts";

const TOLERANCE = 2e-4;

let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
});
after(() => gpu.destroy());

const { spec, weights } = randomModel({ keyShift: true, qkNorm: true });
const model = { spec, weights, weightFormat: "f32" as const };
const openGpu = (options: Partial<GpuDecoderOptions> = {}): Promise<Runner> =>
  openRunnerOn(gpu, shaders, { ...model, ...options });
const ids = (count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, index) => ((from + index) * 7919 + 3) % spec.vocabSize);

async function logitsOf(runner: Runner, given: readonly number[]): Promise<Float32Array> {
  const logits = await runner.append(given, { logits: "all" });
  assert(logits !== undefined);
  return logits;
}

/** A prompt in two parts and some decoded tokens, by both. */
async function compare(runner: Runner, reference: Runner, prompt = 300): Promise<void> {
  for (const part of [ids(prompt), ids(70, 1000)]) {
    assertClose(await logitsOf(runner, part), await logitsOf(reference, part), TOLERANCE, "prompt");
  }
  for (const id of ids(3, 5)) assertClose(await logitsOf(runner, [id]), await logitsOf(reference, [id]), TOLERANCE, "decoded");
}

describe("policies", () => {
  const policies = ["window:40", "sinks:4,60", "longformer:40,5", "bigbird:2,1,1", "strided:37", "fixed:50,3", "a-shape:5,60"];
  for (const text of policies) {
    it(`${text}: prompt and decoded tokens equal the reference, and differ from flash`, async () => {
      const attention = parseAttention(text);
      await compare(await openGpu({ attention }), await openReferenceRunner({ ...model, attention }));
      const [sparse, whole] = [await openGpu({ attention }), await openGpu()];
      const [a, b] = [await logitsOf(sparse, ids(370)), await logitsOf(whole, ids(370))];
      assert(a.some((value, index) => Math.abs(value - b[index]) > 10 * TOLERANCE));
    });
  }

  it("ALiBi counts slots under sinks", async () => {
    const alibi = randomModel({
      rotaryDim: 0,
      alibi: { maxBias: 8 },
      layers: Array(2).fill({ window: undefined, rotation: "none" }),
    });
    const options: RunnerOptions = { ...alibi, weightFormat: "f32", attention: parseAttention("sinks:4,60") };
    await compare(await openRunnerOn(gpu, shaders, options), await openReferenceRunner(options));
  });

  it("a choice is followed from the next prompt on, whatever positions were set before and after", async () => {
    const runner = await openGpu();
    const whole = await logitsOf(runner, ids(300));
    runner.setAttention(parseAttention("sinks:4,60"));
    assert.equal(runner.length, 0, "what was cached belongs to another choice");
    const reference = await openReferenceRunner({ ...model, attention: parseAttention("sinks:4,60") });
    assertClose(await logitsOf(runner, ids(300)), await logitsOf(reference, ids(300)), TOLERANCE, "sinks");
    runner.setAttention(parseAttention("flash"));
    assertClose(await logitsOf(runner, ids(300)), whole, 1e-6, "flash again");
  });
});

describe("what stays in the cache", () => {
  it("a window keeps a ring: long contexts take no more memory, answers stay right, and a cut goes back as far as the ring", async () => {
    const attention = parseAttention("sinks:4,200");
    const runner = await openGpu({ attention });
    const reference = await openReferenceRunner({ ...model, attention });
    for (const each of [runner, reference]) for (let part = 0; part < 5; part++) await each.append(ids(500, 500 * part));
    // 2500 tokens are ten pages; the pinned one and the ring are nine.
    assertClose(await logitsOf(runner, [5]), await logitsOf(reference, [5]), TOLERANCE, "behind 2500 tokens");
    assert.equal(runner.truncate(2200), 2192, "within the slack");
    reference.truncate(2192);
    assertClose(await logitsOf(runner, ids(60)), await logitsOf(reference, ids(60)), TOLERANCE, "after a cut");
    assert.equal(runner.truncate(600), 0, "the pages there were taken by others");
  });

  it("the model's own windows keep rings too", async () => {
    const layers = [
      { window: 50, rotation: "main" as const },
      { window: undefined, rotation: "main" as const },
    ];
    const windowed = randomModel({ layers, keyShift: true });
    const options: RunnerOptions = { ...windowed, weightFormat: "f32" };
    const runner = await openRunnerOn(gpu, shaders, options);
    const reference = await openReferenceRunner(options);
    for (const each of [runner, reference]) for (let part = 0; part < 5; part++) await each.append(ids(500, 500 * part));
    assertClose(await logitsOf(runner, ids(20)), await logitsOf(reference, ids(20)), TOLERANCE, "behind 2500 tokens");
  });

  for (const kv of [
    { keys: "f16", values: "f16" },
    { keys: "q8", values: "q8" },
    { keys: "q8", values: "q4" },
  ] as const) {
    it(`${kv.keys} keys and ${kv.values} values are as far off as they say`, async () => {
      const runner = await openGpu({ kv });
      const measured = (): Runner["cacheError"] => runner.cacheError;
      assert.equal(measured(), undefined);
      const rounded = await logitsOf(runner, ids(300));
      const exact = await logitsOf(await openGpu(), ids(300));
      const cacheError = measured();
      assert(cacheError !== undefined);
      const bound = { f32: 0, f16: 5e-4, q8: 8e-3, q4: 0.12 };
      for (const which of ["keys", "values"] as const) {
        assert(cacheError[which] > 0 && cacheError[which] < bound[kv[which]], `${which}: ${cacheError[which]}`);
      }
      const reference = await openReferenceRunner({ ...model, kv });
      // A code that lies between two may go either way in f32; such a step of one number is all that may differ.
      assertClose(rounded, await logitsOf(reference, ids(300)), kv.values === "q4" ? 0.02 : 4e-3, "as the plain loops round");
      const off = Math.max(...rounded.map((value, index) => Math.abs(value - exact[index])));
      assert(off > 0 && off < 100 * Math.max(cacheError.keys, cacheError.values), `${off}`);
    });
  }
});

describe("streaming", () => {
  it("keys and values that pass by from host memory give what resident ones give, in two copies, decoded too", async () => {
    const plans = [positionPlan(spec.rope, spec, 64), positionPlan({ kind: "rerope", window: 90 }, spec, 64)];
    for (const plan of plans) {
      const resident = await openGpu({ slabPages: 1 });
      const streamed = await openGpu({ slabPages: 1, attention: parseAttention("stream") });
      for (const runner of [resident, streamed]) runner.setPositions(plan);
      for (const part of [ids(560), ids(100, 1000), [5], [6]]) {
        assertClose(await logitsOf(streamed, part), await logitsOf(resident, part), 1e-5, `${plan.key} ${part.length}`);
      }
      const request = { layer: 1, head: 2, queryEdges: Uint32Array.of(10, 300, 662), keyEdges: Uint32Array.of(0, 20, 500, 662) };
      assertClose((await streamed.pool(request)).cells, (await resident.pool(request)).cells, 1e-5, "pooled");
      for (const runner of [resident, streamed]) assert.equal(runner.truncate(300), 288);
      assertClose(
        await logitsOf(streamed, ids(400, 7)),
        await logitsOf(resident, ids(400, 7)),
        1e-5,
        "cut inside a slab on the host",
      );
      const { streamed: times } = streamed;
      assert(times !== undefined && times.slabs > 0 && times.bytes > 0);
      assert.equal(resident.streamed, undefined);
    }
  });

  it("more slabs than a decoded token has parts", async () => {
    const whole = await openGpu();
    const streamed = await openGpu({ slabPages: 1, attention: parseAttention("stream") });
    for (const runner of [whole, streamed]) for (let part = 0; part < 3; part++) await runner.append(ids(600, 600 * part));
    assertClose(await logitsOf(streamed, [5]), await logitsOf(whole, [5]), 1e-5, "seven slabs of up to sixteen parts");
  });
});

describe("pages", () => {
  for (const options of [
    {},
    { attention: parseAttention("stream"), slabPages: 1 },
    { kv: { keys: "q8", values: "f16" } as const, slabPages: 1 },
    { attention: parseAttention("window:300") },
  ]) {
    it(`${JSON.stringify(options)}: what was taken out goes on as if it had never left`, async () => {
      const first = await openGpu(options);
      await first.append(ids(600));
      const kept = await first.pages?.export(0, 2);
      assert(kept !== undefined && first.pages !== undefined);
      assert.equal(kept[0]?.length, first.pages.bytesPerPage);
      await assert.rejects(first.pages.export(1, 2), { code: "bad-argument" });
      const second = await openGpu(options);
      await second.pages?.import(
        kept.filter((page) => page !== undefined),
        0,
      );
      assert.equal(second.length, 512);
      assert.equal(first.truncate(512), 512);
      const rest = ids(80, 512);
      assertClose(await logitsOf(second, rest), await logitsOf(first, rest), 1e-5, "behind the pages");
      assert.equal(second.truncate(500), 496);
      assert.equal(first.truncate(500), 496);
      assertClose(await logitsOf(second, rest), await logitsOf(first, rest), 1e-5, "cut inside a page");
      await assert.rejects(second.pages?.import([new Uint8Array(8)], 2) ?? Promise.resolve(), { code: "bad-argument" });
    });
  }
});
