import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import {
  bestOf,
  countOf,
  divisorsOf,
  isFinished,
  parseSearchState,
  releasedSearch,
  runSearch,
  startSearch,
  type SearchOptions,
  type SearchProgress,
} from "../../../engine/position/search.ts";

const small: SearchOptions = { ...releasedSearch, population: 12, parents: 6, mutations: 4, crossovers: 4, iterations: 8 };
const initial = [1, 1, 1.2, 1.9, 2.7, 3.4, 4, 4];
/** Best is a list that no parent of the start is near: squares of the distances to it. */
const wanted = [1, 1.3, 1.8, 2, 2.2, 2.5, 4.4, 5];
const distance = async (divisors: readonly number[]): Promise<number> =>
  1 + divisors.reduce((sum, divisor, pair) => sum + (divisor - wanted[pair]) ** 2, 0);

describe("the search for LongRoPE's divisors", () => {
  it("has the numbers of the released one by default", async () => {
    let judged = 0;
    const end = await runSearch(startSearch(initial, 4, releasedSearch), async (divisors) => {
      judged++;
      return distance(divisors);
    });
    assert.equal(judged, 64 + 40 * 32);
    assert.deepEqual(countOf(end), { judged, planned: 1344 });
    assert.ok(isFinished(end) && end.iteration === 40);
  });

  it("begins with the list it was given, on its grid", async () => {
    const first: number[][] = [];
    await runSearch(startSearch([1, 1.004, 1.237, 9], 4, { ...small, iterations: 0 }), async (divisors) => {
      first.push([...divisors]);
      return 1;
    });
    assert.deepEqual(first[0], [1, 1, 1.24, 5]);
    assert.equal(first.length, small.population);
  });

  it("judges only lists on the grid that never fall and stay within 1 and 1 + stretch, and none twice", async () => {
    const seen = new Set<string>();
    await runSearch(startSearch(initial, 4, releasedSearch), async (divisors) => {
      assert.ok(!seen.has(divisors.join()));
      seen.add(divisors.join());
      divisors.forEach((divisor, pair) => {
        assert.ok(divisor >= (divisors[pair - 1] ?? 1) && divisor <= 5);
        assert.equal(divisor, Number(divisor.toFixed(2)));
      });
      return distance(divisors);
    });
  });

  it("never gets worse, and finds better than it began with", async () => {
    const steps: number[] = [];
    const end = await runSearch(startSearch(initial, 4, small), distance, {
      onProgress: ({ best }) => steps.push(best.perplexity),
    });
    steps.forEach((perplexity, index) => assert.ok(index === 0 || perplexity <= steps[index - 1]));
    const best = bestOf(end);
    assert.ok(best);
    assert.ok(best.perplexity < (await distance(initial)) * 0.7, `${best.perplexity}`);
    assert.equal(best.perplexity, await distance(divisorsOf(best.steps, small.step)));
  });

  it("repeats under one seed and differs under another", async () => {
    const run = async (seed: number) => bestOf(await runSearch(startSearch(initial, 4, { ...small, seed }), distance))?.steps;
    assert.deepEqual(await run(1), await run(1));
    assert.notDeepEqual(await run(1), await run(2));
  });

  it("resumed from JSON after any number of judgements goes on as if it had never stopped", async () => {
    const whole = await runSearch(startSearch(initial, 4, small), distance);
    for (const stopAfter of [1, 5, 12, 13, 30, 75]) {
      const stop = new AbortController();
      let judged = 0;
      const half = await runSearch(startSearch(initial, 4, small), distance, {
        signal: stop.signal,
        onProgress: () => {
          if (++judged === stopAfter) stop.abort();
        },
      });
      assert.equal(countOf(half).judged, stopAfter);
      const resumed = parseSearchState(JSON.parse(JSON.stringify(half)));
      assert.deepEqual(await runSearch(resumed, distance), whole);
    }
  });

  it("keeps a whole state when a judgement fails", async () => {
    let last: SearchProgress | undefined;
    let judged = 0;
    const failing = async (divisors: readonly number[]): Promise<number> => {
      if (++judged === 20) throw new EngineError("device-lost", "gone", "ask again");
      return distance(divisors);
    };
    const start = startSearch(initial, 4, small);
    await assert.rejects(runSearch(start, failing, { onProgress: (progress) => (last = progress) }), (error) =>
      EngineError.is(error, "device-lost"),
    );
    assert.ok(last);
    assert.deepEqual(await runSearch(last.state, distance), await runSearch(start, distance));
  });

  it("ends where every list of a small grid has been judged", async () => {
    const options = { ...small, step: 1, population: 40 };
    let judged = 0;
    const end = await runSearch(startSearch([1, 1], 2, options), async () => ++judged);
    // Two divisors of 1, 2, 3 that do not fall: six lists.
    assert.equal(judged, 6);
    assert.ok(isFinished(end));
  });

  it("goes on from a finished search with more iterations", async () => {
    const end = await runSearch(startSearch(initial, 4, { ...small, iterations: 4 }), distance);
    const more = await runSearch({ ...end, options: small }, distance);
    assert.deepEqual(bestOf(more), bestOf(await runSearch(startSearch(initial, 4, small), distance)));
  });

  const options: [keyof SearchOptions, number[]][] = [
    ["population", [20]],
    ["parents", [3]],
    ["mutations", [8]],
    ["crossovers", [8]],
    ["iterations", [3]],
    ["mutationRate", [0.9]],
    ["crossoverTries", [1]],
    ["step", [0.05]],
    ["seed", [7]],
  ];
  for (const [name, [value]] of options) {
    it(`${name} changes what is judged`, async () => {
      const lists = async (changed: SearchOptions): Promise<string[]> => {
        const judged: string[] = [];
        // Crossovers of alike parents need more than one pass.
        await runSearch(startSearch(initial.slice(0, 4), 4, changed), async (divisors) => {
          judged.push(divisors.join());
          return distance(divisors);
        });
        return judged;
      };
      assert.notDeepEqual(await lists({ ...small, [name]: value }), await lists(small));
    });
  }

  it("refuses options and states without sense, with a remedy", async () => {
    const refused = (error: unknown): boolean => EngineError.is(error, "bad-argument") && error.remedy !== "";
    for (const change of [
      { population: 0 },
      { parents: 1.5 },
      { mutationRate: 0 },
      { step: 0 },
      { iterations: -1 },
      { seed: -1 },
    ]) {
      assert.throws(() => startSearch(initial, 4, { ...small, ...change }), refused, JSON.stringify(change));
    }
    assert.throws(() => startSearch([], 4, small), refused);
    assert.throws(() => startSearch(initial, 1, small), refused);
    await assert.rejects(
      runSearch(startSearch(initial, 4, small), async () => NaN),
      refused,
    );
    const state = startSearch(initial, 4, small);
    const broken: unknown[] = [
      [],
      {},
      { ...state, options: {} },
      { ...state, known: [1] },
      { ...state, pending: [[3, 2, 1]] },
      { ...state, pending: [[0, 0.5]] },
      { ...state, pending: [[0, 1], [0]] },
      { ...state, population: [{ steps: [0, 1] }] },
      { ...state, stretch: "4" },
    ];
    for (const json of broken) assert.throws(() => parseSearchState(json), refused, JSON.stringify(json));
  });
});
