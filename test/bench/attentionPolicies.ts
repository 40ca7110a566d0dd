/** Every attention policy on a small random model through the runner: time, memory and error against flash, which is exact. */
import assert from "node:assert/strict";
import type { DecoderSpec, Runner, WeightStore } from "../../engine/api.ts";
import { openRankOn } from "../../engine/attention/ring/gpuRank.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { policyRow } from "../../engine/attention/policyTable.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import { plainError } from "../../engine/errors.ts";
import { openDevice } from "../../engine/gpu/device.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { openReferenceRunner } from "../../engine/reference/open.ts";
import { randomModel } from "../support/goldenModels.ts";
import { watchMemory } from "../support/gpuMemory.ts";
import { threadlessRing } from "../support/plainRing.ts";
import { relativeRms } from "./attentionKernels.ts";
import { median } from "./results.ts";

/** As `--attention` has them; windows and counts are small, so that they leave something out of a thousand tokens. */
export const policies = [
  "flash",
  "dense",
  "flash3",
  "window:512",
  "sinks:4,512",
  "longformer:512,64",
  "bigbird:3,3,1",
  "strided:128",
  "fixed:128,8",
  "a-shape:64,512",
  "vertical-slash:128,256",
  "blocks:8",
  "minference:0.95",
  "top-pages:16",
  "ring:2",
  "stream",
] as const;

export interface PolicyRun {
  policy: string;
  tokens: number;
  prefillMs: number;
  /** Of each token decoded behind it. */
  decodeMs: number;
  /** On the device, beside the model's weights and activations. */
  memoryBytes: number;
  /** Relative RMS error of the last prompt token's logits against flash's, and of the last decoded one's; absent where flash took too long. */
  error?: number;
  decodedError?: number;
  exact: boolean;
  /** Share of the exact attention that was kept, where it was measured. */
  keptMass?: number;
  /** Of cached keys and values against f32. */
  cacheError?: { keys: number; values: number };
  /** Time of this prompt over flash's, below one where the policy is faster. */
  timeOfFlash?: number;
}

export interface PolicySkipped {
  policy: string;
  tokens: number;
  notRun: string;
}

/** Two layers with windows of their own and one that sees everything, as decoding by top pages leaves the first two as they are. */
export const policyModel: { spec: DecoderSpec; weights: WeightStore } = randomModel({
  ...{ layerCount: 3, headCount: 2, kvHeadCount: 1, headDim: 16, hiddenSize: 32, intermediateSize: 64, vocabSize: 64 },
  layers: [256, 256, undefined].map((window) => ({ window, rotation: "main" as const })),
  maxPositionEmbeddings: 2 ** 20,
});

const DECODED = 4;
/** A row that would take longer, by how long it took at the length before, is not run. */
const ROW_SECONDS = Number(process.env.ATTENTION_ROW_SECONDS ?? 600);

export interface PolicyBench {
  run(policy: string, tokens: number): Promise<PolicyRun | PolicySkipped>;
  /** Throws where a policy's logits are not those of the reference under the same policy, at sampled rows of a prompt. */
  check(policy: string, tokens: number): Promise<number>;
  release(): void;
}

