import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Pattern } from "../../../engine/attention/api.ts";
import { gatherKept, keptShare } from "../../../engine/attention/patterns/keptMass.ts";
import { largest } from "../../../engine/attention/patterns/largest.ts";
import {
  bestBlocks,
  blockMeans,
  blockScores,
  massSums,
  searchShapes,
  verticalSlash,
  type BlockScores,
  type HeadEstimate,
} from "../../../engine/attention/patterns/minference.ts";
import { aShape } from "../../../engine/attention/patterns/runs.ts";
import { headsPattern, type HeadPattern } from "../../../engine/attention/patterns/sets.ts";
import { attentionRow, type AttentionSpec } from "../../../engine/reference/attend.ts";
import { visibleKeys } from "../../../engine/reference/pattern.ts";
import { fill, goldenFile } from "../../support/goldenModels.ts";

const golden = (
  goldenFile("block_selection.json") as {
    minference_vertical_slash: {
      N: number;
      last_q: number;
      q: number[][];
      k: number[][];
      vertical_score: number[];
      slash_score_by_distance: number[];
    };
  }
).minference_vertical_slash;

describe("the sums that keys and distances are chosen by", () => {
  it("are as recorded", () => {
    const spec: AttentionSpec = {
      ...{ headCount: 1, kvHeadCount: 1, headDim: 4, attentionScale: 1 / 2, attentionSoftcap: undefined, alibi: undefined },
    };
    const layer = {
      queries: [Float64Array.from(golden.q.flat())],
      keys: [Float64Array.from(golden.k.flat())],
      bands: [{ keys: (position: number) => [0, position + 1] as const, queryPosition: (position: number) => position, copy: 0 }],
    };
    const rows = Array.from({ length: golden.last_q }, (_, row) => golden.N - golden.last_q + row).map((query) =>
      attentionRow(layer, spec, query, 0, query),
    );
    const { columns, distances } = massSums(rows);
    // The recorded sums are float64 of the same terms in another order.
    columns.forEach((sum, key) => assert.ok(Math.abs(sum - golden.vertical_score[key]) < 1e-12));
    distances.forEach((sum, distance) => assert.ok(Math.abs(sum - golden.slash_score_by_distance[distance]) < 1e-12));
    assert.equal(columns.length, golden.N);
  });

  it("take forced keys and distances first, then the largest", () => {
    const columns = new Float64Array(500).fill(0.001);
    const distances = new Float64Array(500).fill(0.001);
    columns[200] = columns[77] = 5;
    distances[300] = 5;
    const chosen = verticalSlash({ columns, distances }, 32, 101);
    assert.ok(chosen.shape === "vertical-slash");
    const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
    assert.deepEqual(Array.from(chosen.columns), [...upTo(30), 77, 200]);
    assert.deepEqual(Array.from(chosen.distances), [...upTo(100), 300]);
    const few = verticalSlash({ columns, distances }, 3, 2);
    assert.deepEqual(few, { shape: "vertical-slash", columns: [0, 1, 2], distances: [0, 1] });
    assert.deepEqual(verticalSlash({ columns, distances }, 0, 1), { shape: "vertical-slash", columns: [], distances: [0] });
  });
});

describe("the largest of some scores", () => {
  it("are what sorting finds, the first of equal ones", () => {
    for (const length of [1, 2, 3, 10, 257]) {
      const scores = fill(`scores ${length}`, [length], 1).map((score) => Math.round(8 * score));
      for (const count of [0, 1, 2, Math.ceil(length / 2), length, length + 3]) {
        const sorted = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b);
        assert.deepEqual(
          largest(scores, count),
          sorted.slice(0, count).sort((a, b) => a - b),
          `${count} of ${length}`,
        );
      }
    }
  });

  it("leave out what is not seen, whatever is asked for", () => {
    assert.deepEqual(largest([-Infinity, 1, -Infinity, 0], 4), [1, 3]);
    assert.deepEqual(largest([-Infinity, -Infinity], 1), []);
    assert.deepEqual(largest(Float32Array.of(3, Infinity, 3), 2), [0, 1]);
  });
});

