/** One long prompt through one runner, watched: time, memory on the device and in the process, and whether what was planted is found. */
import type { Runner, WeightFormat, WeightStore, ModelSpec } from "../../engine/api.ts";
import type { KvFormats } from "../../engine/attention/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { watchMemory } from "../support/gpuMemory.ts";
import { ask, type PlantedNeedle } from "../support/needles.ts";
import { openBenchDevice } from "./benchDevice.ts";

export interface LongRun {
  name: string;
  model: { spec: ModelSpec; weights: WeightStore };
  weightFormat: WeightFormat;
  /** As parseAttention reads it; absent for recurrent models. */
  attention?: string;
  kv?: KvFormats;
  ids: Int32Array<ArrayBuffer>;
  /** Memory is compared between here and the end. */
  compareAt: number;
  /** What is asked behind the prompt; `wanted` is whether the policy can see it. */
  needles: readonly (PlantedNeedle & { where: string; wanted: boolean })[];
  decode: (ids: readonly number[]) => string;
}

export interface Asked {
  where: string;
  /** Token it was planted at. */
  at: number;
  wanted: boolean;
  expected: string;
  answer: string;
  found: boolean;
}

export interface LongFigures {
  adapter: { description: string; how: string; software: boolean };
  tokens: number;
  attention: string;
  kv: KvFormats | undefined;
  seconds: number;
  tokensPerSecond: number;
  /** Of all threads of the process, the software adapter's among them: what the run takes when nobody else computes. */
  processorSeconds: number;
  secondsPerAnswerToken: number;
  gpuBytes: { peak: number; end: number; comparedTokens: number; compared: number };
  /** Most resident memory of the process, which holds the buffers of a software adapter too, and that before the model was opened. */
  residentBytes: { peak: number; before: number };
  /** Scores of every pair of tokens for one head of one layer in f32: what no buffer here has room for. */
  denseScoreBytes: number;
  asked: Asked[];
}

export async function runLong(run: LongRun): Promise<LongFigures> {
  const { name, ids, needles, decode, compareAt } = run;
  const resident = watchResident();
  const bench = await openBenchDevice();
  const watched = watchMemory(bench.gpu);
  const runner = await openRunnerOn(watched.gpu, openShaderCache(watched.gpu), {
    ...run.model,
    weightFormat: run.weightFormat,
    capacityTokens: ids.length + 4096,
    ...(run.kv === undefined ? {} : { kv: run.kv }),
    ...(run.attention === undefined ? {} : { attention: parseAttention(run.attention) }),
  });
  const began = performance.now();
  const processor = process.cpuUsage();
  const secondsOf = (from: number): number => (performance.now() - from) / 1000;
  let told = 0;
  const tell = (done: number): void => {
    resident.sample();
    if (done < ids.length && done - told < ids.length / 20) return;
    told = done;
    print(`${name}: ${done} tokens in ${secondsOf(began).toFixed(0)} s, ${mebibytes(watched.liveBytes())} on the device`);
  };
  await runner.append(ids.subarray(0, compareAt), { moreFollows: true, onProgress: tell });
  let compared: number | undefined;
  await runner.append(ids.subarray(compareAt), {
    onProgress: (done) => {
      // The call that ends a prompt also opens what measures it.
      compared ??= watched.liveBytes();
      tell(compareAt + done);
    },
  });
  const seconds = secondsOf(began);
  const { user, system } = process.cpuUsage(processor);
  const end = watched.liveBytes();
  const asking = performance.now();
  const asked: Asked[] = [];
  for (const needle of needles) asked.push(await askedOf(runner, needle, decode));
  const answered = needles.reduce((sum, { value }) => sum + value.length, 0);
  resident.sample();
  const figures: LongFigures = {
    adapter: { description: bench.gpu.description, how: bench.how, software: bench.gpu.abilities.software },
    tokens: ids.length,
    attention: run.attention ?? "none: a recurrent model",
    kv: runner.kv,
    seconds,
    tokensPerSecond: ids.length / seconds,
    processorSeconds: (user + system) / 1e6,
    secondsPerAnswerToken: secondsOf(asking) / answered,
    gpuBytes: { peak: watched.peakBytes(), end, comparedTokens: compareAt, compared: compared ?? NaN },
    residentBytes: resident.bytes,
    denseScoreBytes: 4 * ids.length ** 2,
    asked,
  };
  runner.dispose();
  describe(name, figures);
  return figures;
}

async function askedOf(runner: Runner, needle: LongRun["needles"][number], decode: LongRun["decode"]): Promise<Asked> {
  const { where, at, wanted, value } = needle;
  const answer = decode(await ask(runner, needle));
  const expected = decode(value);
  return { where, at, wanted, expected, answer, found: answer === expected };
}

function watchResident() {
  const before = process.memoryUsage().rss;
  let peak = before;
  return {
    sample(): void {
      peak = Math.max(peak, process.memoryUsage().rss);
    },
    get bytes() {
      return { peak, before };
    },
  };
}

function describe(
  name: string,
  { seconds, tokensPerSecond, processorSeconds, gpuBytes, residentBytes, ...rest }: LongFigures,
): void {
  print(
    `${name}: ${rest.tokens} tokens with ${rest.attention} in ${seconds.toFixed(0)} s (${tokensPerSecond.toFixed(0)} tokens/s)`,
  );
  print(
    `  ${processorSeconds.toFixed(0)} s of processor time; ${rest.secondsPerAnswerToken.toFixed(2)} s a token of the answers`,
  );
  print(
    `  on the device at most ${mebibytes(gpuBytes.peak)}; ${mebibytes(gpuBytes.compared)} after ${gpuBytes.comparedTokens} tokens`,
  );
  print(`  resident at most ${mebibytes(residentBytes.peak)}; dense scores of one head ${mebibytes(rest.denseScoreBytes)}`);
  for (const { where, at, expected, answer, found } of rest.asked) {
    print(`  ${where}, at ${at}: ${JSON.stringify(answer)} for ${JSON.stringify(expected)}, ${found ? "found" : "not found"}`);
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
