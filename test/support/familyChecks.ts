/** What every backend has to give for the models of test/golden/families. */
import assert from "node:assert/strict";
import type { ModelSpec, Runner, WeightStore } from "../../engine/api.ts";
import { checkpointView } from "../../engine/models/checkpoint.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import { checkWeights } from "../../engine/models/weights.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { familyModel, type FamilyCase } from "./familyGoldens.ts";
import { assertClose } from "./gpuArrays.ts";

/** Two programs in f32 that sum in another order; what science allows for whole tiny models in f32. */
const TOLERANCE = 2e-4;
/** A greedy token is decided where the next best is further behind than both programs' errors. */
const DECIDED = 2 * TOLERANCE;

export type OpenFamily = (model: { spec: ModelSpec; weights: WeightStore }) => Promise<Runner>;

/**
 * Logits at the stored positions, for prompts in one piece and in chunks of 1, 3 and 5, and greedy tokens from cached decoding, recomputed
 * where the rotation depends on the length.
 */
export async function checkFamily(name: string, open: OpenFamily, chunkSizes: readonly number[] = [1, 3, 5]): Promise<void> {
  const { config, weights: file, cases, cachedEqualsRecompute } = familyModel(name);
  const spec = parseSpec(config);
  const weights = checkpointView(spec, file);
  checkWeights(spec, weights);
  const runner = await open({ spec, weights });
  await checkCases(runner, spec, cases, cachedEqualsRecompute);
  const longest = [...cases].sort((a, b) => b.inputIds.length - a.inputIds.length)[0];
  assert.ok(longest !== undefined, `${name} has prompts`);
  for (const size of chunkSizes) {
    const { length } = longest.inputIds;
    const parts = Array.from({ length: Math.ceil(length / size) }, (_, index) => Math.min(size, length - index * size));
    await checkLogits(runner, spec, longest, parts);
  }
  runner.dispose();
}

/** Prompts in one piece, and greedy tokens; `cached` where cached keys keep their rotation when the length grows. */
export async function checkCases(runner: Runner, spec: ModelSpec, cases: readonly FamilyCase[], cached: boolean): Promise<void> {
  for (const run of cases) {
    await checkLogits(runner, spec, run, [run.inputIds.length]);
    await checkGreedy(runner, spec, run, cached);
  }
}

function place(runner: Runner, spec: ModelSpec, length: number): void {
  runner.setPositions(resolveRope({ kind: "model" }, spec, length, runner.capacityTokens).plan);
}

async function checkLogits(runner: Runner, spec: ModelSpec, run: FamilyCase, parts: readonly number[]): Promise<void> {
  const { inputIds, positions, logits: expected, logitSums } = run;
  place(runner, spec, inputIds.length);
  runner.truncate(0);
  const found: number[] = [];
  let start = 0;
  for (const part of parts) {
    const logits = await runner.append(inputIds.slice(start, start + part), { logits: "all" });
    found.push(...(logits ?? []));
    start += part;
  }
  const V = spec.vocabSize;
  assert.equal(found.length, inputIds.length * V);
  const what = `of ${inputIds.length} tokens in ${parts.length} parts`;
  for (const [index, position] of positions.entries()) {
    assertClose(found.slice(position * V, (position + 1) * V), expected[index] ?? [], TOLERANCE, `logits ${position} ${what}`);
  }
  const sums = logitSums.map((_, position) =>
    found.slice(position * V, (position + 1) * V).reduce((sum, value) => sum + value, 0),
  );
  assertClose(sums, logitSums, TOLERANCE * V, `sums ${what}`);
}

/** Stops where the recorded choice is too close to say who is right. */
async function checkGreedy(runner: Runner, spec: ModelSpec, run: FamilyCase, cached: boolean): Promise<void> {
  const ids = [...run.inputIds];
  for (const [step, expected] of run.greedyNext.entries()) {
    if ((run.greedyGaps[step] ?? 0) < DECIDED) return;
    place(runner, spec, ids.length);
    if (!cached || step === 0) runner.truncate(0);
    await runner.append(ids.slice(runner.length));
    assert.equal(
      await runner.sample({ temperature: 0, topP: 1, seed: 0 }),
      expected,
      `token ${step} behind ${run.inputIds.length}`,
    );
    ids.push(expected);
  }
}
