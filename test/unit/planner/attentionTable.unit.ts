/** The table of ways to read a prompt: what a backend can do, measured once, and the choice among it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { policyTable } from "../../../engine/attention/policyTable.ts";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { abortedError, EngineError } from "../../../engine/errors.ts";
import type { AttentionTableRequest, MeasuredRates } from "../../../engine/planner/api.ts";
import { attentionTable, type OpenModel, RateKeeper } from "../../../engine/planner/attentionTable.ts";
import type { MeasureRequest } from "../../../engine/planner/measure.ts";
import { openSession } from "../../../engine/session.ts";
import { tinyModelFiles } from "../../support/tinyModel.ts";
import { modelSpec } from "../webview/modelSpec.ts";

const never = new AbortController().signal;
const request: AttentionTableRequest = { tokens: 2000, rope: { kind: "model" }, attention: WHOLE, kv: F32_CACHE };

/** Twice as fast in attention as in anything, by the kernels that are asked for. */
function ratesFor({ attention }: MeasureRequest): MeasuredRates {
  return {
    ...{ kind: "measured", backend: "wgsl", device: "a device", elapsedMs: 1200 },
    layer: [{ tokens: 512, seconds: 0.01 }],
    chunk: [{ tokens: 512, seconds: 0.001 }],
    step: { layerSeconds: 0.001, seconds: 0.001 },
    attention: attention.map((one) => ({ ...one, prefill: 1e9, decode: 1e9 })),
    matmulFlops: { chunk: 1e9, token: 1e8, head: 1e8 },
    ...{ copyBytes: 1e9, uploadBytes: 1e9, readbackBytes: 1e9 },
  };
}

function model(backend: "wgsl" | "ort", measure = async (asked: MeasureRequest) => ratesFor(asked)): OpenModel {
  const device = { backend, memoryBytes: undefined, cacheBytes: 2 ** 24, maxBufferBytes: undefined };
  return { spec: modelSpec(), formatOf: () => "f32", weightFormat: "file", device, measure };
}

describe("the table of ways to read a prompt", () => {
  it("has every policy with every format on WebGPU, each with its own bytes and time", async () => {
    const { ways, chosen, timeBecause } = await attentionTable(model("wgsl"), request, new RateKeeper(), never);
    // flash3 caches in 8 bits of its own, and takes no other format.
    assert.equal(ways.length, policyTable.length * 4 - 3);
    const find = (attention: string, kv: string) => ways.find((way) => way.attention === attention && way.kv === kv)?.plan;
    const [f32, q8] = [find("flash", "f32"), find("flash", "q8")];
    assert.ok(f32 && q8 && q8.kvBytes < f32.kvBytes / 3);
    assert.deepEqual(chosen.plan, f32);
    const sinks = find("sinks:4,1024", "f32");
    assert.ok(sinks && sinks.kvBytes < f32.kvBytes && sinks.prefillFlops < f32.prefillFlops);
    for (const { attention, plan } of ways) assert.ok((plan.prefillSeconds ?? 0) > 0, attention);
    assert.match(timeBecause, /a device in 1\.2 s/);
  });

  it("follows the prompt, the rotation, the chosen values and the chosen formats", async () => {
    const keeper = new RateKeeper();
    const chosen = async (change: Partial<AttentionTableRequest>) =>
      (await attentionTable(model("wgsl"), { ...request, ...change }, keeper, never)).chosen;
    const before = await chosen({});
    assert.ok((await chosen({ tokens: 4000 })).plan.kvBytes > before.plan.kvBytes);
    const narrow = await chosen({ attention: parseAttention("window:64"), kv: { keys: "q8", values: "f16" } });
    assert.deepEqual([narrow.attention, narrow.kv], ["window:64", "q8,f16"]);
    assert.ok(narrow.plan.kvBytes < before.plan.kvBytes / 2);
    const table = await attentionTable(model("wgsl"), { ...request, attention: parseAttention("window:64") }, keeper, never);
    assert.ok(table.ways.some(({ attention }) => attention === "window:64"));
    assert.ok(!table.ways.some(({ attention }) => attention === "window:4096"));
    const grouped = await chosen({ rope: { kind: "self_extend", group: 4, window: 256 } });
    assert.ok(grouped.plan.kvBytes > before.plan.kvBytes, "bands keep their keys twice");
  });

  it("has on WASM only what runs there", async () => {
    const { ways } = await attentionTable(model("ort"), request, new RateKeeper(), never);
    assert.deepEqual(
      ways.map(({ attention, kv }) => `${attention} ${kv}`),
      ["flash f32", "dense f32"],
    );
    const sinks = { ...request, attention: parseAttention("sinks:4,64"), kv: { keys: "q8", values: "q8" } } as const;
    const { chosen } = await attentionTable(model("ort"), sinks, new RateKeeper(), never);
    assert.deepEqual([chosen.attention, chosen.kv], ["flash", "f32"], "what would be refused is not planned for");
  });

  it("measures a backend once, and says why there are no times where it cannot be", async () => {
    let measured = 0;
    const counting = model("wgsl", async (asked) => {
      measured++;
      return ratesFor(asked);
    });
    const keeper = new RateKeeper();
    await attentionTable(counting, request, keeper, never);
    await attentionTable(counting, { ...request, tokens: 100 }, keeper, never);
    assert.equal(measured, 1);
    const broken = model("wgsl", () => Promise.reject(new EngineError("device-lost", "it is gone", "again")));
    const { ways, timeBecause } = await attentionTable(broken, request, new RateKeeper(), never);
    assert.ok(ways.every(({ plan }) => plan.prefillSeconds === null));
    assert.match(timeBecause, /it is gone/);
    const plain = model("wgsl", async (asked) => {
      if (asked.attention.every(({ kernel }) => kernel === "flash")) return ratesFor(asked);
      throw new EngineError("bad-argument", "no such kernel", "choose flash");
    });
    const table = await attentionTable(plain, request, new RateKeeper(), never);
    const timed = table.ways.filter(({ plan }) => plan.prefillSeconds !== null).map(({ attention }) => attention);
    assert.ok(timed.includes("window:4096") && !timed.includes("flash3") && !timed.includes("dense"));
    assert.match(table.timeBecause, /a device .* others not: no such kernel/);
    const stopped = model("wgsl", () => Promise.reject(abortedError()));
    await assert.rejects(attentionTable(stopped, request, new RateKeeper(), never), (error) => EngineError.is(error, "aborted"));
  });

  it("is not made for the reference", async () => {
    const runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
    const session = await openSession(tinyModelFiles({}), runtime, { backend: "reference", weightFormat: "f32" });
    await assert.rejects(session.planAttention(request, never), (error) => EngineError.is(error, "bad-argument"));
    session.close();
  });
});
