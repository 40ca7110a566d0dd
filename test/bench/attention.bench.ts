/**
 * `npm run bench:attention`: attention in all its ways on the adapter at hand. First every policy on a small random model through the runner:
 * time, memory, error against exact attention. Then the kernels alone: flash, and flash3 with each of its ingredients on and off. Then the same
 * shapes through onnxruntime-web's WebGPU provider on the same device, and softmax over 131,072 keys by both. Figures of a software adapter say
 * nothing about graphics cards.
 *
 * ATTENTION_TOKENS names other lengths (1024,4096; empty: no policies), ATTENTION_ROW_SECONDS how long a row may take, BENCH_RESULTS another folder.
 */
import assert from "node:assert/strict";
import { loadavg } from "node:os";
import { it } from "node:test";
import { chooseFlash3 } from "../../engine/attention/flash3Choice.ts";
import { F32_CACHE } from "../../engine/attention/wholeOnly.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import type { Flash3Ingredients } from "../../engine/kernels/flash3Ops.ts";
import { numbers } from "../support/gpuArrays.ts";
import { openBenchDevice } from "./benchDevice.ts";
import { measureKernels, type KernelShape, type KernelWay, type MeasuredKernel, type Sequence } from "./attentionKernels.ts";
import { compareWithOrt, longSoftmax } from "./attentionOrt.ts";
import { openPolicyBench, policies, policyModel, type PolicyRun, type PolicySkipped } from "./attentionPolicies.ts";
import { keepResults } from "./results.ts";

const lengths = (process.env.ATTENTION_TOKENS ?? "1024,4096").split(",").filter(Boolean).map(Number);
/** What a policy may be off from the reference under the same policy: other orders of adding, and 8 bits where it rounds. */
const CHECKED_ERROR = { sums: 1e-4, rounded: 0.05 };

const shape: KernelShape = { headCount: 4, kvHeadCount: 2, headDim: 64 };
const none: Flash3Ingredients = { pipelined: false, eightBits: false, hadamard: false, integers: false };
const all: Flash3Ingredients = { pipelined: true, eightBits: true, hadamard: true, integers: true };

it("attention", { timeout: 3_600_000 }, async () => {
  const before = loadavg();
  const opened = await openBenchDevice({ subgroups: false });
  const bench = { ...opened, shaders: openShaderCache(opened.gpu) };
  const { gpu, shaders } = bench;
  const { software } = gpu.abilities;
  print(`${gpu.description}, ${bench.how}`);
  const choice = await chooseFlash3(gpu, shaders, shape.headDim);
  const { ingredients: chosen, matricesBecause, integersBecause } = choice;
  print(`flash3 ${chosen.integers ? "with" : "without"} products of integers, because ${integersBecause}`);
  print(`flash3 ${chosen.matrices === undefined ? "without" : "with"} matrix units, because ${matricesBecause}`);

  const policyRows = await runPolicies(bench.entry);
  const kernels = await runKernels();
  const onnxruntime = await compareWithOrt(bench, shape, software ? [1024] : [1024, 4096, 16384]);
  const softmax = await longSoftmax(bench);
  keepResults("attention", "npm run bench:attention", {
    adapter: { ...bench.adapter, how: bench.how, software },
    model: policyModel.spec,
    shape,
    matrices: matricesBecause,
    integers: integersBecause,
    note: software
      ? "a software adapter, shared with others: times say which kernel such an adapter runs faster and nothing about graphics cards"
      : "times are medians; those of onnxruntime include its calls from JavaScript",
    policies: policyRows,
    kernels,
    onnxruntime,
    softmax,
    loadAverage: { before: before[0], after: loadavg()[0] },
  });

  async function runPolicies(entry: GPU): Promise<unknown[]> {
    const policyBench = await openPolicyBench(entry);
    const rows: (PolicyRun | PolicySkipped | { policy: string; tokens: number; checked: number })[] = [];
    for (const tokens of lengths) {
      for (const policy of policies) {
        const row = await policyBench.run(policy, tokens);
        rows.push(row);
        print(describePolicy(row));
        if (tokens !== lengths[0] || "notRun" in row) continue;
        const checked = await policyBench.check(policy, tokens);
        print(`  sampled rows against the reference under ${policy}: off by ${checked.toExponential(1)}`);
        assert(checked <= (policy === "flash3" ? CHECKED_ERROR.rounded : CHECKED_ERROR.sums), `${policy}: ${checked}`);
        rows.push({ policy, tokens, checked });
      }
    }
    policyBench.release();
    return rows;
  }

  async function runKernels(): Promise<unknown[]> {
    const queries = software ? 128 : 512;
    const rows: unknown[] = [];
    for (const tokens of software ? [1024, 4096] : [4096, 16384, 65536]) {
      for (const data of ["uniform", "outliers"] as const) {
        const sequence = sequenceOf(tokens, data);
        // Outliers change no time, and errors at one length say enough.
        const rounds = data === "outliers" ? 0 : 5;
        if (data === "outliers" && tokens !== (software ? 1024 : 4096)) continue;
        const tried = ways(gpu.abilities.integerProducts, choice.ingredients.matrices);
        const found = await measureKernels(
          bench,
          shape,
          tried.map(([, way]) => way),
          sequence,
          { queries, rounds },
        );
        for (const [index, [what, way]] of tried.entries()) {
          const row = found[index];
          assert(row.error < allowed(way, data), `${what}: ${row.error}`);
          rows.push({ kernel: what, tokens, queries, data, ...row });
          print(describeKernel(what, tokens, queries, data, row));
        }
      }
    }
    return rows;
  }
});

