/** Attention with whole rows of scores: what flash gives, at the price that it states. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { DecoderSpec, Runner } from "../../../engine/api.ts";
import { scoreBytes } from "../../../engine/attention/dense.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { openRunnerOn } from "../../../engine/backends/wgsl.ts";
import type { GpuDecoderOptions } from "../../../engine/backends/wgsl/decoderRunner.ts";
import { EngineError } from "../../../engine/errors.ts";
import type { EngineDevice } from "../../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { assertClose } from "../../support/gpuArrays.ts";
import { goldenDecoder, goldenDecoders, randomModel } from "../../support/goldenModels.ts";
import { watchMemory } from "../../support/gpuMemory.ts";
import { requireDevice } from "../../support/requireDevice.ts";

/** Two orders of the same f32 sums, through a few layers. */
const TOLERANCE = 1e-4;
const dense = parseAttention("dense");

let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
});
after(() => gpu.destroy());

async function logitsOf(runner: Runner, ids: readonly number[]): Promise<Float32Array> {
  const logits = await runner.append(ids, { logits: "all" });
  assert(logits !== undefined);
  return logits;
}

const ids = (count: number, { vocabSize }: DecoderSpec, from = 0): number[] =>
  Array.from({ length: count }, (_, index) => ((from + index) * 7919 + 3) % vocabSize);

/** A prompt in two parts and decoded tokens, by dense and then by flash. */
async function compare(change: Partial<DecoderSpec>, options: Partial<GpuDecoderOptions> = {}): Promise<void> {
  const model = { ...randomModel(change), weightFormat: "f32" as const };
  const runner = await openRunnerOn(gpu, shaders, { ...model, attention: dense, ...options });
  const parts = [ids(300, model.spec), ids(40, model.spec, 500), [7], [11]];
  const found: Float32Array[] = [];
  for (const part of parts) found.push(await logitsOf(runner, part));
  runner.setAttention(parseAttention("flash"));
  for (const [index, part] of parts.entries())
    assertClose(found[index], await logitsOf(runner, part), TOLERANCE, `part ${index}`);
}

describe("dense attention equals flash", () => {
  for (const name of goldenDecoders) {
    it(name, async () => {
      const { spec, weights, inputIds, golden, tolerance } = goldenDecoder(name);
      const runner = await openRunnerOn(gpu, shaders, { spec, weights, weightFormat: "f32", attention: dense });
      runner.setPositions(positionPlan(spec.rope, spec, inputIds.length));
      const found = await logitsOf(runner, inputIds);
      assertClose(found.subarray(-spec.vocabSize), golden.logits_last, tolerance.float32, "recorded logits");
      runner.setAttention(parseAttention("flash"));
      assertClose(found, await logitsOf(runner, inputIds), TOLERANCE, "flash");
    });
  }

  it("over slabs of one page, in chunks and decoded", () => compare({}, { slabPages: 1 }));
  it("with linear biases and a softcap", () =>
    compare({
      ...{ rotaryDim: 0, alibi: { maxBias: 8 }, headCount: 3, kvHeadCount: 3, attentionSoftcap: 3 },
      layers: Array<DecoderSpec["layers"][number]>(2).fill({ window: undefined, rotation: "none" }),
    }));
  it("with the model's windows as masks, whose pages go round", async () => {
    const shape: Partial<DecoderSpec> = {
      layerCount: 1,
      layers: [{ window: 50, rotation: "main" }],
      headCount: 2,
      kvHeadCount: 1,
    };
    const model = { ...randomModel(shape), weightFormat: "f32" as const };
    const runner = await openRunnerOn(gpu, shaders, { ...model, attention: dense });
    const flash = await openRunnerOn(gpu, shaders, model);
    // The ring has eight pages, so places are taken again from 2048 tokens on.
    for (const each of [runner, flash]) for (let part = 0; part < 5; part++) await each.append(ids(440, model.spec, 500 * part));
    for (const part of [ids(20, model.spec), [5]]) {
      assertClose(await logitsOf(runner, part), await logitsOf(flash, part), TOLERANCE, "behind 2200 tokens");
    }
  });
  it("with keys in 8 bits and values in halves", () => compare({ headDim: 64 }, { kv: { keys: "q8", values: "f16" } }));
});

describe("what dense attention costs", () => {
  const model = { ...randomModel(), weightFormat: "f32" as const };
  const { headCount } = model.spec;

  it("is the rows of the largest chunk, and of all tokens at once a square", () => {
    assert.deepEqual(scoreBytes(4, 0, 100, 512), { atOnce: 4 * 4 * 100 * 100, square: 4 * 4 * 100 * 100 });
    assert.deepEqual(scoreBytes(4, 0, 1030, 512), { atOnce: 4 * 4 * 512 * 1024, square: 4 * 4 * 1030 * 1030 });
    assert.deepEqual(scoreBytes(4, 1000, 1, 512), { atOnce: 4 * 4 * 1001, square: 4 * 4 * 1001 * 1001 });
    assert.deepEqual(scoreBytes(32, 0, 131072, 512), { atOnce: 4 * 32 * 512 * 131072, square: 4 * 32 * 131072 ** 2 });
  });

  it("is held on the device, told, and given back", async () => {
    const watched = watchMemory(gpu);
    const runner = await openRunnerOn(watched.gpu, shaders, { ...model, attention: dense });
    const told = (): Runner["denseScores"] => runner.denseScores;
    assert.equal(told(), undefined);
    await runner.append(ids(700, model.spec));
    assert.deepEqual(told(), scoreBytes(headCount, 0, 700, 512));
    const held = watched.liveBytes("scores");
    assert(held >= 4 * headCount * 512 * 512 && held < 2 * 4 * headCount * 512 * 700, `${held} bytes`);
    await runner.append([5]);
    assert.deepEqual(told(), { atOnce: scoreBytes(headCount, 0, 700, 512).atOnce, square: 4 * headCount * 701 ** 2 });
    runner.setAttention(parseAttention("flash"));
    await runner.append([5]);
    assert.equal(watched.liveBytes("scores"), 0);
    assert.equal(told(), undefined);
  });

  it("is refused above the budget before anything runs, with the bytes and what to do", async () => {
    const runner = await openRunnerOn(gpu, shaders, { ...model, attention: dense, denseBytes: 2 ** 20 });
    await runner.append(ids(250, model.spec));
    await assert.rejects(runner.append(ids(200, model.spec)), (error) => {
      assert(
        EngineError.is(error, "limit-exceeded") && /200 queries and 450 keys/.test(error.message) && /flash/.test(error.remedy),
      );
      const facts = { needBytes: 4 * headCount * 450 * 200, haveBytes: 2 ** 20, squareBytes: 4 * headCount * 450 ** 2 };
      assert.deepEqual(error.facts, facts);
      return true;
    });
    assert.equal(runner.length, 250);
    await runner.append(ids(50, model.spec));
  });

  it("is refused for positions with more than one band", async () => {
    const runner = await openRunnerOn(gpu, shaders, { ...model, attention: dense });
    runner.setPositions(positionPlan({ kind: "self_extend", group: 4, window: 64 }, model.spec, 500));
    await assert.rejects(runner.append([1, 2]), (error) => EngineError.is(error, "bad-argument") && /flash/.test(error.remedy));
    runner.setPositions(positionPlan({ kind: "none" }, model.spec, 500));
    await runner.append([1, 2]);
  });
});
