/** What ranks agree on without a device: plans as data, slabs and their rows, raw keys in front of tokens, reports and their words. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PAGE_TOKENS } from "../../../engine/attention/api.ts";
import { linkFrom, linkTo, neededRows, putRows, takeRows } from "../../../engine/attention/ring/before.ts";
import { plainPlan, planOf } from "../../../engine/attention/ring/plainPlan.ts";
import { ringStepLines, ringText } from "../../../engine/attention/ring/reportText.ts";
import { checkLayout, nextRank, previousRank, shardsOf } from "../../../engine/attention/ring/schedule.ts";
import { pageBytes, pageOfRows, rowsOfWire, slabPages, usedRanges } from "../../../engine/attention/ring/slabs.ts";
import { ringReport, summedSteps, type RankStep } from "../../../engine/attention/ring/timings.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { randomModel } from "../../support/goldenModels.ts";

const layouts = ["contiguous", "zigzag", "striped"] as const;
const { spec } = randomModel();

describe("a plan as data", () => {
  it("says the same after crossing to a worker, and nothing of other ranks' positions", () => {
    for (const scaling of [
      { kind: "linear", factor: 2 },
      { kind: "self_extend", group: 2, window: 6, logBase: 4 },
      { kind: "dual_chunk", chunkSize: 12, localSize: 4, originalContext: 8 },
    ] as const) {
      const plan = positionPlan(scaling, spec, 40);
      const shard = shardsOf("zigzag", 3, 40)[1];
      const there = planOf(structuredClone(plainPlan(plan, shard)), shard);
      assert.deepEqual([there.key, there.table], [plan.key, plan.table]);
      for (const position of shard) {
        assert.equal(there.queryScale(position), plan.queryScale(position));
        assert.deepEqual(
          there.copies.map((copy) => copy(position)),
          plan.copies.map((copy) => copy(position)),
        );
        assert.deepEqual(
          there.bands.map((band) => [band.copy, band.keys(position), band.queryPosition(position)]),
          plan.bands.map((band) => [band.copy, band.keys(position), band.queryPosition(position)]),
        );
      }
      assert.throws(() => there.queryScale(0), RangeError);
    }
  });
});

describe("slabs of a rank", () => {
  it("leave unused rows off the wire and come back as rows and as pages of a cache", () => {
    for (const heads of [1, 3]) {
      const shape = { heads, words: 2 };
      for (const tokens of [1, PAGE_TOKENS - 1, PAGE_TOKENS, PAGE_TOKENS + 1, 2 * PAGE_TOKENS + 44]) {
        const what = `${heads} heads, ${tokens} tokens`;
        const rows = Uint32Array.from({ length: tokens * heads * 2 }, (_, index) => index + 1);
        // The slab as the device has it, page by page.
        const slab = new Uint32Array((slabPages(tokens) * pageBytes(shape)) / 4);
        for (let page = 0; page < slabPages(tokens); page++)
          slab.set(pageOfRows(rows, page, shape), (page * pageBytes(shape)) / 4);
        const ranges = usedRanges(tokens, shape);
        const wire = Uint32Array.from(ranges.flatMap(({ at, bytes }) => [...slab.subarray(at / 4, (at + bytes) / 4)]));
        assert.equal(wire.length, rows.length, what);
        assert(!wire.includes(0), what);
        assert.deepEqual(rowsOfWire(wire.buffer, tokens, shape), rows, what);
      }
    }
  });
});

describe("raw keys in front of a shard's tokens", () => {
  it("come from the rank itself or from a neighbour, for any layout, number of ranks and length", () => {
    for (const layout of layouts) {
      for (let ranks = 1; ranks <= 8; ranks++) {
        for (let tokens = ranks; tokens <= 3 * ranks + 2; tokens++) {
          const shards = shardsOf(layout, ranks, tokens);
          const rawKeys = shards.map((shard) => Float32Array.from(shard, (position) => 100 + position));
          for (const [rank, shard] of shards.entries()) {
            const before = new Float32Array(shard.length);
            for (const { from, rows, into } of neededRows(shards, rank)) {
              if (from !== rank) {
                assert.equal(linkFrom(rank, from, ranks) === "next", linkTo(from, rank, ranks) === "previous");
                assert.equal(from, linkFrom(rank, from, ranks) === "next" ? nextRank(rank, ranks) : previousRank(rank, ranks));
              }
              putRows(before, takeRows(rawKeys[from], rows, 1), into, 1);
            }
            const expected = Float32Array.from(shard, (position) => (position === 0 ? 0 : 99 + position));
            assert.deepEqual(before, expected, `${layout}, ${tokens} tokens on ${ranks}, rank ${rank}`);
          }
        }
      }
    }
    assert.throws(() => linkTo(0, 2, 5), RangeError);
  });
});

describe("what a ring reports", () => {
  const step = (of: Partial<RankStep>): RankStep => ({
    ...{ step: 0, owner: 0, pairs: 10, bytes: 0, computeMs: 4, transferMs: 0, waitedMs: 0 },
    ...of,
  });

  it("adds layers up by step, and hides what was not waited for", () => {
    const layer = [step({}), step({ step: 1, owner: 1, pairs: 6, bytes: 300, computeMs: 2, transferMs: 3, waitedMs: 1 })];
    const steps = summedSteps(0, [layer, layer]);
    assert.deepEqual(steps[1], { rank: 0, step: 1, owner: 1, pairs: 12, bytes: 600, computeMs: 4, transferMs: 6, waitedMs: 2 });
    const run = { ranks: 2, layout: "contiguous", tokens: 8, chunkTokens: 4, totalMs: 20, steps, devices: [] } as const;
    const report = ringReport(spec, 4, run);
    const pairFlops = 4 * spec.headCount * spec.headDim;
    assert.equal(report.flops, (pairFlops * 32 * 1000) / 12);
    assert.equal(report.bytesPerSecond, 100_000);
    assert.equal(report.hiddenShare, 1 - 2 / 6);
    // (F / B) (G / H) for two-byte numbers, and numbers of four.
    const least = ((report.flops ?? 0) / 100_000) * (spec.kvHeadCount / spec.headCount) * 2;
    assert(Math.abs((report.leastChunkTokens ?? 0) - least) < 1e-9);
    // A rank that had nothing to do waited for another's work: no more than the transfer itself was not hidden.
    const idle = ringReport(spec, 4, { ...run, steps: [{ ...steps[1], waitedMs: 60 }] });
    assert.equal(idle.hiddenShare, 0);
    const alone = ringReport(spec, 4, { ...run, ranks: 1, steps: [steps[0]] });
    assert.deepEqual([alone.hiddenShare, alone.bytesPerSecond, alone.leastChunkTokens], [1, undefined, undefined]);
    assert.match(ringText(report), /^ring of 2 workers \(contiguous\): 66 % of passing keys hid .* each had 4$/);
    assert.equal(ringText(alone), "ring of 1 workers (contiguous): 100 % of passing keys hid behind attention");
    assert.match(
      ringStepLines(report)[1],
      /worker 0, step 1: 12 pairs with keys of worker 1 in 4\.0 ms; 0\.6 kB came in 6\.0 ms/,
    );
  });

  it("refuses stripes for ALiBi, and no other layout or model", () => {
    const biased = { alibi: { maxBias: 8 } };
    assert.throws(() => checkLayout(biased, "striped"), { code: "bad-argument", remedy: /zigzag/ });
    for (const layout of layouts) if (layout !== "striped") checkLayout(biased, layout);
    checkLayout({ alibi: undefined }, "striped");
  });
});
