import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Band } from "../../../engine/api.ts";
import { layerBands, positionPlan } from "../../../engine/position/bands.ts";
import { positionsFrom, rotateHeads, rotation64 } from "../../../engine/position/rope.ts";
import { attention, attentionRow, type AttentionSpec } from "../../../engine/reference/attend.ts";
import { alloc64 } from "../../../engine/reference/ops.ts";
import { fill, goldenFile, randomModel } from "../../support/goldenModels.ts";

type Recorded = number[][][];
const golden = goldenFile("gqa_attention.json") as {
  q: Recorded;
  k: Recorded;
  v: Recorded;
  causal: Recorded;
  sliding_window_3: Recorded;
  softcap_2: Recorded;
  alibi_slopes: number[];
  alibi: Recorded;
};
const TOKENS = 5;
const [q, k, v] = [golden.q, golden.k, golden.v].map(tokenMajor);
const plain: AttentionSpec = {
  headCount: 4,
  kvHeadCount: 2,
  headDim: 4,
  attentionScale: 1 / 2,
  attentionSoftcap: undefined,
  alibi: undefined,
};
/** Slopes 2^(-4 (h + 1) / 4), which the recorded ones are. */
const biased: AttentionSpec = { ...plain, alibi: { maxBias: 4 } };

const features: [what: string, spec: AttentionSpec, window: number | undefined, expected: Recorded][] = [
  ["grouped heads", plain, undefined, golden.causal],
  ["a window of 3, the query's own key included", plain, 3, golden.sliding_window_3],
  ["a softcap of 2, before the mask", { ...plain, attentionSoftcap: 2 }, undefined, golden.softcap_2],
  ["ALiBi", biased, undefined, golden.alibi],
];

