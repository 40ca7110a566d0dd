import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RingLayout } from "../../../engine/attention/api.ts";
import {
  blockBytes,
  leastChunkTokens,
  measuredRates,
  pairFlops,
  ringAttentionSeconds,
  ringStep,
  stepPairs,
} from "../../../engine/attention/ring/overlap.ts";
import { blockRanges, pairsIn } from "../../../engine/attention/ring/ranges.ts";
import {
  blockOwner,
  causalPairs,
  criticalPath,
  nextRank,
  previousRank,
  shardsOf,
} from "../../../engine/attention/ring/schedule.ts";
import { goldenFile } from "../../support/goldenModels.ts";

const golden = goldenFile("ring_schedule.json") as {
  devices: number;
  tokens: number;
  kv_owner_held_by_device_at_step: number[][];
  send_to: number[];
  receive_from: number[];
  layouts: Record<RingLayout, number[][]>;
  causal_pairs_per_step_and_device: Record<RingLayout, number[][]>;
  critical_path_pairs: Record<RingLayout, number>;
  total_pairs: number;
};
const layouts = ["contiguous", "zigzag", "striped"] as const;
const causal = { keys: (position: number) => [0, position + 1] as const };

describe("ring schedule", () => {
  it("is the recorded one", () => {
    const { devices: P, tokens } = golden;
    const steps = Array.from({ length: P }, (_, step) => Array.from({ length: P }, (_rank, rank) => blockOwner(rank, step, P)));
    assert.deepEqual(steps, golden.kv_owner_held_by_device_at_step);
    assert.deepEqual(
      Array.from({ length: P }, (_, rank) => nextRank(rank, P)),
      golden.send_to,
    );
    assert.deepEqual(
      Array.from({ length: P }, (_, rank) => previousRank(rank, P)),
      golden.receive_from,
    );
    for (const layout of layouts) {
      const shards = shardsOf(layout, P, tokens);
      assert.deepEqual(
        shards.map((shard) => [...shard]),
        golden.layouts[layout],
      );
      const pairs = causalPairs(shards);
      assert.deepEqual(pairs, golden.causal_pairs_per_step_and_device[layout]);
      assert.equal(criticalPath(pairs), golden.critical_path_pairs[layout]);
      assert.equal(
        pairs.flat().reduce((sum, count) => sum + count, 0),
        golden.total_pairs,
      );
    }
  });

  it("gives every token to one rank, in rising order, in shards that differ by one token", () => {
    for (const layout of layouts) {
      for (let ranks = 1; ranks <= 9; ranks++) {
        for (const tokens of [ranks, ranks + 1, 2 * ranks - 1, 2 * ranks + 1, 37, 64, 101].filter((count) => count >= ranks)) {
          const shards = shardsOf(layout, ranks, tokens);
          const what = `${layout}, ${tokens} tokens on ${ranks} ranks`;
          const all = shards.flatMap((shard) => [...shard]).sort((a, b) => a - b);
          assert.deepEqual(
            all,
            Array.from({ length: tokens }, (_, index) => index),
            what,
          );
          for (const shard of shards)
            assert.deepEqual(
              [...shard].sort((a, b) => a - b),
              [...shard],
              what,
            );
          const sizes = shards.map((shard) => shard.length);
          assert(Math.min(...sizes) >= 1 && Math.max(...sizes) - Math.min(...sizes) <= 1, what);
        }
      }
    }
  });

  it("keeps every rank nearly as busy as every other in zigzag, and wastes half of a contiguous ring", () => {
    const ideal = (tokens: number, ranks: number): number => (tokens * (tokens + 1)) / 2 / ranks;
    for (const ranks of [2, 4, 8]) {
      const tokens = 64 * ranks;
      const path = (layout: RingLayout): number => criticalPath(causalPairs(shardsOf(layout, ranks, tokens)));
      assert.equal(path("zigzag"), ideal(tokens, ranks));
      assert(path("striped") < 1.05 * ideal(tokens, ranks));
      // Per step the whole square, though half of all pairs are there.
      assert(path("contiguous") > (2 - 1.1 / ranks) * ideal(tokens, ranks));
    }
  });

  it("refuses more ranks than tokens and says how many there can be", () => {
    for (const layout of layouts) {
      assert.throws(
        () => shardsOf(layout, 5, 3),
        (error: { code: string; remedy: string }) => error.code === "bad-argument" && error.remedy.includes("at most 3 ranks"),
      );
      assert.throws(() => shardsOf(layout, 1, 0), { code: "bad-argument", remedy: "give a longer prompt" });
      assert.throws(() => shardsOf(layout, 0, 3), { code: "bad-argument" });
      assert.throws(() => shardsOf(layout, 1.5, 3), { code: "bad-argument" });
    }
  });
});

