import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { layerBands, positionPlan } from "../../../engine/position/bands.ts";
import { alibiSlopes } from "../../../engine/position/alibi.ts";
import { attentionRow } from "../../../engine/reference/attend.ts";
import { goldenFile, randomModel } from "../../support/goldenModels.ts";

const golden = goldenFile("alibi.json") as {
  slopes: Record<string, number[]>;
  row_example: { heads: number; head: number; slope: number; query_pos: number; scores_scaled: number[]; probs: number[] };
};

describe("ALiBi", () => {
  for (const [heads, expected] of Object.entries(golden.slopes)) {
    it(`slopes of ${heads} heads`, () => {
      const slopes = alibiSlopes(Number(heads));
      assert.equal(slopes.length, expected.length);
      // Powers of two from other exponents of the same value: relative 1e-12 leaves room for their rounding only.
      slopes.forEach((slope, head) => assert.ok(Math.abs(slope - expected[head]) <= 1e-12 * expected[head], `head ${head}`));
    });
  }

  it("a larger greatest bias makes every head forget sooner", () => {
    const [mild, steep] = [alibiSlopes(12, 8), alibiSlopes(12, 16)];
    mild.forEach((slope, head) => assert.ok(steep[head] < slope));
  });

  it("takes slope times distance from the scores of a row", () => {
    const { heads, head, query_pos, scores_scaled, probs } = golden.row_example;
    const alibi = { maxBias: 8 };
    const spec = { headCount: heads, kvHeadCount: heads, headDim: 1, attentionScale: 1, attentionSoftcap: undefined, alibi };
    const plan = positionPlan({ kind: "none" }, { ...randomModel().spec, rotaryDim: 0, alibi }, 4);
    // Queries of one and keys equal to the recorded scores, the same in every head.
    const layer = {
      queries: [new Float64Array(heads).fill(1)],
      keys: [Float64Array.from(scores_scaled.flatMap((score) => new Array<number>(heads).fill(score)))],
      bands: layerBands(plan, { window: undefined, rotation: "none" }),
    };
    const row = attentionRow(layer, spec, 0, head, query_pos);
    row.forEach((weight, key) => assert.ok(Math.abs(weight - probs[key]) < 1e-12, `${weight} is not ${probs[key]}`));
  });
});