describe("attention", () => {
  for (const [what, spec, window, expected] of features) {
    it(`${what}: as recorded`, () => close(attend(spec, bandsOf(window), { q, k, v }), tokenMajor(expected)));

    it(`${what}: in chunks of queries behind cached keys`, () => {
      const width = spec.headCount * spec.headDim;
      for (const size of [1, 2, 3]) {
        for (let start = 0; start < TOKENS; start += size) {
          const [from, to] = [start * width, Math.min(start + size, TOKENS) * width];
          close(attend(spec, bandsOf(window), { q: q.subarray(from, to), k, v }, start), tokenMajor(expected).subarray(from, to));
        }
      }
    });

    it(`${what}: keys behind the mask have no influence`, () => {
      const expectedRow = attend(spec, bandsOf(window), { q, k, v });
      const width = spec.headCount * spec.headDim;
      for (let query = 0; query < TOKENS; query++) {
        const [spoiltKeys, spoiltValues] = [k, v].map((rows) => spoil(rows, 8, (key) => !isVisible(query, key, window)));
        const row = attend(
          spec,
          bandsOf(window),
          { q: q.subarray(query * width, (query + 1) * width), k: spoiltKeys, v: spoiltValues },
          query,
        );
        assert.deepEqual([...row], [...expectedRow.subarray(query * width, (query + 1) * width)]);
      }
    });

    it(`${what}: weights of a row sum to one and are nought where nothing is seen`, () => {
      for (let query = 0; query < TOKENS; query++) {
        for (let head = 0; head < spec.headCount; head++) {
          const row = attentionRow({ queries: [q], keys: [k], bands: bandsOf(window) }, spec, query, head, query);
          assert.ok(Math.abs(row.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-12);
          row.forEach((weight, key) => assert.equal(weight > 0, isVisible(query, key, window)));
        }
      }
    });
  }

  it("a window of all tokens or more is none", () => {
    for (const window of [TOKENS, TOKENS + 1, 1000]) {
      const windowed = attend(plain, bandsOf(window), { q, k, v });
      assert.deepEqual([...windowed], [...attend(plain, bandsOf(undefined), { q, k, v })]);
    }
  });

  it("a window of one copies the values", () => {
    const out = attend(plain, bandsOf(1), { q, k, v });
    for (let token = 0; token < TOKENS; token++) {
      for (let head = 0; head < 4; head++) {
        const at = (token * 4 + head) * 4;
        const from = (token * 2 + Math.floor(head / 2)) * 4;
        close(out.subarray(at, at + 4), v.subarray(from, from + 4));
      }
    }
  });

  it("a softcap far above every score changes next to nothing", () => {
    // tanh(x) = x - x³ / 3 …: below 1e-10 for scores of a few units under a cap of 1e6.
    const capped = attend({ ...plain, attentionSoftcap: 1e6 }, bandsOf(undefined), { q, k, v });
    capped.forEach((value, i) => assert.ok(Math.abs(value - tokenMajor(golden.causal)[i]) < 1e-9));
  });
});

describe("attention over bands", () => {
  const heads = { ...plain, headDim: 8, attentionScale: 1 / Math.sqrt(8) };
  const [rows, keys, values] = [heads.headCount, 2, 2].map((count, index) => fill(`bands${index}`, [20, count, 8], 1));
  const { spec } = randomModel({ headDim: 8 });

  it("equals scores made pair by pair from relative distances", () => {
    for (const scaling of [
      { kind: "self_extend", group: 3, window: 4 },
      { kind: "rerope", window: 5, leak: 2 },
      { kind: "dual_chunk", chunkSize: 8, localSize: 3 },
    ] as const) {
      const plan = positionPlan(scaling, spec, 20);
      const turned = (x: Float64Array, count: number, at: (position: number) => number): Float64Array => {
        const copy = x.slice();
        rotateHeads(copy, count, 8, rotation64(plan.table, positionsFrom(0, 20, at)));
        return copy;
      };
      const layer = {
        queries: plan.bands.map((band) => turned(rows, 4, (position) => band.queryPosition(position))),
        keys: plan.copies.map((at) => turned(keys, 2, at)),
        bands: plan.bands,
      };
      for (const query of [0, 7, 19]) {
        for (let head = 0; head < 4; head++) {
          const row = attentionRow(layer, heads, query, head, query);
          // The query turned by the distance alone, against keys that are not turned at all.
          const scores = Array.from(row, (_, key) => {
            const band = plan.bands.find((candidate) => candidate.keys(query)[0] <= key && key < candidate.keys(query)[1]);
            assert.ok(band);
            const at = (query * 4 + head) * 8;
            const relative = rows.slice(at, at + 8);
            rotateHeads(relative, 1, 8, rotation64(plan.table, [band.queryPosition(query) - plan.copies[band.copy](key)]));
            const from = (key * 2 + Math.floor(head / 2)) * 8;
            return relative.reduce((sum, value, i) => sum + value * keys[from + i], 0) / Math.sqrt(8);
          });
          const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
          close(
            row,
            scores.map((score) => Math.exp(score) / total),
          );
        }
      }
      assert.ok(attention(alloc64, layer, values, heads, 0).every(Number.isFinite));
    }
  });
});

function bandsOf(window: number | undefined): readonly Band[] {
  const { spec } = randomModel({ rotaryDim: 0, alibi: { maxBias: 8 } });
  return layerBands(positionPlan({ kind: "none" }, spec, TOKENS), { window, rotation: "none" });
}

function isVisible(query: number, key: number, window: number | undefined): boolean {
  return key <= query && (window === undefined || query - key < window);
}

function attend(
  spec: AttentionSpec,
  bands: readonly Band[],
  rows: { q: Float64Array; k: Float64Array; v: Float64Array },
  start = 0,
): Float64Array {
  return Float64Array.from(attention(alloc64, { queries: [rows.q], keys: [rows.k], bands }, rows.v, spec, start));
}

/** Rows [width] of the chosen keys overwritten. */
function spoil(rows: Float64Array, width: number, isSpoilt: (key: number) => boolean): Float64Array {
  return rows.map((value, index) => (isSpoilt(Math.floor(index / width)) ? 1e6 : value));
}

/** [heads, tokens, D] as recorded -> [tokens, heads, D]. */
function tokenMajor(recorded: Recorded): Float64Array {
  return Float64Array.from((recorded[0] ?? []).flatMap((_, token) => recorded.flatMap((head) => head[token])));
}

/** Five to twenty keys in float64: only the order of the sums differs. */
function close(found: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < found.length; i++) {
    assert.ok(Math.abs(found[i] - expected[i]) <= 1e-12, `${found[i]} is not ${expected[i]}`);
  }
}
