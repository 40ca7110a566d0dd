import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PositionPlan, Reindexing, RopeScaling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { layerBands, positionPlan } from "../../../engine/position/bands.ts";
import { goldenFile, randomModel } from "../../support/goldenModels.ts";

interface Recorded {
  N: number;
  /** [query][key], null where the key comes later. */
  matrix: (number | null)[][];
}
const golden = goldenFile("relative_positions.json") as {
  self_extend: Recorded & { group_size: number; neighbor_window: number };
  dual_chunk_attention: Recorded & { chunk_s: number; pretrain_c: number };
  rerope: Recorded & { window: number };
  leaky_rerope: Recorded & { window: number; k: number };
};
const { spec } = randomModel();

const schemes: [what: string, scheme: Reindexing, recorded: Recorded][] = [
  [
    "Self-Extend",
    { kind: "self_extend", group: golden.self_extend.group_size, window: golden.self_extend.neighbor_window },
    golden.self_extend,
  ],
  [
    "dual chunk attention",
    {
      kind: "dual_chunk",
      chunkSize: golden.dual_chunk_attention.pretrain_c,
      localSize: golden.dual_chunk_attention.pretrain_c - golden.dual_chunk_attention.chunk_s,
    },
    golden.dual_chunk_attention,
  ],
  ["ReRoPE", { kind: "rerope", window: golden.rerope.window }, golden.rerope],
  ["leaky ReRoPE", { kind: "rerope", window: golden.leaky_rerope.window, leak: golden.leaky_rerope.k }, golden.leaky_rerope],
];

describe("distances that re-indexing shows the model", () => {
  for (const [what, scheme, { N, matrix }] of schemes) {
    it(`${what}: as recorded, for every pair of tokens`, () => {
      const plan = positionPlan(scheme, spec, N);
      // Divisions by the leak are exact in binary here, so equality is too.
      for (let query = 0; query < N; query++) assert.deepEqual(distances(plan, query), matrix[query].slice(0, query + 1));
    });
  }

  it("a Self-Extend window that its group does not divide floors the shift, as decoding in the authors' code does", () => {
    const plan = positionPlan({ kind: "self_extend", group: 4, window: 6 }, spec, 40);
    assert.equal(distances(plan, 20)[0], Math.floor(20 / 4) + 6 - Math.floor(6 / 4));
  });

  it("no scheme shows a distance that the model has not seen, up to the length it is said to reach", () => {
    const trained = 64;
    const reaches: [Reindexing, lengthTokens: number][] = [
      [{ kind: "self_extend", group: 4, window: 16 }, (trained - 16) * 4 + 16],
      [{ kind: "rerope", window: 32 }, 400],
      [{ kind: "rerope", window: 32, leak: 4 }, 32 + (trained - 32) * 4],
      [{ kind: "dual_chunk", chunkSize: trained, localSize: 8 }, 400],
    ];
    for (const [scheme, length] of reaches) {
      const plan = positionPlan(scheme, spec, length);
      assert.ok(Math.max(...distances(plan, length - 1)) < trained, scheme.kind);
    }
  });
});

const plans: [what: string, scaling: RopeScaling][] = [
  ["plain", { kind: "none" }],
  ["YaRN", { kind: "yarn", factor: 4, originalContext: 16, betaFast: 32, betaSlow: 1, truncate: true }],
  ...schemes.map(([what, scheme]): [string, RopeScaling] => [what, scheme]),
];

