import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AppendOptions, Runner } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import {
  perplexityByPosition,
  perplexityOf,
  positionEdges,
  scoreTokens,
  slidingSegments,
} from "../../../engine/eval/perplexity.ts";
import { openReferenceDecoder } from "../../../engine/reference/runner.ts";
import { goldenFile, randomModel } from "../../support/goldenModels.ts";

const golden = goldenFile("perplexity.json") as {
  logprob_full_context: number[];
  ppl: number;
  ppl_by_position_buckets: { from: number; to: number; ppl: number }[];
  sliding_window_ppl: {
    N: number;
    window: number;
    stride: number;
    segments: { begin: number; end: number; scored_from: number }[];
  };
};
const IDS = Array.from({ length: 45 }, (_, index) => (index * 7 + 3) % 40);
const V = 40;

describe("perplexity", () => {
  it("is as recorded", () => close(perplexityOf(golden.logprob_full_context), golden.ppl));

  it("by position is as recorded", () => {
    const scored = golden.logprob_full_context.map((logProbability, index) => ({ index, contextTokens: index, logProbability }));
    const edges = [...golden.ppl_by_position_buckets.map(({ from }) => from), golden.logprob_full_context.length];
    const buckets = perplexityByPosition(scored, edges);
    assert.deepEqual(
      buckets.map(({ from, to, tokens }) => [from, to, tokens]),
      golden.ppl_by_position_buckets.map(({ from, to }) => [from, to, to - from]),
    );
    buckets.forEach(({ perplexity }, index) => close(perplexity, golden.ppl_by_position_buckets[index].ppl));
  });

  it("leaves out positions without a token", () => {
    const scored = [{ index: 5, contextTokens: 5, logProbability: -1 }];
    assert.deepEqual(
      perplexityByPosition(scored, [0, 4, 8, 16]).map(({ from, to }) => [from, to]),
      [[4, 8]],
    );
  });

  it("has edges that double up to the length", () => {
    assert.deepEqual(positionEdges(2000), [0, 256, 512, 1024, 2000]);
    assert.deepEqual(positionEdges(256), [0, 256]);
    assert.deepEqual(positionEdges(10), [0, 10]);
  });
});

describe("sliding windows", () => {
  it("are as recorded", () => {
    const { N, window, stride, segments } = golden.sliding_window_ppl;
    const expected = segments.map(({ begin, end, scored_from }) => ({ begin, end, scoredFrom: scored_from }));
    assert.deepEqual(slidingSegments(N, window, stride), expected);
  });

  it("score every token but the first once, with at least window - stride tokens before it", () => {
    for (const [tokens, window, stride] of [
      [10, 6, 3],
      [11, 4, 1],
      [50, 7, 6],
      [5, 9, 2],
      [2, 2, 1],
    ]) {
      const segments = slidingSegments(tokens, window, stride);
      const scored = segments.flatMap(({ begin, end, scoredFrom }) => {
        assert.ok(end - begin <= window && scoredFrom > begin && (begin === 0 || scoredFrom - begin >= window - stride));
        return Array.from({ length: end - scoredFrom }, (_, index) => scoredFrom + index);
      });
      assert.deepEqual(
        scored,
        Array.from({ length: tokens - 1 }, (_, index) => index + 1),
      );
    }
  });

  it("that cannot score are refused", () => {
    for (const [window, stride] of [
      [1, 1],
      [4, 4],
      [4, 0],
      [4, 1.5],
      [2.5, 1],
    ]) {
      assert.throws(() => slidingSegments(10, window, stride), isBadArgument);
    }
  });
});

