/** What the planner says of memory is what lies on the device; what it measures are rates of the device, and it leaves nothing behind. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { DecoderSpec, ModelSpec, PositionPlan, RopeScaling } from "../../engine/api.ts";
import type { AttentionChoice, KvFormats } from "../../engine/attention/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { F32_CACHE, WHOLE } from "../../engine/attention/wholeOnly.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { parseKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import type { PlanDevice } from "../../engine/planner/api.ts";
import { measureDevice } from "../../engine/planner/measureDevice.ts";
import { planFor } from "../../engine/planner/plan.ts";
import { probeWeights } from "../../engine/planner/probe.ts";
import { weightsOnDevice } from "../../engine/planner/weightBytes.ts";
import { positionPlan } from "../../engine/position/bands.ts";
import { gemmaLike, keyShifted } from "../support/decoderShapes.ts";
import { goldenDecoder, goldenRecurrent } from "../support/goldenModels.ts";
import { watchMemory } from "../support/gpuMemory.ts";
import { requireDevice } from "../support/requireDevice.ts";

const llama: DecoderSpec = { ...goldenDecoder("llama_llama3rope").spec, vocabSize: 500 };
const f16 = (): "f16" => "f16";
const wholeLayers = (count: number) => Array.from({ length: count }, () => ({ window: undefined, rotation: "main" as const }));

let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
});

interface Case {
  spec: ModelSpec;
  /** Part of the workspace depends on the pace of the chunks or on what the device can do, and is planned as what it is at most. */
  atMost?: boolean;
  tokens: number;
  attention?: AttentionChoice;
  kv?: KvFormats;
  rope?: RopeScaling;
}

/** Plans, then opens the model and reads a prompt of the length; bytes by what they are for. */
async function planAndRead({ spec, tokens, attention = WHOLE, kv = F32_CACHE, rope }: Case) {
  const positions: PositionPlan | undefined = spec.kind === "decoder" ? positionPlan(rope ?? spec.rope, spec, tokens) : undefined;
  const device: PlanDevice = {
    backend: "wgsl",
    memoryBytes: undefined,
    cacheBytes: undefined,
    maxBufferBytes: gpu.maxBufferBytes,
  };
  const plan = planFor({
    ...{ spec, tokens, attention, kv, device, rates: undefined },
    weights: weightsOnDevice(spec, f16, "file"),
    positions: { bands: positions?.bands.length ?? 1, copies: positions?.copies.length ?? 1 },
  });
  const watched = watchMemory(gpu);
  const weights = probeWeights(spec, f16, "file");
  const attends = spec.kind === "decoder" ? { attention, kv } : {};
  const runner = await openRunnerOn(watched.gpu, shaders, { spec, weights, weightFormat: "file", ...attends });
  if (positions !== undefined) runner.setPositions(positions);
  await runner.append(new Int32Array(tokens).fill(1));
  await runner.sample({ temperature: 0, topP: 1, seed: 0 });
  return {
    plan,
    cacheBytes: watched.liveBytes("keys", "values", "raw keys", "open keys", "open values", "bounds of keys"),
    allBytes: watched.liveBytes(),
  };
}

/** Page lists, tables and rounding of buffers to 16 bytes: what is allocated and not worth planning. */
const UNPLANNED_BYTES = 96 * 1024;

describe("memory as planned is memory as allocated", () => {
  const cases: Record<string, Case> = {
    "a transformer": { spec: llama, tokens: 300 },
    "its keys and values in 8 and 4 bits": {
      spec: { ...llama, headDim: 64, rotaryDim: 64 },
      tokens: 300,
      kv: parseKvFormats("q8,q4"),
    },
    "one that shifts keys": { spec: { ...llama, ...keyShifted }, tokens: 1100 },
    "layers with windows and two rotations": { spec: { ...llama, ...gemmaLike, layerCount: 2 }, tokens: 300 },
    "a window for all layers, beyond which pages are taken again": {
      ...{ spec: llama, tokens: 4000, attention: parseAttention("window:20"), atMost: true },
    },
    "sinks and a window": { spec: llama, tokens: 4000, attention: parseAttention("sinks:4,100"), atMost: true },
    "tiles of 8 bits": {
      spec: { ...llama, headDim: 64, rotaryDim: 64 },
      tokens: 300,
      attention: parseAttention("flash3"),
      atMost: true,
    },
    "rows of scores": { spec: llama, tokens: 300, attention: parseAttention("dense") },
    "pages to choose from": {
      spec: { ...llama, layers: wholeLayers(4), layerCount: 4 },
      tokens: 300,
      attention: parseAttention("top-pages:4"),
    },
    "keys in host memory": { spec: llama, tokens: 300, attention: parseAttention("stream") },
    "two rotations of the keys": { spec: llama, tokens: 300, rope: { kind: "self_extend", group: 2, window: 8 } },
    mamba: { spec: goldenRecurrent("mamba").spec, tokens: 40 },
    "mamba 2": { spec: goldenRecurrent("mamba2").spec, tokens: 40 },
    "rwkv 7": { spec: goldenRecurrent("rwkv7").spec, tokens: 40 },
  };
  for (const [name, asked] of Object.entries(cases)) {
    it(name, async () => {
      const { plan, cacheBytes, allBytes } = await planAndRead(asked);
      if (asked.spec.kind === "decoder") assert.equal(cacheBytes, plan.kvAllocatedBytes, "keys and values");
      const least = asked.atMost === true ? plan.totalBytes - plan.workspaceBytes / 2 : plan.totalBytes - 1024;
      assert.ok(
        allBytes >= least && allBytes <= plan.totalBytes + UNPLANNED_BYTES,
        `${allBytes} bytes, planned ${plan.totalBytes}`,
      );
    });
  }
});

describe("rates as measured", () => {
  for (const [name, spec] of Object.entries<ModelSpec>({ llama, rwkv7: goldenRecurrent("rwkv7").spec })) {
    it(`of ${name} are those of this device, and nothing is left on it`, async () => {
      const watched = watchMemory(gpu);
      const ways = [F32_CACHE, parseKvFormats("f16")].map((kv) => ({ kernel: "flash" as const, kv }));
      const rates = await measureDevice(watched.gpu, shaders, { spec, formatOf: f16, weightFormat: "file", attention: ways });
      assert.equal(watched.liveBytes(), 0);
      assert.equal(rates.device, gpu.description);
      assert.equal(rates.attention.length, spec.kind === "decoder" ? 2 : 0);
      assert.ok(rates.layer.length > 0 && rates.layer.every(({ tokens, seconds }) => tokens > 1 && seconds > 0));
      const all = [
        rates.copyBytes,
        rates.uploadBytes,
        rates.readbackBytes,
        ...Object.values(rates.matmulFlops),
        rates.step.layerSeconds,
      ];
      const pairs = rates.attention.flatMap(({ prefill, decode }) => [prefill, decode]);
      assert.ok(
        [...all, ...pairs].every((rate) => rate !== undefined && rate > 0 && Number.isFinite(rate)),
        JSON.stringify(rates),
      );
      // The device goes on.
      gpu.check();
    });
  }

  it("end when they are stopped", async () => {
    const request = { spec: llama, formatOf: f16, weightFormat: "file" as const, attention: [], signal: AbortSignal.abort() };
    await assert.rejects(measureDevice(gpu, shaders, request), { code: "aborted" });
  });
});