describe("bands", () => {
  for (const [what, scaling] of plans) {
    it(`${what}: every visible key is in exactly one band, with and without a window`, () => {
      const plan = positionPlan(scaling, spec, 50);
      for (const window of [undefined, 1, 3, 7, 64]) {
        const bands = layerBands(plan, { window, rotation: "main" });
        for (let query = 0; query < 50; query++) {
          const seen = new Array<number>(query + 1).fill(0);
          for (const band of bands) {
            const [from, to] = band.keys(query);
            assert.ok(from >= 0 && from <= to && to <= query + 1, `${from}..${to} of ${query}`);
            for (let key = from; key < to; key++) seen[key]++;
          }
          const expected = seen.map((_, key) => (window === undefined || query - key < window ? 1 : 0));
          assert.deepEqual(seen, expected, `query ${query}, window ${window}`);
        }
      }
    });
  }

  it("layers of another rotation or none have one band whatever the plan says", () => {
    const plan = positionPlan({ kind: "rerope", window: 3 }, spec, 50);
    for (const rotation of ["local", "none"] as const) {
      const bands = layerBands(plan, { window: 4, rotation });
      assert.equal(bands.length, 1);
      assert.deepEqual(bands[0].keys(10), [7, 11]);
      assert.equal(bands[0].queryPosition(10), 10);
      assert.equal(bands[0].copy, 0);
    }
  });
});

describe("plans", () => {
  it("scale queries by the logarithm of their position where Self-Extend is told to", () => {
    const plan = positionPlan({ kind: "self_extend", group: 2, window: 4, logBase: 10 }, spec, 200);
    assert.equal(plan.queryScale(3), 1);
    assert.ok(Math.abs(plan.queryScale(99) - 2) < 1e-12);
  });

  it("scale queries by the length of the request where dual chunk attention is told to, so that the key changes with it", () => {
    const scheme: Reindexing = { kind: "dual_chunk", chunkSize: 8, localSize: 2, originalContext: 100 };
    const [short, long] = [50, 1000].map((length) => positionPlan(scheme, spec, length));
    assert.equal(short.queryScale(49), 1);
    assert.ok(Math.abs(long.queryScale(0) - (0.1 * Math.log(10) + 1)) < 1e-12);
    assert.notEqual(short.key, long.key);
  });

  it("heat queries by the model's own temperature, under every scaling", () => {
    const warm = { ...spec, queryTemperature: { beta: 0.1, length: 8 } };
    for (const [, scaling] of plans) {
      const plan = positionPlan(scaling, warm, 50);
      assert.equal(plan.queryScale(7), 1);
      assert.ok(Math.abs(plan.queryScale(17) - (1 + 0.1 * Math.log(3))) < 1e-12);
    }
  });

  it("lay a re-indexing over the model's own frequencies", () => {
    const llama3: RopeScaling = { kind: "llama3", factor: 8, originalContext: 32, lowFreqFactor: 1, highFreqFactor: 4 };
    const own = positionPlan(llama3, { ...spec, rope: llama3 }, 50);
    const reindexed = positionPlan({ kind: "rerope", window: 4 }, { ...spec, rope: llama3 }, 50);
    assert.equal(reindexed.table.key, own.table.key);
    assert.notEqual(reindexed.key, own.key);
  });

  it("of a model without rotation are all alike, and nothing can be scaled", () => {
    const bloom = { ...spec, rotaryDim: 0, alibi: { maxBias: 8 } };
    const plan = positionPlan({ kind: "none" }, bloom, 50);
    assert.equal(plan.table.invFreq.length, 0);
    assert.deepEqual(distances(plan, 3), [3, 2, 1, 0]);
    for (const [what, scaling] of plans.slice(1)) {
      assert.throws(() => positionPlan(scaling, bloom, 50), refused, what);
    }
  });
});

/** Query position less key position in the band that holds the key, for every key of a query. */
function distances(plan: PositionPlan, query: number): number[] {
  const found = new Array<number>(query + 1).fill(NaN);
  for (const band of plan.bands) {
    const [from, to] = band.keys(query);
    const copy = plan.copies[band.copy];
    for (let key = from; key < to; key++) found[key] = band.queryPosition(query) - copy(key);
  }
  return found;
}

function refused(error: unknown): boolean {
  return EngineError.is(error, "rope-invalid") && /no rotation/.test(error.message) && error.remedy !== "";
}
