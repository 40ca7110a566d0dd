import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Band, DecoderSpec, RopeScaling } from "../../../engine/api.ts";
import { shardsOf } from "../../../engine/attention/ring/schedule.ts";
import { layerBands, positionPlan } from "../../../engine/position/bands.ts";
import { attention } from "../../../engine/reference/attend.ts";
import { alloc64 } from "../../../engine/reference/ops.ts";
import { ringAttention } from "../../../engine/reference/ring.ts";
import { fill, randomModel } from "../../support/goldenModels.ts";

const layouts = ["contiguous", "zigzag", "striped"] as const;

/** What a decoder may want of attention; each changes which keys meet, or how they are scored. */
const cases: [what: string, spec: Partial<DecoderSpec>, scaling: RopeScaling, window?: number][] = [
  ["grouped heads", {}, { kind: "none" }],
  ["one key head", { kvHeadCount: 1 }, { kind: "none" }],
  ["as many key heads as query heads", { kvHeadCount: 4 }, { kind: "none" }],
  ["a window", {}, { kind: "none" }, 5],
  ["a window of one", {}, { kind: "none" }, 1],
  ["a softcap", { attentionSoftcap: 1.5 }, { kind: "none" }],
  ["ALiBi", { alibi: { maxBias: 8 }, rotaryDim: 0 }, { kind: "none" }],
  ["Self-Extend", {}, { kind: "self_extend", group: 2, window: 6 }],
  ["dual chunks", {}, { kind: "dual_chunk", chunkSize: 12, localSize: 4 }],
  ["ReRoPE in a window", {}, { kind: "rerope", window: 4 }, 9],
];

describe("ring attention in plain loops", () => {
  for (const [what, overrides, scaling, window] of cases) {
    it(`${what}: equals attention over all keys, for every layout, number of ranks and length`, () => {
      const { spec } = randomModel(overrides);
      for (const tokens of [1, 2, 7, 16, 29]) {
        const plan = positionPlan(scaling, spec, tokens);
        const bands = layerBands(plan, { window, rotation: spec.rotaryDim === 0 ? "none" : "main" });
        const layer = randomLayer(spec, bands, plan.copies.length, tokens);
        const values = fill("values", [tokens, spec.kvHeadCount, spec.headDim], 1);
        const expected = attention(alloc64, layer, values, spec, 0);
        for (const ranks of [1, 2, 3, 4, 7].filter((count) => count <= tokens)) {
          for (const layout of layouts) {
            const found = ringAttention(alloc64, layer, values, spec, shardsOf(layout, ranks, tokens));
            const worst = Math.max(...found.map((value, index) => Math.abs(value - expected[index])));
            // Sums of at most 29 weighted numbers below one in another order.
            assert(worst <= 1e-13, `${tokens} tokens, ${ranks} ranks, ${layout}: off by ${worst}`);
          }
        }
      }
    });
  }
});

/** Scores of a few units, so that maxima move from block to block. */
function randomLayer({ headCount, kvHeadCount, headDim }: DecoderSpec, bands: readonly Band[], copies: number, tokens: number) {
  return {
    bands,
    queries: bands.map((_, band) => fill(`queries ${band}`, [tokens, headCount, headDim], 3)),
    keys: Array.from({ length: copies }, (_, copy) => fill(`keys ${copy}`, [tokens, kvHeadCount, headDim], 3)),
  };
}