/** Off float64 loops: sums of f32; 8 bits per 32 channels or per tile; and a tile with an outlier, whose steps are as wide. */
function allowed(way: KernelWay, data: "uniform" | "outliers"): number {
  if ("flash" in way) return way.flash.keys === "f32" ? 1e-4 : data === "uniform" ? 0.02 : 0.2;
  if (!way.flash3.eightBits) return 1e-4;
  return data === "uniform" ? 0.03 : 0.5;
}

/** Ingredients one by one, and all but one. */
function ways(integers: boolean, matrices: Flash3Ingredients["matrices"]): (readonly [what: string, way: KernelWay])[] {
  const flash3 = (what: string, ingredients: Flash3Ingredients) => [`flash3: ${what}`, { flash3: ingredients }] as const;
  return [
    ["flash, f32", { flash: F32_CACHE }],
    ["flash, q8", { flash: { keys: "q8", values: "q8" } }],
    flash3("nothing of it", none),
    flash3("pipelined", { ...none, pipelined: true }),
    flash3("8 bits", { ...none, eightBits: true }),
    flash3("8 bits, Hadamard", { ...none, eightBits: true, hadamard: true }),
    flash3("pipelined, 8 bits, Hadamard", { ...all, integers: false }),
    ...(matrices === undefined
      ? []
      : [flash3("pipelined, 8 bits, Hadamard, matrix units", { ...all, integers: false, matrices })]),
    ...(integers
      ? [
          flash3("8 bits, Hadamard, integers", { ...all, pipelined: false }),
          flash3("8 bits, integers", { ...all, pipelined: false, hadamard: false }),
          flash3("all of it", all),
        ]
      : []),
  ];
}

/** A projection of uniform numbers; with outliers one channel of the keys is twenty times as large, as in real models a few are. */
function sequenceOf(tokens: number, data: "uniform" | "outliers"): Sequence {
  const { headCount, kvHeadCount, headDim } = shape;
  const row = (headCount + 2 * kvHeadCount) * headDim;
  const qkv = numbers("attention", tokens * row).map((value, index) => {
    const at = index % row;
    const isKey = at >= headCount * headDim && at < (headCount + kvHeadCount) * headDim;
    return value * (data === "outliers" && isKey && at % headDim === 5 ? 20 : 2);
  });
  return { qkv, tokens };
}

function describePolicy(row: PolicyRun | PolicySkipped): string {
  const head = `${row.policy.padEnd(24)} ${String(row.tokens).padStart(6)}`;
  if ("notRun" in row) return `${head}  not run, ${row.notRun}`;
  const kept = row.keptMass === undefined ? "" : `, kept ${(100 * row.keptMass).toFixed(1)} %`;
  const cached = row.cacheError === undefined ? "" : `, keys off by ${(100 * row.cacheError.keys).toFixed(2)} %`;
  const { timeOfFlash = NaN, error = NaN, decodedError = NaN } = row;
  const times = `${row.prefillMs.toFixed(0)} ms (${timeOfFlash.toFixed(2)} of flash), ${row.decodeMs.toFixed(1)} ms a token`;
  const errors = `error ${error.toExponential(1)}, decoded ${decodedError.toExponential(1)}`;
  return `${head}  ${times}, ${(row.memoryBytes / 2 ** 20).toFixed(2)} MiB, ${errors}${kept}${cached}`;
}

function describeKernel(what: string, tokens: number, queries: number, data: string, row: MeasuredKernel): string {
  const isTimed = !Number.isNaN(row.attendMs);
  const times = isTimed
    ? `cached in ${row.cacheMs.toFixed(1)} ms, attended in ${row.attendMs.toFixed(1)} ms, decoded in ${row.decodeMs.toFixed(1)} ms`
    : "not timed";
  const memory = `${(row.cacheBytes / 2 ** 20).toFixed(2)} MiB`;
  return `${what.padEnd(40)} ${queries} of ${tokens}, ${data}: ${times}, ${memory}, error ${row.error.toExponential(1)}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
