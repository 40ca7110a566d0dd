/**
 * `npm run bench:plan`: what the planner says of the bundled model, and what it takes: memory on the graphics device by its buffers, and time
 * to read prompts and to answer, on WebGPU and on WASM, in the same run. Rates are measured anew for every round, so that they and what they
 * are compared with have the same minute of a shared machine; the medians of the rounds' ratios count. PLAN_TOKENS names other lengths.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { it } from "node:test";
import type { Runner, RunnerOptions } from "../../engine/api.ts";
import type { KvFormats } from "../../engine/attention/api.ts";
import { F32_CACHE, WHOLE } from "../../engine/attention/wholeOnly.ts";
import { openOrtRunner } from "../../engine/backends/ort.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import { openDevice } from "../../engine/gpu/device.ts";
import { lendDevice } from "../../engine/gpu/lend.ts";
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

const lengths = (process.env.PLAN_TOKENS ?? "512,2048").split(",").map(Number);
const ROUNDS = 5;
const DECODED = 24;

interface Compared {
  planned: number;
  measured: number;
}

interface Round {
  kv: string;
  tokens: number;
  prefill: Compared;
  decodePerToken: Compared;
  memoryBytes?: Compared;
}

/** A length in a cache format: medians over the rounds of planned over measured, and the rounds themselves. */
interface Row {
  kv: string;
  tokens: number;
  prefillRatio: number;
  decodeRatio: number;
  memoryRatio?: number;
  rounds: Round[];
}

it("the bundled model", { timeout: 3_600_000 }, async () => {
  const files = nodeModelFiles(bundledModelFolder(resolve(".")));
  const model = await loadModel(files);
  const found = { webgpu: await onWebGpu(model), wasm: await onWasm(model) };
  await files.close();
  for (const { memoryRatio = 1 } of found.webgpu.rows) assert.ok(Math.abs(memoryRatio - 1) <= 0.05, `memory ${memoryRatio}`);
  keepResults("plan", "npm run bench:plan", { model: model.label, ...found });
});

async function onWebGpu(model: LoadedModel): Promise<{ rates: MeasuredRates[]; rows: Row[] }> {
  const { gpu: entry, how } = await requireGpu();
  const device = await openDevice(entry);
  const shaders = openShaderCache(device);
  const formats = ["f32", "f16", "q8", "q4"].map(parseKvFormats);
  const planDevice: PlanDevice = {
    backend: "wgsl",
    memoryBytes: undefined,
    cacheBytes: undefined,
    maxBufferBytes: device.maxBufferBytes,
  };
  const { spec, weights } = model;
  const planned = weightsOnDevice(spec, (name) => weights.format(name), "file");
  const rates: MeasuredRates[] = [];
  const rounds: Round[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const found = await measureDevice(device, shaders, request(model, formats));
    print(`${found.device}, ${how}: measured in ${found.elapsedMs.toFixed(0)} ms`);
    rates.push(found);
    for (const kv of formats) {
      const watched = watchMemory(device);
      const runner = await openRunnerOn(lendDevice(watched.gpu), shaders, { spec, weights, weightFormat: "file", kv });
      for (const tokens of lengths) {
        const plan = planFor({ ...asked(model, tokens, kv), device: planDevice, rates: found, weights: planned });
        rounds.push(await compare(runner, plan, kv, () => watched.liveBytes()));
      }
      runner.dispose();
    }
  }
  device.destroy();
  return { rates, rows: rowsOf(rounds) };
}

