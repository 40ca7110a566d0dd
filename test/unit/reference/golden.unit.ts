import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DecoderSpec } from "../../../engine/api.ts";
import { checkWeights } from "../../../engine/models/weights.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import type { Reals } from "../../../engine/position/rope.ts";
import { referenceCache } from "../../../engine/reference/cache.ts";
import { forward, logitsOf, tensorsByName, type Decoder } from "../../../engine/reference/decoder.ts";
import {
  fill,
  fnv1a32,
  goldenDecoder,
  goldenDecoders,
  goldenFile,
  mulberry32,
  type GoldenModel,
} from "../../support/goldenModels.ts";

describe("weights that follow from their names", () => {
  it("agree with the recorded rule", () => {
    const rule = goldenFile("weight_rule.json") as {
      name: string;
      fnv1a32: number;
      mulberry32_first_6: number[];
      shape: number[];
      amp: number;
      offset: number;
      value: number[][];
    };
    assert.equal(fnv1a32(rule.name), rule.fnv1a32);
    const uniform = mulberry32(rule.fnv1a32);
    assert.deepEqual(
      rule.mulberry32_first_6.map(() => uniform()),
      rule.mulberry32_first_6,
    );
    assert.deepEqual([...fill(rule.name, rule.shape, rule.amp, rule.offset)], rule.value.flat());
  });
});

// float64 sums in another order than NumPy's differ by some 1e-15 a step; 1e-9 leaves room for two layers and none for an error.
describe("whole tiny models in float64", () => {
  for (const name of goldenDecoders) {
    it(`${name}: logits`, () => {
      const model = goldenDecoder(name);
      checkWeights(model.spec, model.weights);
      const logits = logits64(model, model.inputIds);
      const { golden, tolerance } = model;
      closeRow(row(logits, 0, model), golden.logits_first, tolerance.float64);
      closeRow(row(logits, 6, model), golden.logits_mid_pos6, tolerance.float64);
      closeRow(row(logits, model.inputIds.length - 1, model), golden.logits_last, tolerance.float64);
      const sums = model.inputIds.map((_, position) => row(logits, position, model).reduce((sum, value) => sum + value, 0));
      closeRow(sums, golden.logits_sum_per_position, tolerance.float64 * model.spec.vocabSize);
    });

    it(`${name}: greedy continuation, recomputed at every length`, () => {
      const model = goldenDecoder(name);
      const ids = [...model.inputIds];
      for (let step = 0; step < 5; step++) {
        const last = row(logits64(model, ids), ids.length - 1, model);
        ids.push(last.indexOf(Math.max(...last)));
      }
      assert.deepEqual(ids.slice(model.inputIds.length), model.golden.greedy_next_5);
    });
  }
});

function logits64(model: GoldenModel<DecoderSpec>, ids: number[]): Reals {
  const decoder: Decoder = { spec: model.spec, tensor: tensorsByName(model.tensors), precision: "f64" };
  const plan = positionPlan(model.spec.rope, model.spec, ids.length);
  return logitsOf(decoder, forward(decoder, ids, plan, referenceCache(model.spec, "f64")));
}

function row(logits: Reals, position: number, model: GoldenModel<DecoderSpec>): number[] {
  return [...logits.subarray(position * model.spec.vocabSize, (position + 1) * model.spec.vocabSize)];
}

function closeRow(found: number[], expected: number[], tolerance: number): void {
  assert.equal(found.length, expected.length);
  const worst = Math.max(...found.map((value, index) => Math.abs(value - expected[index])));
  assert.ok(worst <= tolerance, `differs by ${worst}, more than ${tolerance}`);
}
