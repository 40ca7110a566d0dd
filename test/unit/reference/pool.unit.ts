import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DecoderSpec, PoolRequest, Runner } from "../../../engine/api.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { positionsFrom, rotation } from "../../../engine/position/rope.ts";
import { ropeBase, ropeTable } from "../../../engine/position/scaling.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { randomModel } from "../../support/goldenModels.ts";

const TOKENS = 37;
const IDS = Array.from({ length: TOKENS }, (_, index) => (index * 11 + 5) % 40);
const EDGES = Uint32Array.of(0, 4, 17, 30, TOKENS);

describe("pooled attention of the reference", () => {
  it("rows over all keys sum to one", async () => {
    const runner = await prefilled({});
    const map = await runner.pool({ layer: "mean", head: "mean", queryEdges: EDGES, keyEdges: EDGES });
    assert.deepEqual([map.rows, map.columns, map.cells.length], [4, 4, 16]);
    // Sums of 37 f32-rounded shares.
    for (let row = 0; row < 4; row++) near(sum(map.cells.subarray(row * 4, row * 4 + 4)), 1, 1e-6);
    assert.equal(map.cells[1], 0, "queries 0 to 3 see nothing of keys 4 to 16");
  });

  it("equals a softmax written out, for the first layer of a model of one layer", async () => {
    const { spec, weights } = randomModel({ layerCount: 1 });
    const runner = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
    await runner.append(IDS);
    const rows = await firstLayerSoftmax(spec, (name) => weights.readRows(name));
    for (const head of [0, 1, 2, 3, "mean"] as const) {
      const map = await runner.pool({ layer: 0, head, queryEdges: EDGES, keyEdges: EDGES });
      const heads = head === "mean" ? [0, 1, 2, 3] : [head];
      for (let r = 0; r < 4; r++) {
        for (let c = 0; c < 4; c++) {
          let mass = 0;
          for (const h of heads) {
            for (let q = EDGES[r]; q < EDGES[r + 1]; q++) mass += sum(rows[h][q].slice(EDGES[c], EDGES[c + 1]));
          }
          // Queries and keys are stored in f32 on one side only; shares differ by a few 1e-7.
          near(map.cells[r * 4 + c], mass / (heads.length * (EDGES[r + 1] - EDGES[r])), 1e-5);
        }
      }
    }
  });

  it("the mean over layers and heads is the mean of their maps", async () => {
    const runner = await prefilled({});
    const mean = await runner.pool({ layer: "mean", head: "mean", queryEdges: EDGES, keyEdges: EDGES });
    const total = new Float64Array(16);
    for (const layer of [0, 1]) {
      for (const head of [0, 1, 2, 3]) {
        (await runner.pool({ layer, head, queryEdges: EDGES, keyEdges: EDGES })).cells.forEach(
          (cell, i) => (total[i] += cell / 8),
        );
      }
    }
    mean.cells.forEach((cell, i) => near(cell, total[i], 1e-6));
  });

  it("bins may leave tokens out: those count in the softmax and in no cell", async () => {
    const runner = await prefilled({});
    const whole = await runner.pool({
      layer: 0,
      head: 0,
      queryEdges: Uint32Array.of(36, 37),
      keyEdges: Uint32Array.of(0, 10, 20, 37),
    });
    const part = await runner.pool({ layer: 0, head: 0, queryEdges: Uint32Array.of(36, 37), keyEdges: Uint32Array.of(10, 20) });
    assert.equal(part.cells[0], whole.cells[1]);
  });

  it("is the same after a cut and another append of the same tokens", async () => {
    const request: PoolRequest = { layer: "mean", head: "mean", queryEdges: EDGES, keyEdges: EDGES };
    const runner = await prefilled({ keyShift: true });
    const before = await runner.pool(request);
    runner.truncate(20);
    await rejects(runner.pool(request), "bad-argument");
    await runner.append(IDS.slice(16, 21));
    await runner.append(IDS.slice(21));
    assert.deepEqual(await runner.pool(request), before);
  });

  it("keeps the last layers that fit the tap's memory, and says why not all", async () => {
    const { spec, weights } = randomModel({ layerCount: 3 });
    const layerBytes = 64 * spec.headCount * spec.headDim * 4;
    const runner = await openReferenceRunner({
      spec,
      weights,
      weightFormat: "f32",
      capacityTokens: 64,
      tapBytes: 2 * layerBytes,
    });
    assert.deepEqual(runner.tap.layers, [1, 2]);
    assert.match(runner.tap.because, /MiB/);
    await runner.append(IDS);
    await rejects(runner.pool({ layer: 0, head: 0, queryEdges: EDGES, keyEdges: EDGES }), "bad-argument");
    const none = await openReferenceRunner({ spec, weights, weightFormat: "f32", capacityTokens: 64, tapBytes: 1 });
    await none.append(IDS);
    await rejects(none.pool({ layer: "mean", head: 0, queryEdges: EDGES, keyEdges: EDGES }), "bad-argument");
  });

  it("refuses requests without an answer", async () => {
    const runner = await prefilled({});
    const ask = (change: Partial<PoolRequest>) =>
      runner.pool({ layer: 0, head: 0, queryEdges: EDGES, keyEdges: EDGES, ...change });
    await rejects(ask({ layer: 2 }), "bad-argument");
    await rejects(ask({ head: 4 }), "bad-argument");
    await rejects(ask({ head: 0.5 }), "bad-argument");
    await rejects(ask({ queryEdges: Uint32Array.of(0) }), "bad-argument");
    await rejects(ask({ keyEdges: Uint32Array.of(0, 5, 5) }), "bad-argument");
    await rejects(ask({ queryEdges: Uint32Array.of(0, TOKENS + 1) }), "bad-argument");
    await rejects(ask({ keyEdges: Uint32Array.from({ length: 514 }, (_, i) => i) }), "limit-exceeded");
    const stop = new AbortController();
    stop.abort();
    await rejects(runner.pool({ layer: 0, head: 0, queryEdges: EDGES, keyEdges: EDGES }, stop.signal), "aborted");
  });
});