describe("blocks by their means", () => {
  const [heads, headDim] = [2, 3];
  const x = fill("means", [11, heads, headDim], 1);

  it("are means over blocks of positions, wherever the chunk begins", () => {
    for (const start of [0, 4, 6]) {
      const means = blockMeans(x, { heads, head: 1, headDim, start }, 4);
      const first = Math.floor(start / 4);
      const blocks = Math.ceil((start + 11) / 4) - first;
      assert.equal(means.length, blocks * headDim);
      for (let block = 0; block < blocks; block++) {
        const tokens = Array.from({ length: 11 }, (_, token) => token).filter(
          (token) => Math.floor((start + token) / 4) === first + block,
        );
        for (let i = 0; i < headDim; i++) {
          const mean = tokens.reduce((sum, token) => sum + x[(token * heads + 1) * headDim + i], 0) / tokens.length;
          assert.ok(Math.abs(means[block * headDim + i] - mean) < 1e-12);
        }
      }
    }
  });

  it("score with the past only, less ALiBi's bias", () => {
    const queries = Float64Array.of(1, 2, 3, 4);
    const keys = Float64Array.of(1, 0, 0, 1, 1, 1);
    const facts = { headDim: 2, scale: 0.5, firstQueryBlock: 1 };
    const plain = blockScores(queries, keys, facts, 4);
    assert.deepEqual([...plain.scores], [0.5, 1, -Infinity, 1.5, 2, 3.5]);
    const biased = blockScores(queries, keys, { ...facts, slope: 0.25 }, 4);
    assert.deepEqual([...biased.scores], [-0.5, 1, -Infinity, -0.5, 1, 3.5]);
  });

  it("are chosen with the own block always among them", () => {
    const scores: BlockScores = {
      firstQueryBlock: 2,
      keyBlocks: 4,
      scores: Float64Array.of(5, 1, -9, -Infinity, 1, 7, 2, -9),
    };
    assert.deepEqual(bestBlocks(scores, 1), { shape: "blocks", firstQueryBlock: 2, lists: [[2], [3]] });
    assert.deepEqual(bestBlocks(scores, 2), {
      shape: "blocks",
      firstQueryBlock: 2,
      lists: [
        [0, 2],
        [1, 3],
      ],
    });
    assert.deepEqual(bestBlocks(scores, 9), {
      shape: "blocks",
      firstQueryBlock: 2,
      lists: [
        [0, 1, 2],
        [0, 1, 2, 3],
      ],
    });
  });
});

describe("kept attention", () => {
  it("is the weight of the keys that a pattern shows", () => {
    const weights = Float64Array.of(0.4, 0.1, 0.2, 0.05, 0.25);
    assert.ok(Math.abs(keptShare(aShape(1, 2), 0, weights) - (0.4 + 0.05 + 0.25)) < 1e-12);
    assert.ok(Math.abs(keptShare(aShape(0, 1), 0, weights) - 0.25) < 1e-12);
    assert.ok(Math.abs(keptShare(aShape(9, 9), 0, weights) - 1) < 1e-12);
    const perHead = headsPattern([{ shape: "dense" }, { shape: "vertical-slash", columns: [1], distances: [0] }]);
    assert.ok(Math.abs(keptShare(perHead, 1, weights) - 0.35) < 1e-12);
  });

  it("is summed up by head: the mean of all, and the worst one's own", () => {
    const kept = gatherKept();
    assert.equal(kept.summary(), undefined);
    for (const [layer, head, share] of [
      [0, 0, 1],
      [0, 0, 0.5],
      [0, 1, 0.5],
      [0, 1, 0.1],
      [1, 0, 1],
      [1, 0, 1],
    ] as const) {
      kept.add(layer, head, share);
    }
    const summary = kept.summary();
    assert.ok(summary !== undefined && Math.abs(summary.mean - (0.75 + 0.3 + 1) / 3) < 1e-12);
    assert.ok(Math.abs(summary.least - 0.3) < 1e-12);
    assert.deepEqual([summary.queries, summary.heads], [2, 3]);
  });
});

