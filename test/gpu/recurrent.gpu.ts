import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { openRunnerOn, openWgslRunner } from "../../engine/backends/wgsl.ts";
import { openDevice, type EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { assertClose } from "../support/gpuArrays.ts";
import { describeRecurrentRunner, tokens } from "../support/recurrentContract.ts";
import { randomRecurrent } from "../support/recurrentModels.ts";
import { requireGpu, type TestGpu } from "../support/requireDevice.ts";

// One device for the file: kernels compile once. Runners are not disposed, because that would take the device with them.
let test: TestGpu;
let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  test = await requireGpu();
  gpu = await openDevice(test.gpu, test);
  shaders = openShaderCache(gpu);
});

describeRecurrentRunner(
  "WebGPU",
  (options) => openRunnerOn(gpu, shaders, options),
  () => undefined,
);

describe("recurrent models on the device", () => {
  for (const kind of ["mamba", "mamba2", "rwkv7"] as const) {
    it(`${kind}: memory does not grow with what is read, and a decoded token makes no buffer`, async () => {
      const { spec, weights } = randomRecurrent(kind);
      const runner = await openRunnerOn(gpu, shaders, { spec, weights, weightFormat: "f32" });
      const ids = tokens(700, spec);
      await runner.append(ids.slice(0, 70), { logits: "all" });
      await runner.sample({ temperature: 0, topP: 1, seed: 0 });
      const made: string[] = [];
      const createBuffer = gpu.device.createBuffer.bind(gpu.device);
      gpu.device.createBuffer = (descriptor) => {
        made.push(`${descriptor.label ?? ""} of ${descriptor.size}`);
        return createBuffer(descriptor);
      };
      try {
        await runner.append(ids);
        for (const id of ids.slice(0, 300)) await runner.append([id]);
        await runner.append(ids.slice(0, 20), { logits: "all" });
        await runner.sample({ temperature: 1, topP: 0.9, seed: 1 });
        runner.truncate(900);
      } finally {
        gpu.device.createBuffer = createBuffer;
      }
      assert.deepEqual(made, []);
    });

    it(`${kind}: weights in slices of a few rows give the same`, async () => {
      const { spec, weights } = randomRecurrent(kind);
      const ids = tokens(40, spec);
      const whole = await openRunnerOn(gpu, shaders, { spec, weights, weightFormat: "f32" });
      const sliced = await openRunnerOn(gpu, shaders, { spec, weights, weightFormat: "f32", maxBindingBytes: 4096 });
      const expected = await whole.append(ids, { logits: "all" });
      // The sums are the same, in the same order.
      assertClose((await sliced.append(ids, { logits: "all" })) ?? [], expected ?? [], 1e-6, "sliced");
    });
  }

  it("report how much of the weights was read, and stop when asked", async () => {
    const { spec, weights } = randomRecurrent("rwkv7");
    const seen: [number, number][] = [];
    await openRunnerOn(gpu, shaders, {
      spec,
      weights,
      weightFormat: "f32",
      onProgress: (done, total) => seen.push([done, total]),
    });
    const [done, total] = seen.at(-1) ?? [0, 1];
    assert.equal(done, total);
    assert.ok(seen.every(([part, whole]) => part <= whole));
    const stop = new AbortController();
    const opening = openRunnerOn(gpu, shaders, {
      ...{ spec, weights, weightFormat: "f32", signal: stop.signal },
      onProgress: (part, whole) => {
        if (part > whole / 2) stop.abort();
      },
    });
    await assert.rejects(opening, { code: "aborted" });
  });

  it("reject when the device is lost, and say so", async () => {
    const { spec, weights } = randomRecurrent("mamba");
    const runner = await openWgslRunner({ spec, weights, weightFormat: "f32", ...test });
    await runner.append(tokens(10, spec));
    const underWay = runner.append(tokens(400, spec));
    assert.equal(runner.loseDevice(), true);
    await assert.rejects(underWay, { code: "device-lost" });
    await runner.lost;
    await assert.rejects(runner.append([1]), { code: "device-lost" });
    await assert.rejects(runner.sample({ temperature: 0, topP: 1, seed: 0 }), { code: "device-lost" });
  });
});