describe("ranges of a block", () => {
  it("let each query meet exactly the keys of the block that its band has", () => {
    const windowed = { keys: (position: number) => [Math.max(0, position - 4), position + 1] as const };
    const far = { keys: (position: number) => [0, Math.max(0, position - 6)] as const };
    for (const layout of layouts) {
      for (const tokens of [7, 23]) {
        const shards = shardsOf(layout, 3, tokens);
        for (const queries of shards) {
          for (const block of shards) {
            for (const band of [causal, windowed, far]) {
              const ranges = blockRanges(queries, block, band);
              for (const [index, position] of queries.entries()) {
                const [from, to] = band.keys(position);
                const expected = [...block].filter((key) => key >= from && key < to);
                assert.deepEqual(
                  [...block.subarray(ranges[2 * index], ranges[2 * index + 1])],
                  expected,
                  `${layout} ${position}`,
                );
              }
            }
          }
        }
      }
    }
  });

  it("add up to the pairs of the schedule", () => {
    for (const layout of layouts) {
      const shards = shardsOf(layout, 4, 30);
      const pairs = causalPairs(shards);
      for (const [step, ofRanks] of pairs.entries()) {
        for (const [rank, count] of ofRanks.entries()) {
          const block = shards[blockOwner(rank, step, 4)];
          assert.equal(pairsIn(blockRanges(shards[rank], block, causal)), count);
        }
      }
    }
  });
});

describe("overlap", () => {
  /** As many key heads as query heads, 16-bit numbers. */
  const multiHead = { headCount: 32, kvHeadCount: 32, headDim: 128 };
  const grouped = { headCount: 32, kvHeadCount: 8, headDim: 128 };

  it("asks for F / B tokens, and for fewer by as many query heads as share a key head", () => {
    // A100 with NVLink: 312 TFLOP/s over 300 GB/s; with InfiniBand at 12.5 GB/s.
    const nvlink = { flops: 312e12, bytesPerSecond: 300e9 };
    assert.equal(leastChunkTokens(multiHead, "contiguous", nvlink, 2), 1040);
    assert.equal(leastChunkTokens(multiHead, "contiguous", { ...nvlink, bytesPerSecond: 12.5e9 }, 2), 24960);
    assert.equal(leastChunkTokens(grouped, "contiguous", nvlink, 2), 260);
    assert.equal(leastChunkTokens(grouped, "zigzag", nvlink, 2), 520);
    assert.equal(leastChunkTokens(grouped, "contiguous", nvlink, 4), 520);
  });

  it("is the border between steps that hide their block and steps that do not", () => {
    const rates = { flops: 5e12, bytesPerSecond: 8e9 };
    for (const layout of layouts) {
      const least = leastChunkTokens(grouped, layout, rates, 4);
      assert(ringStep(grouped, layout, Math.ceil(least * 1.001), 1, rates, 4).hidden, layout);
      assert(!ringStep(grouped, layout, Math.floor(least * 0.999), 1, rates, 4).hidden, layout);
    }
  });

  it("counts per step what the slowest rank of the schedule does", () => {
    for (const layout of layouts) {
      for (const [step, ofRanks] of causalPairs(shardsOf(layout, 4, 64)).entries()) {
        const busiest = Math.max(...ofRanks);
        assert.equal(stepPairs(layout, 16, step), busiest, `${layout} ${step}`);
        assert.equal(
          ringStep(grouped, layout, 16, step, { flops: 1, bytesPerSecond: 1 }, 2).computeSeconds,
          pairFlops(grouped) * busiest,
        );
      }
    }
  });

  it("takes as long as the longer of attending and passing, step by step", () => {
    const shape = { headCount: 1, kvHeadCount: 1, headDim: 1 };
    // Two tokens a rank: 3 pairs at 4 operations in step 0, 4 pairs in the others, 4 numbers a block.
    const seconds = (bytesPerSecond: number): number =>
      ringAttentionSeconds(shape, "contiguous", 3, 2, { flops: 1, bytesPerSecond }, 1);
    assert.equal(seconds(1), 12 + 16 + 16);
    assert.equal(seconds(4 / 14), 14 + 16 + 16);
    assert.equal(seconds(4 / 20), 20 + 20 + 16);
    assert.equal(blockBytes(shape, 2, 1), 4);
  });

  it("reads the rates off a measured run, and none where nothing was measured", () => {
    const shape = { headCount: 2, kvHeadCount: 1, headDim: 4 };
    const steps = [
      { pairs: 100, computeMs: 2, bytes: 0, transferMs: 0 },
      { pairs: 50, computeMs: 1, bytes: 4000, transferMs: 2 },
      // A rank that sees nothing of the block computes nothing worth counting.
      { pairs: 0, computeMs: 5, bytes: 4000, transferMs: 2 },
    ];
    assert.deepEqual(measuredRates(shape, steps), { flops: (32 * 150 * 1000) / 3, bytesPerSecond: 2_000_000 });
    assert.deepEqual(measuredRates(shape, []), { flops: undefined, bytesPerSecond: undefined });
  });
});
