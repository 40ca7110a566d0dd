/**
 * `npm run bench:plan`: what the planner says of the bundled model, and what it takes: memory on the graphics device by its buffers, and time
 * to read prompts and to answer, on WebGPU and on WASM, in the same run. PLAN_TOKENS names other lengths.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { it } from "node:test";
import type { Runner } from "../../engine/api.ts";
import type { KvFormats } from "../../engine/attention/api.ts";
import { WHOLE } from "../../engine/attention/wholeOnly.ts";
import { openOrtRunner } from "../../engine/backends/ort.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import { openDevice } from "../../engine/gpu/device.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { parseKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import { loadModel, type LoadedModel } from "../../engine/models/load.ts";
import type { MeasuredRates, Plan, PlanDevice } from "../../engine/planner/api.ts";
import { measureRates, type MeasureRequest } from "../../engine/planner/measure.ts";
import { measureDevice } from "../../engine/planner/measureDevice.ts";
import { planFor } from "../../engine/planner/plan.ts";
import { weightsInWasm, weightsOnDevice } from "../../engine/planner/weightBytes.ts";
import { bundledModelFolder } from "../../extension/models/location.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { watchMemory } from "../support/gpuMemory.ts";
import { requireGpu } from "../support/requireDevice.ts";
import { keepResults, median } from "./results.ts";

const lengths = (process.env.PLAN_TOKENS ?? "512,1024,2048,4096").split(",").map(Number);
const DECODED = 16;
/** Of each prompt; the median counts. */
const ROUNDS = 3;

interface Row {
  kv: string;
  tokens: number;
  prefill: Compared;
  decodePerToken: Compared;
  memoryBytes?: Compared;
}

interface Compared {
  planned: number;
  measured: number;
  /** Planned over measured. */
  ratio: number;
}

it("the bundled model", { timeout: 3_600_000 }, async () => {
  const files = nodeModelFiles(bundledModelFolder(resolve(".")));
  const model = await loadModel(files);
  const found = { webgpu: await onWebGpu(model), wasm: await onWasm(model) };
  await files.close();
  keepResults("plan", "npm run bench:plan", { model: model.label, ...found });
});

async function onWebGpu(model: LoadedModel) {
  const { gpu: entry, how } = await requireGpu();
  const device = await openDevice(entry);
  const shaders = openShaderCache(device);
  const { spec, weights } = model;
  const formats = ["f32", "f16", "q8", "q4"].map(parseKvFormats);
  const rates = await measureDevice(device, shaders, request(model, formats));
  print(`${rates.device}, ${how}: measured in ${rates.elapsedMs.toFixed(0)} ms`);
  print(JSON.stringify(rates));
  const planDevice: PlanDevice = {
    backend: "wgsl",
    memoryBytes: undefined,
    cacheBytes: undefined,
    maxBufferBytes: device.maxBufferBytes,
  };
  const formatOf = (name: string) => weights.format(name);
  const rows: Row[] = [];
  for (const kv of formats) {
    const watched = watchMemory(await openDevice(entry));
    const runner = await openRunnerOn(watched.gpu, openShaderCache(watched.gpu), { spec, weights, weightFormat: "file", kv });
    for (const tokens of lengths) {
      const plan = planFor({
        ...{ spec, tokens, attention: WHOLE, kv, device: planDevice, rates },
        weights: weightsOnDevice(spec, formatOf, "file"),
        positions: { bands: 1, copies: 1 },
      });
      const row = await compare(runner, plan, kv, () => watched.liveBytes());
      print(describeRow(row));
      rows.push(row);
    }
    runner.dispose();
  }
  device.destroy();
  return { rates, rows };
}

async function onWasm(model: LoadedModel): Promise<{ rates: MeasuredRates; rows: Row[] }> {
  const { spec, weights } = model;
  const bytes = await readFile(join("dist", "ort", "ort-wasm-simd-threaded.wasm"));
  const wasm = new Uint8Array(bytes).buffer;
  const kv: KvFormats = { keys: "f32", values: "f32" };
  const measured = await measureRates((options) => openOrtRunner({ ...options, wasm, threads: 1 }), request(model, [kv]));
  const rates = { ...measured, copyBytes: undefined, uploadBytes: undefined, readbackBytes: undefined };
  print(`${rates.device}: measured in ${rates.elapsedMs.toFixed(0)} ms`);
  print(JSON.stringify(rates));
  const runner = await openOrtRunner({ spec, weights, weightFormat: "file", wasm, threads: 1 });
  const device: PlanDevice = { backend: "ort", memoryBytes: undefined, cacheBytes: undefined, maxBufferBytes: undefined };
  const rows: Row[] = [];
  for (const tokens of lengths) {
    const plan = planFor({
      ...{ spec, tokens, attention: WHOLE, kv, device, rates },
      weights: weightsInWasm(spec, (name) => weights.format(name), "file"),
      positions: { bands: 1, copies: 1 },
    });
    const row = await compare(runner, plan, kv);
    print(describeRow(row));
    rows.push(row);
  }
  runner.dispose();
  return { rates, rows };
}

function request({ spec, weights }: LoadedModel, formats: readonly KvFormats[]): MeasureRequest {
  const attention = formats.map((kv) => ({ kernel: "flash" as const, kv }));
  return { spec, formatOf: (name) => weights.format(name), weightFormat: "file", attention };
}

/** Reads a prompt of the plan's length, of which memory is planned, and answers a little, as a question does. */
async function compare(runner: Runner, plan: Plan, kv: KvFormats, memoryBytes?: () => number): Promise<Row> {
  const { tokens } = plan;
  const ids = Int32Array.from({ length: tokens }, (_, index) => (index * 7919) % 4000);
  let began: number;
  const prefills: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    runner.truncate(0);
    began = performance.now();
    await runner.append(ids);
    await runner.sample({ temperature: 0, topP: 1, seed: 0 });
    prefills.push((performance.now() - began) / 1000);
  }
  const memory = memoryBytes && { memoryBytes: compared(plan.totalBytes, memoryBytes()) };
  const steps: number[] = [];
  for (let step = 0; step < DECODED; step++) {
    began = performance.now();
    await runner.append([step]);
    await runner.sample({ temperature: 0, topP: 1, seed: 0 });
    steps.push((performance.now() - began) / 1000);
  }
  assert.ok(plan.prefillSeconds !== null && plan.decodeSecondsPerToken !== null);
  return {
    kv: kv.keys,
    tokens,
    prefill: compared(plan.prefillSeconds, median(prefills)),
    decodePerToken: compared(plan.decodeSecondsPerToken, median(steps)),
    ...memory,
  };
}

function compared(planned: number, measured: number): Compared {
  return { planned, measured, ratio: planned / measured };
}

function describeRow({ kv, tokens, prefill, decodePerToken, memoryBytes }: Row): string {
  const seconds = ({ planned, measured, ratio }: Compared): string =>
    `${planned.toPrecision(3)} s planned, ${measured.toPrecision(3)} s measured (${ratio.toFixed(2)})`;
  const memory =
    memoryBytes === undefined
      ? ""
      : `; memory ${(memoryBytes.planned / 1e6).toFixed(1)} MB planned, ${(memoryBytes.measured / 1e6).toFixed(1)} MB there (${memoryBytes.ratio.toFixed(3)})`;
  return `${kv}, ${tokens} tokens: prefill ${seconds(prefill)}; a token of the answer ${seconds(decodePerToken)}${memory}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