// Rows of attention made so that one shape fits each head: 16 blocks of keys, sampled in the last block.
describe("the search for a shape per head", () => {
  const tokens = 16 * 64;
  const made: Record<string, (query: number, key: number) => number> = {
    local: (query, key) => (key < 4 ? 5 : query - key < 60 ? 1 : 0),
    stripes: (query, key) => (key === 300 ? 20 : query - key === 500 ? 30 : query - key < 20 ? 1 : 0),
    blocky: (_, key) => (Math.floor(key / 64) === 7 ? 1 + (key % 7) : 0),
    even: () => 1,
  };
  const rowsOf = (weight: (query: number, key: number) => number): Float64Array[] =>
    Array.from({ length: 64 }, (_, row) => {
      const query = tokens - 64 + row;
      const weights = Float64Array.from({ length: query + 1 }, (_, key) => weight(query, key));
      const sum = weights.reduce((total, each) => total + each, 0);
      return weights.map((each) => each / sum);
    });
  const rows = Object.values(made).map(rowsOf);
  const estimates: HeadEstimate[] = rows.map((own) => {
    const scores = Float64Array.from({ length: 16 }, (_, block) =>
      own.reduce((sum, row) => sum + row.subarray(block * 64, (block + 1) * 64).reduce((mass, each) => mass + each, 0), 0),
    );
    return { mass: massSums(own), blocks: { firstQueryBlock: 15, keyBlocks: 16, scores } };
  });
  const keptBy = (pattern: Pattern): number[] =>
    rows.map((own, head) => own.reduce((sum, row) => sum + keptShare(pattern, head, row), 0) / own.length);

  function search(recall: number): { chosen: Pattern; tried: number } {
    const steps = searchShapes(estimates, recall);
    let step = steps.next();
    let tried = 0;
    for (; step.done !== true; tried++) step = steps.next(keptBy(step.value));
    return { chosen: step.value, tried };
  }
  /** Blocks of keys that the last block of queries touches. */
  const blocksSeen = (pattern: Pattern, head: number): number => {
    const blocks = new Set<number>();
    for (let query = tokens - 64; query < tokens; query++) {
      const isVisible = visibleKeys(pattern, head, query);
      for (let key = 0; key <= query; key++) if (isVisible(key)) blocks.add(Math.floor(key / 64));
    }
    return blocks.size;
  };

  it("reaches the floor in every head, and reads less where less will do", () => {
    const { chosen, tried } = search(0.95);
    keptBy(chosen).forEach((kept, head) => assert.ok(kept >= 0.95, Object.keys(made)[head]));
    const [local, stripes, blocky, even] = Object.keys(made).map((_, head) => blocksSeen(chosen, head));
    assert.ok(local <= 3 && stripes < 10 && blocky <= 2, [local, stripes, blocky].join());
    assert.equal(even, 16);
    assert.ok(tried > 0 && tried < 20);
  });

  it("reads more for a higher floor, and everything for the whole of it", () => {
    const totals = [0.3, 0.9, 0.99].map((recall) => {
      const { chosen } = search(recall);
      return Object.keys(made).reduce((sum, _, head) => sum + blocksSeen(chosen, head), 0);
    });
    assert.ok(totals[0] < totals[1] && totals[1] <= totals[2], totals.join());
    const spread: HeadEstimate = { ...estimates[3] };
    const steps = searchShapes([spread], 1);
    let step = steps.next();
    while (step.done !== true) step = steps.next([0.999]);
    assert.equal(blocksSeen(step.value, 0), 16);
  });

  it("tries nothing where nothing is cheaper than everything", () => {
    const short: HeadEstimate = {
      mass: { columns: new Float64Array(40), distances: new Float64Array(40) },
      blocks: { firstQueryBlock: 0, keyBlocks: 1, scores: Float64Array.of(1) },
    };
    const step = searchShapes([short, short], 0.5).next();
    assert.equal(step.done, true);
    assert.equal(
      headsPattern([{ shape: "dense" }, { shape: "dense" }] satisfies HeadPattern[]).key,
      (step.value as { key: string }).key,
    );
  });
});
