import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RecurrentSpec } from "../../../engine/api.ts";
import { checkWeights } from "../../../engine/models/weights.ts";
import type { Reals } from "../../../engine/position/rope.ts";
import { tensorsByName } from "../../../engine/reference/decoder.ts";
import { recurrentLogits, type RecurrentModel } from "../../../engine/reference/recurrentModel.ts";
import { openPass } from "../../../engine/reference/recurrentPass.ts";
import { goldenRecurrent, goldenRecurrents, type GoldenModel } from "../../support/goldenModels.ts";

// float64 sums in another order than NumPy's differ by some 1e-15 a step; 1e-9 leaves room for two layers and none for an error.
describe("whole tiny recurrent models in float64", () => {
  for (const name of goldenRecurrents) {
    it(`${name}: logits`, () => {
      const model = goldenRecurrent(name);
      checkWeights(model.spec, model.weights);
      const { golden, tolerance, spec } = model;
      const V = spec.vocabSize;
      const logits = logits64(model, [model.inputIds]);
      close(logits.subarray(0, V), golden.logits_first, tolerance.float64);
      close(logits.subarray(6 * V, 7 * V), golden.logits_mid_pos6, tolerance.float64);
      close(logits.subarray(-V), golden.logits_last, tolerance.float64);
      const sums = model.inputIds.map((_, i) => logits.subarray(i * V, (i + 1) * V).reduce((sum, value) => sum + value, 0));
      close(sums, golden.logits_sum_per_position, tolerance.float64 * V);
    });

    it(`${name}: greedy continuation, one token after another from the state`, () => {
      const model = goldenRecurrent(name);
      const reference = modelOf(model);
      const pass = openPass(reference);
      let last: Reals = recurrentLogits(reference, pass.run(model.inputIds)).slice(-model.spec.vocabSize);
      const found: number[] = [];
      for (let step = 0; step < 5; step++) {
        const next = last.indexOf(Math.max(...last));
        found.push(next);
        last = recurrentLogits(reference, pass.run([next]));
      }
      assert.deepEqual(found, model.golden.greedy_next_5);
    });

    it(`${name}: the same logits however the tokens are divided`, () => {
      const model = goldenRecurrent(name);
      const whole = logits64(model, [model.inputIds]);
      for (const size of [1, 3, 5]) close(logits64(model, parts(model.inputIds, size)), whole, model.tolerance.float64);
    });
  }
});

function logits64(model: GoldenModel<RecurrentSpec>, chunks: readonly (readonly number[])[]): Float64Array {
  const reference = modelOf(model);
  const pass = openPass(reference);
  return Float64Array.from(chunks.flatMap((chunk) => [...recurrentLogits(reference, pass.run(chunk))]));
}

function modelOf({ spec, tensors }: GoldenModel<RecurrentSpec>): RecurrentModel {
  return { spec, tensor: tensorsByName(tensors), precision: "f64" };
}

function parts(ids: readonly number[], size: number): number[][] {
  return Array.from({ length: Math.ceil(ids.length / size) }, (_, i) => ids.slice(i * size, (i + 1) * size));
}

function close(found: Reals | readonly number[], expected: Reals | readonly number[], tolerance: number): void {
  assert.equal(found.length, expected.length);
  const worst = Math.max(...Array.from(found, (value, i) => Math.abs(value - expected[i])));
  assert.ok(worst <= tolerance, `differs by ${worst}, more than ${tolerance}`);
}
