import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { emptyState, finish, mergePartials, onlineStep, withSink } from "../../../engine/reference/attention.ts";
import { alloc64, keyShift, softmax } from "../../../engine/reference/ops.ts";
import { goldenFile } from "../../support/goldenModels.ts";

interface Golden {
  scores_already_scaled: number[];
  values: number[][];
  two_block_trace: { block: [number, number]; m: number; l: number; unnormalised_o: number[] }[];
  output: number[];
  logsumexp: number;
  split_k: { partials: { block: [number, number]; o: number[]; lse: number }[]; merged_output: number[]; merged_lse: number };
  sink_logit: { sink: number; output: number[] };
}
const golden = goldenFile("online_softmax.json") as Golden;

// Six keys in float64: only the order of the sums differs.
const TOLERANCE = 1e-12;

describe("streaming softmax", () => {
  it("follows the recorded trace block by block", () => {
    let state = emptyState(3);
    for (const step of golden.two_block_trace) {
      state = onlineStep(state, ...block(step.block));
      close([state.maximum, state.denominator, ...state.output], [step.m, step.l, ...step.unnormalised_o]);
    }
    const { output, logSumExp } = finish(state);
    close([...output, logSumExp], [...golden.output, golden.logsumexp]);
  });

  it("merges parts computed apart, in any grouping", () => {
    const partials = golden.split_k.partials.map((part) => {
      const partial = finish(onlineStep(emptyState(3), ...block(part.block)));
      close([...partial.output, partial.logSumExp], [...part.o, part.lse]);
      return partial;
    });
    const [first, ...rest] = partials;
    for (const merged of [mergePartials(partials), mergePartials([first, mergePartials(rest)])]) {
      close([...merged.output, merged.logSumExp], [...golden.split_k.merged_output, golden.split_k.merged_lse]);
    }
  });

  it("a sink takes part in the denominator only", () => {
    close(
      [...finish(withSink(onlineStep(emptyState(3), ...block([0, 6])), golden.sink_logit.sink)).output],
      golden.sink_logit.output,
    );
  });

  it("blocks without a visible key weigh nothing, and alone give zeros, never NaN", () => {
    const state = onlineStep(emptyState(3), ...block([0, 6]));
    const masked = onlineStep(state, [-Infinity, -Infinity], new Float64Array(6));
    assert.deepEqual(masked, state);
    const nothing = finish(emptyState(3));
    assert.deepEqual([...nothing.output, nothing.logSumExp], [0, 0, 0, -Infinity]);
    close([...mergePartials([finish(state), nothing]).output], golden.output);
    assert.equal(mergePartials([nothing, nothing]).logSumExp, -Infinity);
  });

  it("scores far from zero neither overflow nor vanish", () => {
    const row = Float64Array.of(1000, 999, -1000);
    softmax(row);
    close([...row], [1 / (1 + Math.exp(-1)), 1 / (1 + Math.E), 0]);
  });
});

describe("key shift", () => {
  it("mixes each raw key with the raw key before it, per channel", () => {
    const gate = Float64Array.of(0, Math.log(3)); // sigmoid 0.5 and 0.75
    const shifted = keyShift(alloc64, Float64Array.of(1, 1, 3, 5, 7, 9), Float64Array.of(10, 20), gate);
    close([...shifted], [5.5, 15.25, 2, 2, 5, 6]);
  });
});

function block([start, end]: [number, number]): [number[], number[]] {
  return [golden.scores_already_scaled.slice(start, end), golden.values.slice(start, end).flat()];
}

function close(found: readonly number[], expected: readonly number[]): void {
  assert.equal(found.length, expected.length);
  found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= TOLERANCE, `${value} is not ${expected[i]}`));
}