export async function openPolicyBench(entry: GPU): Promise<PolicyBench> {
  const { spec, weights } = policyModel;
  const watched = watchMemory(await openDevice(entry));
  const ring = threadlessRing(
    () => async (options, signal) => openRankOn(await openDevice(entry), spec, weights, options, { signal }),
  );
  const options = { ...policyModel, weightFormat: "f32" as const, tapBytes: 0 };
  const runner = await openRunnerOn(watched.gpu, openShaderCache(watched.gpu), { ...options, ring });
  const emptyBytes = watched.liveBytes();
  /** Last run of each policy, to tell how long the next length takes. */
  const seconds = new Map<string, { tokens: number; seconds: number }>();
  const exact = new Map<number, { prefillMs: number; logits: Logits }>();

  async function measured(policy: string, tokens: number): Promise<PolicyRun> {
    const choice = parseAttention(policy);
    runner.setAttention(choice);
    const repetitions = tokens <= 1024 ? 3 : 1;
    const times: { prefill: number; decode: number }[] = [];
    let logits: Logits | undefined;
    // At the least length the first run compiles; later ones find everything compiled.
    for (let run = seconds.has(policy) ? 1 : 0; run <= repetitions; run++) {
      runner.truncate(0);
      const found = await readPrompt(runner, tokens);
      ({ logits } = found);
      if (run > 0) times.push(found);
    }
    assert(logits !== undefined);
    const prefillMs = median(times.map(({ prefill }) => prefill));
    if (policy === "flash") exact.set(tokens, { prefillMs, logits });
    const isExact = policyRow(choice.policy.kind).exact && choice.topPages === undefined;
    const against = comparedWithFlash(tokens, prefillMs, logits);
    if (isExact && against !== undefined) {
      const { error, decodedError } = against;
      assert(Math.max(error, decodedError) < 1e-4, `${policy} is exact, and is off by ${error} and ${decodedError}`);
    }
    const { keptMass, cacheError } = runner;
    return {
      ...{ policy, tokens, prefillMs, decodeMs: median(times.map(({ decode }) => decode)), exact: isExact },
      memoryBytes: watched.liveBytes() - emptyBytes,
      ...against,
      ...(keptMass === undefined ? {} : { keptMass: keptMass.mean }),
      ...(cacheError === undefined ? {} : { cacheError }),
    };
  }

  function comparedWithFlash(tokens: number, prefillMs: number, logits: Logits) {
    const flash = exact.get(tokens);
    if (flash === undefined) return undefined;
    return {
      error: relativeRms(logits.prompt, flash.logits.prompt),
      decodedError: relativeRms(logits.decoded, flash.logits.decoded),
      timeOfFlash: prefillMs / flash.prefillMs,
    };
  }

  return {
    async run(policy, tokens) {
      const before = seconds.get(policy);
      // At worst the time grows with the square of the length.
      const expected = before === undefined ? 0 : before.seconds * (tokens / before.tokens) ** 2;
      if (expected > ROW_SECONDS) {
        const notRun = `about ${expected.toFixed(0)} s by its time at ${before?.tokens ?? 0} tokens; ATTENTION_ROW_SECONDS allows more`;
        return { policy, tokens, notRun };
      }
      try {
        const row = await measured(policy, tokens);
        seconds.set(policy, { tokens, seconds: row.prefillMs / 1000 });
        return row;
      } catch (error) {
        const { code, message } = plainError(error);
        if (code !== "bad-argument" && code !== "limit-exceeded") throw error;
        return { policy, tokens, notRun: `refused: ${message}` };
      }
    },
    async check(policy, tokens) {
      const attention = parseAttention(policy);
      runner.setAttention(attention);
      runner.truncate(0);
      // The reference attends as the policy says; what only caches and orders keys otherwise is whole there.
      const reference = await openReferenceRunner({ ...options, attention });
      const [found, expected] = [
        await runner.append(idsOf(tokens), { logits: "all" }),
        await reference.append(idsOf(tokens), { logits: "all" }),
      ];
      assert(found !== undefined && expected !== undefined);
      return relativeRms(sampledRows(found, tokens), sampledRows(expected, tokens));
    },
    release: () => runner.dispose(),
  };
}

interface Logits {
  prompt: Float32Array;
  decoded: Float32Array;
}

async function readPrompt(runner: Runner, tokens: number): Promise<{ prefill: number; decode: number; logits: Logits }> {
  let began = performance.now();
  const prompt = await runner.append(idsOf(tokens), { logits: "last" });
  const prefill = performance.now() - began;
  began = performance.now();
  let decoded: Float32Array | undefined;
  for (let i = 0; i < DECODED; i++) decoded = await runner.append([i + 1], { logits: "last" });
  const decode = (performance.now() - began) / DECODED;
  assert(prompt !== undefined && decoded !== undefined);
  return { prefill, decode, logits: { prompt, decoded } };
}

function idsOf(tokens: number): Int32Array {
  return Int32Array.from({ length: tokens }, (_, index) => (index * 7919 + (index >> 4)) % policyModel.spec.vocabSize);
}

/** Every 97th row of logits [tokens, V]. */
function sampledRows(logits: Float32Array, tokens: number): Float32Array {
  const { vocabSize } = policyModel.spec;
  const rows = Array.from({ length: Math.ceil(tokens / 97) }, (_, index) => index * 97);
  const sampled = new Float32Array(rows.length * vocabSize);
  for (const [index, row] of rows.entries())
    sampled.set(logits.subarray(row * vocabSize, (row + 1) * vocabSize), index * vocabSize);
  return sampled;
}
