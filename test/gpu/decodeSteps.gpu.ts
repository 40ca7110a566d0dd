/** What a decoded token costs on the device: one submission with the sampled id in it, and nothing that is made anew. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Runner } from "../../engine/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { openReferenceRunner } from "../../engine/reference/open.ts";
import { assertClose } from "../support/gpuArrays.ts";
import { randomModel } from "../support/goldenModels.ts";
import { tokens } from "../support/recurrentContract.ts";
import { randomRecurrent } from "../support/recurrentModels.ts";
import { requireDevice } from "../support/requireDevice.ts";

const GREEDY = { temperature: 0, topP: 1, seed: 0 };
const model = { ...randomModel({ layerCount: 3, keyShift: true }), weightFormat: "f32" as const };
const ids = (count: number): number[] => Array.from({ length: count }, (_, index) => (index * 7919 + 3) % model.spec.vocabSize);

let gpu: EngineDevice;
before(async () => {
  gpu = await requireDevice();
});
after(() => gpu.destroy());

/** The device, with a count of every call that makes something, and of submissions. */
function counted(): { gpu: EngineDevice; calls: Map<string, number> } {
  const calls = new Map<string, number>();
  const watch = <T extends object>(target: T, replaced: Record<string, unknown> = {}): T =>
    new Proxy(target, {
      get(_, name) {
        if (typeof name === "string" && name in replaced) return replaced[name];
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...given: unknown[]): unknown => {
          if (typeof name === "string" && /^(create|submit)/.test(name)) calls.set(name, (calls.get(name) ?? 0) + 1);
          return Reflect.apply(value, target, given);
        };
      },
    });
  return { gpu: { ...gpu, device: watch(gpu.device, { queue: watch(gpu.device.queue) }) }, calls };
}

async function answer(runner: Runner, first: number, tokens: number): Promise<number[]> {
  const answered: number[] = [];
  for (let id = first; answered.length < tokens; answered.push(id)) {
    await runner.append([id]);
    id = await runner.sample(GREEDY);
  }
  return answered;
}

describe("a decoded token", () => {
  // Each crosses pages of 16, blocks of 64 and a token on which top pages measures what it keeps.
  for (const attention of ["flash", "top-pages:3", "window:40", "sinks:4,60"]) {
    it(`${attention}: one submission, nothing made anew`, async () => {
      const { gpu: watched, calls } = counted();
      const runner = await openRunnerOn(watched, openShaderCache(watched), { ...model, attention: parseAttention(attention) });
      await runner.append(ids(430));
      const [second] = (await answer(runner, 5, 4)).slice(-1);
      for (const name of ["createBuffer", "createBindGroup", "createComputePipelineAsync", "submit"])
        assert(calls.has(name), name);
      calls.clear();
      await answer(runner, second, 40);
      assert.deepEqual(Object.fromEntries(calls), { createCommandEncoder: 40, submit: 40 });
      if (attention.startsWith("top-pages")) assert((runner.keptMass?.queries ?? 0) > 1, "measured on the way");
    });
  }

  for (const kind of ["mamba", "mamba2", "rwkv7"] as const) {
    it(`${kind}: one submission, nothing made anew`, async () => {
      const { gpu: watched, calls } = counted();
      const recurrent = { ...randomRecurrent(kind), weightFormat: "f32" as const };
      const prompt = tokens(20, recurrent.spec);
      const runner = await openRunnerOn(watched, openShaderCache(watched), recurrent);
      const reference = await openReferenceRunner(recurrent);
      for (const each of [runner, reference]) await each.append(prompt);
      const started = await answer(runner, 5, 4);
      assert.deepEqual(await answer(reference, 5, 4), started);
      calls.clear();
      const [next = 0] = started.slice(-1);
      const more = await answer(runner, next, 40);
      assert.deepEqual(Object.fromEntries(calls), { createCommandEncoder: 40, submit: 40 });
      assert.deepEqual(await answer(reference, next, 40), more);
      // Nothing is sampled behind the last of these, and its state is asked for all the same.
      for (const each of [runner, reference]) for (const id of prompt.slice(0, 9)) await each.append([id]);
      const [found, expected] = [await runner.append([4], { logits: "last" }), await reference.append([4], { logits: "last" })];
      assertClose(found ?? [], expected ?? [], 2e-4, "logits");
    });
  }

  it("is run also where nothing is sampled behind it", async () => {
    const runner = await openRunnerOn(gpu, openShaderCache(gpu), model);
    const reference = await openReferenceRunner(model);
    for (const each of [runner, reference]) {
      await each.append(ids(250));
      for (const id of ids(9)) await each.append([id]);
    }
    // The page that these tokens filled is taken out before anything else is asked.
    const [page] = (await runner.pages?.export(0, 1)) ?? [];
    const other = await openRunnerOn(gpu, openShaderCache(gpu), model);
    assert(page !== undefined);
    await other.pages?.import([page], 0);
    assert.equal(runner.truncate(256), 256);
    reference.truncate(256);
    const expected = (await reference.append([4, 5], { logits: "last" })) ?? [];
    assertClose((await runner.append([4, 5], { logits: "last" })) ?? [], expected, 2e-4, "logits behind a cut");
    assertClose((await other.append([4, 5], { logits: "last" })) ?? [], expected, 2e-4, "behind the page");
    for (const each of [runner, reference]) for (const id of ids(5)) await each.append([id]);
    assert.equal(await runner.sample(GREEDY), await reference.sample(GREEDY));
    const edges = Uint32Array.of(0, 100, 263);
    for (const each of [runner, reference]) await each.append([7]);
    const request = { layer: 2, head: 1, queryEdges: Uint32Array.of(258, 263), keyEdges: edges };
    assertClose((await runner.pool(request)).cells, (await reference.pool(request)).cells, 1e-5, "pooled attention");
    await runner.append([9]);
    runner.setAttention(parseAttention("window:9"));
    assert.equal(runner.length, 0);
    await runner.append([1, 2]);
    assert(Number.isSafeInteger(await runner.sample(GREEDY)), "buffers that are gone are not waited for");
  });
});