describe("scoring a text with a model", () => {
  it("gives the log-probability of each token after those before it", async () => {
    const runner = await open();
    const scored = await scoreTokens(runner, V, IDS);
    assert.equal(scored.length, IDS.length - 1);
    for (const { index, contextTokens, logProbability } of scored) {
      assert.equal(contextTokens, index);
      const fresh = await open();
      const logits = (await fresh.append(IDS.slice(0, index), { logits: "last" })) ?? new Float32Array();
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
      // f32 logits of the same numbers in the same order; the softmax is float64 twice.
      assert.ok(Math.abs(logProbability - Math.log(Math.exp(logits[IDS[index]]) / total)) < 1e-9);
    }
  });

  it("by windows equals scoring each window alone", async () => {
    const runner = await open();
    const scored = await scoreTokens(runner, V, IDS, { windowTokens: 16, strideTokens: 6 });
    assert.deepEqual(
      scored.map(({ index }) => index),
      IDS.slice(1).map((_, index) => index + 1),
    );
    for (const { begin, end, scoredFrom } of slidingSegments(IDS.length, 16, 6)) {
      const alone = await scoreTokens(await open(), V, IDS.slice(begin, end));
      for (const { index, contextTokens, logProbability } of scored) {
        if (index < scoredFrom || index >= end) continue;
        assert.equal(contextTokens, index - begin);
        assert.ok(Math.abs(logProbability - alone[index - begin - 1].logProbability) < 1e-6);
      }
    }
  });

  it("with half the window as stride, and whole where the window is as long as the text", async () => {
    const byDefault = await scoreTokens(await open(), V, IDS, { windowTokens: 16 });
    assert.deepEqual(byDefault, await scoreTokens(await open(), V, IDS, { windowTokens: 16, strideTokens: 8 }));
    assert.deepEqual(await scoreTokens(await open(), V, IDS, { windowTokens: 45 }), await scoreTokens(await open(), V, IDS));
  });

  it("never holds more than 32 MiB of logits, also of a large vocabulary", async () => {
    const vocabSize = 262_144;
    const asked: number[] = [];
    const runner = answering(await open(), (ids, { logits }) => {
      if (logits !== "all") return undefined;
      asked.push(ids.length);
      return new Float32Array(ids.length * vocabSize);
    });
    const scored = await scoreTokens(runner, vocabSize, new Array<number>(70).fill(5));
    assert.deepEqual(asked, [32, 32, 5]);
    scored.forEach(({ logProbability }) => assert.ok(Math.abs(logProbability + Math.log(vocabSize)) < 1e-9));
  });

  it("tells how far it is, stops when told to, and refuses what has no perplexity", async () => {
    const seen: [number, number][] = [];
    await scoreTokens(await open(), V, IDS, { onProgress: (done, total) => seen.push([done, total]) });
    assert.deepEqual(seen.at(-1), [44, 44]);
    const stopped = AbortSignal.abort();
    await assert.rejects(scoreTokens(await open(), V, IDS, { signal: stopped }), (error) => EngineError.is(error, "aborted"));
    await assert.rejects(scoreTokens(await open(), V, [3]), isBadArgument);
    await assert.rejects(scoreTokens(await open(), V, [3, V]), isBadArgument);
    const broken = answering(await open(), (ids) => new Float32Array(ids.length * V).fill(NaN));
    await assert.rejects(scoreTokens(broken, V, IDS), (error) => EngineError.is(error, "bad-weights"));
  });
});

function open(): Promise<Runner> {
  const { spec, weights } = randomModel();
  return openReferenceDecoder(spec, { spec, weights, weightFormat: "f32" });
}

/** A runner whose logits are made up. */
function answering(
  runner: Runner,
  answer: (ids: readonly number[] | Int32Array, options: AppendOptions) => Float32Array<ArrayBuffer> | undefined,
): Runner {
  return { ...runner, truncate: () => 0, append: async (ids, options = {}) => answer(ids, options) };
}

function close(found: number, expected: number): void {
  assert.ok(Math.abs(found - expected) <= 1e-12 * expected, `${found} is not ${expected}`);
}

function isBadArgument(error: unknown): boolean {
  return EngineError.is(error, "bad-argument") && error.remedy !== "";
}
