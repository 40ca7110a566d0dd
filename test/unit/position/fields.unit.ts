import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeScaling } from "../../../engine/api.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { openReferenceDecoder } from "../../../engine/reference/runner.ts";
import { randomModel } from "../../support/goldenModels.ts";

type Kind = RopeScaling["kind"];
type Of<K extends Kind> = Extract<RopeScaling, { kind: K }>;
/** Two settings that differ in one field only, for every field of every kind; a new field does not compile without its pair. */
type FieldPairs = { [K in Kind]: { [F in Exclude<keyof Of<K>, "kind">]-?: readonly [Of<K>, Of<K>] } };

const model = randomModel({
  layerCount: 1,
  hiddenSize: 32,
  headCount: 2,
  kvHeadCount: 1,
  headDim: 16,
  maxPositionEmbeddings: 32,
});
const IDS = Array.from({ length: 45 }, (_, index) => (index * 7 + 3) % 40);
/** A short request and a long one, because some fields show in one of them only. */
const LENGTHS = [12, 45];

const yarn: Of<"yarn"> = { kind: "yarn", factor: 4, originalContext: 32, betaFast: 32, betaSlow: 1, truncate: true };
const warm: Of<"yarn"> = { ...yarn, mscale: 1, mscaleAllDim: 0.5 };
const llama3: Of<"llama3"> = { kind: "llama3", factor: 8, originalContext: 32, lowFreqFactor: 1, highFreqFactor: 4 };
const ones = [1, 1, 1, 1, 1, 1, 1, 1];
const rising = [1, 1.5, 2, 2.5, 3, 3.5, 4, 4];
const longrope: Of<"longrope"> = { kind: "longrope", shortFactor: ones, longFactor: rising, originalContext: 16 };
const proportional: Of<"proportional"> = { kind: "proportional", factor: 1, rotaryShare: 1 };
const selfExtend: Of<"self_extend"> = { kind: "self_extend", group: 2, window: 4 };
const rerope: Of<"rerope"> = { kind: "rerope", window: 4 };
const dualChunk: Of<"dual_chunk"> = { kind: "dual_chunk", chunkSize: 10, localSize: 4 };

const fieldPairs: FieldPairs = {
  none: {},
  linear: factors("linear"),
  ntk: factors("ntk"),
  dynamic: factors("dynamic"),
  yarn: {
    factor: [yarn, { ...yarn, factor: 8 }],
    originalContext: [yarn, { ...yarn, originalContext: 512 }],
    betaFast: [yarn, { ...yarn, betaFast: 1.5 }],
    betaSlow: [yarn, { ...yarn, betaSlow: 0.25 }],
    truncate: [yarn, { ...yarn, truncate: false }],
    attentionFactor: [yarn, { ...yarn, attentionFactor: 1.5 }],
    mscale: [warm, { ...warm, mscale: 2 }],
    mscaleAllDim: [warm, { ...warm, mscaleAllDim: 1 }],
  },
  longrope: {
    shortFactor: [longrope, { ...longrope, shortFactor: rising }],
    longFactor: [longrope, { ...longrope, longFactor: ones }],
    originalContext: [longrope, { ...longrope, originalContext: 24 }],
    factor: [longrope, { ...longrope, factor: 4 }],
    attentionFactor: [longrope, { ...longrope, attentionFactor: 1.5 }],
  },
  llama3: {
    factor: [llama3, { ...llama3, factor: 4 }],
    originalContext: [llama3, { ...llama3, originalContext: 64 }],
    lowFreqFactor: [llama3, { ...llama3, lowFreqFactor: 0.5 }],
    highFreqFactor: [llama3, { ...llama3, highFreqFactor: 16 }],
  },
  proportional: {
    factor: [proportional, { ...proportional, factor: 2 }],
    rotaryShare: [proportional, { ...proportional, rotaryShare: 0.5 }],
  },
  self_extend: {
    group: [selfExtend, { ...selfExtend, group: 3 }],
    window: [selfExtend, { ...selfExtend, window: 6 }],
    logBase: [selfExtend, { ...selfExtend, logBase: 10 }],
  },
  rerope: {
    window: [rerope, { ...rerope, window: 6 }],
    leak: [rerope, { ...rerope, leak: 2 }],
  },
  dual_chunk: {
    chunkSize: [dualChunk, { ...dualChunk, chunkSize: 9 }],
    localSize: [dualChunk, { ...dualChunk, localSize: 3 }],
    originalContext: [dualChunk, { ...dualChunk, originalContext: 10 }],
  },
};

describe("a field that changes nothing is a bug", () => {
  for (const [kind, fields] of Object.entries(fieldPairs)) {
    for (const [field, pair] of Object.entries<readonly [RopeScaling, RopeScaling]>(fields)) {
      it(`${kind}.${field} changes what the model says, and the plan's key exactly where it does`, async () => {
        assert.deepEqual(differingFields(...pair), [field]);
        let changes = 0;
        for (const length of LENGTHS) {
          const [before, after] = await Promise.all(pair.map((scaling) => outcome(scaling, length)));
          const isChanged = before.logits.some((logit, index) => logit !== after.logits[index]);
          assert.equal(before.key !== after.key, isChanged, `at ${length} tokens`);
          if (isChanged) changes++;
        }
        assert.ok(changes > 0);
      });
    }
  }
});

function factors<K extends "linear" | "ntk" | "dynamic">(
  kind: K,
): { factor: readonly [{ kind: K; factor: number }, { kind: K; factor: number }] } {
  return {
    factor: [
      { kind, factor: 2 },
      { kind, factor: 4 },
    ],
  };
}

async function outcome(scaling: RopeScaling, lengthTokens: number): Promise<{ key: string; logits: Float32Array }> {
  const plan = positionPlan(scaling, model.spec, lengthTokens);
  const runner = await openReferenceDecoder(model.spec, { ...model, weightFormat: "f32" });
  runner.setPositions(plan);
  return { key: plan.key, logits: (await runner.append(IDS.slice(0, lengthTokens), { logits: "all" })) ?? new Float32Array() };
}

function differingFields(before: RopeScaling, after: RopeScaling): string[] {
  const [a, b] = [before, after].map((scaling) => new Map<string, unknown>(Object.entries(scaling)));
  return [...new Set([...a.keys(), ...b.keys()])].filter((key) => a.get(key) !== b.get(key));
}