async function onWasm(model: LoadedModel): Promise<{ rates: MeasuredRates[]; rows: Row[] }> {
  const { spec, weights } = model;
  const bytes = await readFile(join("dist", "ort", "ort-wasm-simd-threaded.wasm"));
  const wasm = new Uint8Array(bytes).buffer;
  const runner = await openOrtRunner({ spec, weights, weightFormat: "file", wasm, threads: 1 });
  const device: PlanDevice = { backend: "ort", memoryBytes: undefined, cacheBytes: undefined, maxBufferBytes: undefined };
  const planned = weightsInWasm(spec, (name) => weights.format(name), "file");
  const rates: MeasuredRates[] = [];
  const rounds: Round[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const open = (options: RunnerOptions): Promise<Runner> => openOrtRunner({ ...options, wasm, threads: 1 });
    const measured = await measureRates(open, request(model, [F32_CACHE]));
    const found = { ...measured, copyBytes: undefined, uploadBytes: undefined, readbackBytes: undefined };
    print(`${found.device}: measured in ${found.elapsedMs.toFixed(0)} ms`);
    rates.push(found);
    for (const tokens of lengths) {
      const plan = planFor({ ...asked(model, tokens, F32_CACHE), device, rates: found, weights: planned });
      rounds.push(await compare(runner, plan, F32_CACHE));
    }
  }
  runner.dispose();
  return { rates, rows: rowsOf(rounds) };
}

function asked({ spec }: LoadedModel, tokens: number, kv: KvFormats) {
  return { spec, tokens, attention: WHOLE, kv, positions: { bands: 1, copies: 1 } };
}

function request({ spec, weights }: LoadedModel, formats: readonly KvFormats[]): MeasureRequest {
  const attention = formats.map((kv) => ({ kernel: "flash" as const, kv }));
  return { spec, formatOf: (name) => weights.format(name), weightFormat: "file", attention };
}

/** Reads a prompt of the plan's length, of which memory is planned, and answers a little, as a question does. */
async function compare(runner: Runner, plan: Plan, kv: KvFormats, memoryBytes?: () => number): Promise<Round> {
  const { tokens, prefillSeconds, decodeSecondsPerToken } = plan;
  assert.ok(prefillSeconds !== null && decodeSecondsPerToken !== null);
  const ids = Int32Array.from({ length: tokens }, (_, index) => (index * 7919) % 4000);
  runner.truncate(0);
  let began = performance.now();
  await runner.append(ids);
  await runner.sample({ temperature: 0, topP: 1, seed: 0 });
  const prefill = { planned: prefillSeconds, measured: (performance.now() - began) / 1000 };
  const memory = memoryBytes && { memoryBytes: { planned: plan.totalBytes, measured: memoryBytes() } };
  const steps: number[] = [];
  for (let step = 0; step < DECODED; step++) {
    began = performance.now();
    await runner.append([step]);
    await runner.sample({ temperature: 0, topP: 1, seed: 0 });
    steps.push((performance.now() - began) / 1000);
  }
  const decodePerToken = { planned: decodeSecondsPerToken, measured: median(steps) };
  const round = { kv: kv.keys, tokens, prefill, decodePerToken, ...memory };
  print(describeRound(round));
  return round;
}

function rowsOf(rounds: readonly Round[]): Row[] {
  const names = [...new Set(rounds.map(({ kv, tokens }) => `${kv} ${tokens}`))];
  return names.map((name) => {
    const own = rounds.filter(({ kv, tokens }) => `${kv} ${tokens}` === name);
    const ratio = (of: (round: Round) => Compared): number => median(own.map((round) => of(round).planned / of(round).measured));
    const [{ kv, tokens, memoryBytes }] = own;
    const row: Row = {
      ...{
        kv,
        tokens,
        prefillRatio: ratio(({ prefill }) => prefill),
        decodeRatio: ratio(({ decodePerToken }) => decodePerToken),
      },
      ...(memoryBytes && { memoryRatio: memoryBytes.planned / memoryBytes.measured }),
      rounds: own,
    };
    const { prefillRatio, decodeRatio, memoryRatio } = row;
    const memory = memoryRatio === undefined ? "" : `, memory ${memoryRatio.toFixed(3)}`;
    print(
      `${name} tokens, planned over measured: prefill ${prefillRatio.toFixed(2)}, a token of the answer ${decodeRatio.toFixed(2)}${memory}`,
    );
    return row;
  });
}

function describeRound({ kv, tokens, prefill, decodePerToken }: Round): string {
  const seconds = ({ planned, measured }: Compared): string =>
    `${planned.toPrecision(3)} s planned, ${measured.toPrecision(3)} s measured`;
  return `  ${kv}, ${tokens} tokens: prefill ${seconds(prefill)}; a token of the answer ${seconds(decodePerToken)}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
