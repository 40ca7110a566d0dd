import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeScaling } from "../../../engine/api.ts";
import { keptShare } from "../../../engine/attention/patterns/keptMass.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { layerBands, positionPlan } from "../../../engine/position/bands.ts";
import { attention, type ScoredLayer } from "../../../engine/reference/attend.ts";
import { patternChooser, sampledRows } from "../../../engine/reference/choosePattern.ts";
import { alloc64 } from "../../../engine/reference/ops.ts";
import { visibleKeys } from "../../../engine/reference/pattern.ts";
import { fill, randomModel } from "../../support/goldenModels.ts";

const { spec } = randomModel();
const TOKENS = 400;
const [H, G, D] = [spec.headCount, spec.kvHeadCount, spec.headDim];
const chunk = { start: 0, tokens: TOKENS, isDecoding: false };

/** Rows that look at few keys: scores of several units. */
function layerOf(scaling: RopeScaling = { kind: "none" }, window?: number): ScoredLayer {
  const plan = positionPlan(scaling, spec, TOKENS);
  const bands = layerBands(plan, { window, rotation: "main" });
  return {
    queries: bands.map((_, band) => fill(`queries ${band}`, [TOKENS, H, D], 3)),
    keys: plan.copies.map((_, copy) => fill(`keys ${copy}`, [TOKENS, G, D], 3)),
    bands,
  };
}

describe("patterns chosen by content", () => {
  it("keep the floor on the queries they were measured on, in each head, and read less than everything", () => {
    const layer = layerOf();
    const seen: number[] = [];
    for (const recall of [0.5, 0.8]) {
      const pattern = patternChooser(parseAttention(`minference:${recall}`), spec)(layer, chunk);
      assert.ok(pattern);
      let keys = 0;
      for (let head = 0; head < H; head++) {
        const rows = sampledRows(layer, spec, chunk, head);
        assert.equal(rows.length, 64);
        const kept = rows.reduce((sum, row) => sum + keptShare(pattern, head, row), 0) / rows.length;
        assert.ok(kept >= recall, `head ${head} keeps ${kept}`);
        const isVisible = visibleKeys(pattern, head, TOKENS - 1);
        for (let key = 0; key < TOKENS; key++) if (isVisible(key)) keys++;
      }
      seen.push(keys);
    }
    assert.ok(seen[0] < seen[1] && seen[1] <= H * TOKENS, seen.join());
    assert.ok(seen[0] < 0.9 * H * TOKENS);
  });

  for (const scaling of [
    { kind: "none" },
    { kind: "self_extend", group: 4, window: 32 },
    { kind: "dual_chunk", chunkSize: 96, localSize: 32 },
  ] satisfies RopeScaling[]) {
    it(`${scaling.kind}: with room for all blocks and pages nothing is lost, with room for one each query sees its own`, () => {
      const layer = layerOf(scaling);
      const values = fill("values", [TOKENS, G, D], 1);
      const whole = attention(alloc64, layer, values, spec, 0);
      for (const text of ["blocks:7", "vertical-slash:400,1", "minference:1"]) {
        const pattern = patternChooser(parseAttention(text), spec)(layer, chunk);
        assert.deepEqual([...attention(alloc64, { ...layer, patternAt: () => pattern }, values, spec, 0)], [...whole], text);
      }
      const last = { ...layer, queries: layer.queries.map((rows) => rows.slice(-H * D)) };
      const decoding = { start: TOKENS - 1, tokens: 1, isDecoding: true };
      for (const [pages, isAll] of [
        [25, true],
        [24, false],
        [1, false],
      ] as const) {
        const pattern = patternChooser(parseAttention(`top-pages:${pages}`), spec)(last, decoding);
        assert.ok(pattern);
        const out = attention(alloc64, { ...last, patternAt: () => pattern }, values, spec, TOKENS - 1);
        const same = [...out].every((value, at) => value === whole[whole.length - H * D + at]);
        assert.equal(same, isAll);
        const isVisible = visibleKeys(pattern, 0, TOKENS - 1);
        for (let key = TOKENS - (TOKENS % 16 || 16); key < TOKENS; key++) assert.ok(isVisible(key));
      }
      const own = patternChooser(parseAttention("blocks:1"), spec)(layer, chunk);
      assert.ok(own && visibleKeys(own, 0, 130)(128) && !visibleKeys(own, 0, 130)(127));
    });
  }

  it("choose among what a layer's own window leaves", () => {
    const layer = layerOf({ kind: "none" }, 40);
    const last = { ...layer, queries: layer.queries.map((rows) => rows.slice(-H * D)) };
    const pages = patternChooser(parseAttention("top-pages:3"), spec)(last, { start: 399, tokens: 1, isDecoding: true });
    const blocks = patternChooser(parseAttention("blocks:2"), spec)(layer, chunk);
    assert.ok(pages && blocks);
    const seen = (isVisible: (key: number) => boolean): number[] =>
      Array.from({ length: TOKENS }, (_, key) => key).filter((key) => isVisible(key));
    // The window reaches back to key 360: into pages 22, 23 and 24, and into blocks 5 and 6.
    assert.deepEqual(
      seen(visibleKeys(pages, 1, 399)),
      seen((key) => key >= 22 * 16),
    );
    assert.deepEqual(
      seen(visibleKeys(blocks, 1, 399)),
      seen((key) => key >= 5 * 64),
    );
  });

  it("take ALiBi's distance into account: of equal keys the nearer page", () => {
    const alibi = { ...spec, alibi: { maxBias: 8 } };
    const layer: ScoredLayer = {
      queries: [new Float64Array(H * D).fill(1)],
      keys: [new Float64Array(TOKENS * G * D).fill(1)],
      bands: layerOf().bands,
    };
    const decoding = { start: TOKENS - 1, tokens: 1, isDecoding: true };
    const [near, plain] = [alibi, spec].map((of) => patternChooser(parseAttention("top-pages:2"), of)(layer, decoding));
    assert.ok(near && plain);
    assert.ok(visibleKeys(near, 0, TOKENS - 1)(TOKENS - 32) && !visibleKeys(near, 0, TOKENS - 1)(0));
    assert.ok(visibleKeys(plain, 0, TOKENS - 1)(0));
  });
});
