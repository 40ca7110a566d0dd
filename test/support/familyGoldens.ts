/** Tiny models of every family with what Hugging Face transformers computes for them: test/golden/families, made by test/golden/make/families.py. */
import { readdirSync } from "node:fs";
import type { WeightStore } from "../../engine/api.ts";
import { fill, goldenFile, storeOf } from "./goldenModels.ts";

/** One prompt: float32 logits of transformers with eager attention, and its greedy continuation recomputed from the start at every step. */
export interface FamilyCase {
  inputIds: readonly number[];
  /** The positions whose logits are stored: all of a prompt of one or two tokens, else the first, the middle and the last. */
  positions: readonly number[];
  /** Logits [V] of each of `positions`. */
  logits: readonly (readonly number[])[];
  /** The sum of the logits of every position. */
  logitSums: readonly number[];
  greedyNext: readonly number[];
  /** How far each greedy token is ahead of the next best. */
  greedyGaps: readonly number[];
}

export interface FamilyModel {
  name: string;
  family: string;
  /** What config.json holds. */
  config: Record<string, unknown>;
  /** The tensors of the checkpoint under their own names, fused where the checkpoint fuses them. */
  weights: WeightStore;
  /** The same in float64. */
  tensors: ReadonlyMap<string, { shape: readonly number[]; values: Float64Array }>;
  /** False where cached keys keep the rotation of an earlier length: dynamic scaling, and LongRoPE across its boundary. */
  cachedEqualsRecompute: boolean;
  cases: readonly FamilyCase[];
}

interface StoredModel {
  name: string;
  config: Record<string, unknown>;
  cached_equals_recompute: boolean;
  tensors: { name: string; shape: number[]; amp: number; offset: number }[];
  cases: StoredCase[];
}

/** A case as the files hold it. */
export interface StoredCase {
  input_ids: number[];
  positions: number[];
  logits: number[][];
  logit_sums: number[];
  greedy_next: number[];
  greedy_gaps: number[];
}

const stored = new Map<string, StoredModel & { family: string }>();
for (const file of readdirSync("test/golden/families").sort()) {
  const { family, models } = goldenFile(`families/${file}`) as { family: string; models: StoredModel[] };
  for (const model of models) stored.set(model.name, { ...model, family });
}

/** Every stored model; of one family (the name of its file) if given. */
export function familyNames(family?: string): string[] {
  return [...stored.values()].filter((model) => family === undefined || model.family === family).map((model) => model.name);
}

/** Fails the test where there is no such model. */
export function familyModel(name: string): FamilyModel {
  const model = stored.get(name);
  if (model === undefined) throw new Error(`test/golden/families has no model ${name}`);
  const tensors = new Map(
    model.tensors.map(({ name, shape, amp, offset }) => [name, { shape, values: fill(name, shape, amp, offset) }]),
  );
  return {
    name,
    family: model.family,
    config: model.config,
    weights: storeOf(tensors),
    tensors,
    cachedEqualsRecompute: model.cached_equals_recompute,
    cases: model.cases.map(readCase),
  };
}

export function readCase(run: StoredCase): FamilyCase {
  return {
    inputIds: run.input_ids,
    positions: run.positions,
    logits: run.logits,
    logitSums: run.logit_sums,
    greedyNext: run.greedy_next,
    greedyGaps: run.greedy_gaps,
  };
}