async function prefilled(features: Partial<DecoderSpec>): Promise<Runner> {
  const runner = await openReferenceRunner({ ...randomModel(features), weightFormat: "f32" });
  await runner.append(IDS);
  return runner;
}

/** rows[head][query][key], from the weights in separate loops: norm, projections, rotation, softmax; no op of the reference. */
async function firstLayerSoftmax(spec: DecoderSpec, read: (name: string) => Promise<Float32Array>): Promise<number[][][]> {
  const layer = "model.layers.0.";
  const table = await read("model.embed_tokens.weight");
  const norm = await read(`${layer}input_layernorm.weight`);
  const queryWeight = await read(`${layer}self_attn.q_proj.weight`);
  const keyWeight = await read(`${layer}self_attn.k_proj.weight`);
  const { cos, sin, pairs } = rotation(ropeTable({ kind: "none" }, ropeBase(spec), TOKENS), positionsFrom(0, TOKENS));
  const { hiddenSize: E, headDim: D } = spec;
  const head = (weight: Float32Array, index: number, token: number): number[] => {
    const x = [...table.subarray(IDS[token] * E, (IDS[token] + 1) * E)];
    const scale = 1 / Math.sqrt(sum(x.map((value) => value * value)) / E + spec.normEps);
    const y = x.map((value, i) => value * scale * norm[i]);
    const raw = Array.from({ length: D }, (_, d) => sum(y.map((value, i) => value * weight[(index * D + d) * E + i])));
    return raw.map((value, d) => {
      const pair = d % pairs;
      const c = cos[token * pairs + pair];
      const s = sin[token * pairs + pair];
      return d < pairs ? value * c - raw[d + pairs] * s : value * c + raw[d - pairs] * s;
    });
  };
  return Array.from({ length: spec.headCount }, (_, h) => {
    const keys = IDS.map((_id, token) => head(keyWeight, Math.floor((h * spec.kvHeadCount) / spec.headCount), token));
    return IDS.map((_id, token) => {
      const q = head(queryWeight, h, token);
      const exps = keys.slice(0, token + 1).map((key) => Math.exp(sum(key.map((value, i) => value * q[i])) / Math.sqrt(D)));
      return exps.map((value) => value / sum(exps));
    });
  });
}

function sum(values: ArrayLike<number>): number {
  return Array.from(values).reduce((total, value) => total + value, 0);
}

function near(found: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(found - expected) <= tolerance, `${found} is not ${expected}`);
}

async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => EngineError.is(error, code) && error.remedy !== "");
}
