import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  bestPages,
  checkTopPages,
  choosesPages,
  pageBounds,
  pageScores,
  pagesPattern,
} from "../../../engine/attention/patterns/quest.ts";
import { joinedKept } from "../../../engine/attention/patterns/keptMass.ts";
import { visible } from "../../../engine/reference/pattern.ts";
import { fill, goldenFile } from "../../support/goldenModels.ts";

const { quest } = goldenFile("block_selection.json") as {
  quest: {
    page_size: number;
    keys: number[][];
    query: number[];
    page_upper_bound: number[];
    true_page_max: number[];
    top2_pages_by_bound: number[];
  };
};
const keys = Float64Array.from(quest.keys.flat());
const query = Float64Array.from(quest.query);
const alone = { tokens: 16, kvHeads: 1, kvHead: 0, headDim: 4 };

describe("page bounds", () => {
  it("and the pages chosen by them are as recorded", () => {
    const scores = pageScores(query, pageBounds(keys, alone, quest.page_size));
    scores.forEach((bound, page) => assert.ok(Math.abs(bound - quest.page_upper_bound[page]) < 1e-12));
    assert.deepEqual(bestPages([scores], 2, 15, quest.page_size), quest.top2_pages_by_bound);
  });

  it("are never below the best key of a page, of any kv head and of a page that is not full", () => {
    const all = fill("quest keys", [50, 2, 4], 1);
    for (const kvHead of [0, 1]) {
      for (const tokens of [1, 15, 16, 17, 50]) {
        const bounds = pageScores(query, pageBounds(all, { tokens, kvHeads: 2, kvHead, headDim: 4 }));
        assert.equal(bounds.length, Math.ceil(tokens / 16));
        for (let token = 0; token < tokens; token++) {
          const row = all.subarray((token * 2 + kvHead) * 4, (token * 2 + kvHead + 1) * 4);
          const score = row.reduce((sum, value, i) => sum + value * query[i], 0);
          assert.ok(bounds[Math.floor(token / 16)] >= score - 1e-12);
        }
      }
    }
  });
});

describe("the best pages", () => {
  it("hold the query's own, whatever its bound, and the best of any head of the group", () => {
    const scores = [
      [1, 9, 0, 0, -5],
      [8, 0, 0, 7, -5],
    ];
    assert.deepEqual(bestPages(scores, 1, 70), [4]);
    assert.deepEqual(bestPages(scores, 3, 70), [0, 1, 4]);
    assert.deepEqual(bestPages(scores, 4, 70), [0, 1, 3, 4]);
    assert.deepEqual(bestPages(scores, 99, 70), [0, 1, 2, 3, 4]);
    // An earlier query has fewer.
    assert.deepEqual(bestPages(scores, 2, 40), [1, 2]);
  });

  it("leave out pages of which nothing is seen", () => {
    assert.deepEqual(bestPages([[-Infinity, 3, 1, 0]], 4, 60), [1, 2, 3]);
  });

  it("are what the heads of a group read", () => {
    const pattern = pagesPattern(
      [
        [0, 2],
        [1, 2],
      ],
      4,
    );
    const seen = (head: number): number[] => [
      ...new Set(
        Array.from({ length: 41 }, (_, key) => key)
          .filter((key) => visible(pattern, head, 40, key))
          .map((key) => key >> 4),
      ),
    ];
    assert.deepEqual([0, 1, 2, 3].map(seen), [
      [0, 2],
      [0, 2],
      [1, 2],
      [1, 2],
    ]);
    assert.notEqual(
      pattern.key,
      pagesPattern(
        [
          [0, 1],
          [1, 2],
        ],
        4,
      ).key,
    );
  });
});

describe("the layers that choose", () => {
  const layersOf = (...windows: (number | undefined)[]) => ({
    layers: windows.map((window) => ({ window, rotation: "main" as const })),
  });
  const choosing = (...windows: (number | undefined)[]): number[] =>
    [...windows.keys()].filter((layer) => choosesPages(layersOf(...windows), layer));

  it("are those behind the first two, or behind half of a small model's, without a window of their own", () => {
    assert.deepEqual(choosing(undefined), [0]);
    assert.deepEqual(choosing(undefined, undefined), [1]);
    assert.deepEqual(choosing(...Array<undefined>(4).fill(undefined)), [2, 3]);
    assert.deepEqual(choosing(...Array<undefined>(6).fill(undefined)), [2, 3, 4, 5]);
    assert.deepEqual(choosing(8, 8, undefined, 8, undefined), [2, 4]);
  });

  it("are there, or top pages are refused", () => {
    const choice = { policy: { kind: "flash" }, topPages: 4 } as const;
    checkTopPages(layersOf(8, undefined), choice);
    checkTopPages(layersOf(8, 8), { policy: { kind: "flash" } });
    assert.throws(() => checkTopPages(layersOf(8, 8), choice), { code: "bad-argument" });
    assert.throws(() => checkTopPages(layersOf(undefined, 8, 8), choice), { code: "bad-argument" });
  });
});

it("what a prompt and its answer kept is one figure, weighted by what was sampled", () => {
  const prompt = { mean: 0.9, least: 0.4, queries: 6, heads: 8 };
  const decoded = { mean: 0.5, least: 0.3, queries: 2, heads: 4 };
  const { mean = NaN, ...rest } = joinedKept(prompt, decoded) ?? {};
  assert.ok(Math.abs(mean - (48 * 0.9 + 8 * 0.5) / 56) < 1e-12);
  assert.deepEqual(rest, { least: 0.3, queries: 8, heads: 8 });
  assert.equal(joinedKept(prompt, undefined), prompt);
  assert.equal(joinedKept(undefined, decoded), decoded);
});
