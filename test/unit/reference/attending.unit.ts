import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DecoderSpec, Runner, WeightStore } from "../../../engine/api.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { EngineError } from "../../../engine/errors.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { bruteLogits, type BruteLayer, type BruteOptions } from "../../support/bruteDecoder.ts";
import { goldenDecoder, randomModel } from "../../support/goldenModels.ts";

const model = goldenDecoder("llama_llama3rope");
/** f32 storage against float64, two layers: what the recorded logits are compared with. */
const { float32: TOLERANCE } = model.tolerance;

/** Every policy as a rule for a query and a key, written from its definition. */
const rules: [attention: string, tokens: number, rule: BruteOptions][] = [
  ["flash", 40, { sees: () => true }],
  ["dense", 40, { sees: () => true }],
  ["flash3", 40, { sees: () => true }],
  ["ring:4", 40, { sees: () => true }],
  ["stream", 40, { sees: () => true }],
  ["window:5", 40, { sees: (_, __, query, key) => query - key < 5 }],
  ["window:1", 20, { sees: (_, __, query, key) => query === key }],
  ["longformer:4,2", 40, { sees: (_, __, query, key) => query - key < 4 || key < 2 }],
  ["strided:6", 40, { sees: (_, __, query, key) => query - key < 6 || (query - key) % 6 === 0 }],
  ["fixed:6,2", 40, { sees: (_, __, query, key) => Math.floor(query / 6) === Math.floor(key / 6) || key % 6 >= 4 }],
  ["a-shape:3,4", 40, { sees: (_, __, query, key) => query - key < 4 || key < 3 }],
  // Without random blocks: which those are is a matter of its hash.
  ["bigbird:1,0,1", 150, { sees: (_, __, query, key) => Math.floor(query / 64) === Math.floor(key / 64) || key < 64 }],
  ["sinks:3,5", 40, evicting(3, 5)],
  ["sinks:0,4", 30, evicting(0, 4)],
  ["vertical-slash:33,104", 150, { sees: verticalSlash(33, 104, 150) }],
  ["vertical-slash:2,3", 40, { sees: verticalSlash(2, 3, 40) }],
  ["blocks:2", 250, { sees: bestBlocks(2, 250) }],
];

describe("the reference under each attention policy", () => {
  for (const [attention, tokens, rule] of rules) {
    it(`${attention}: the logits of a masked softmax`, async () => {
      const ids = idsOf(tokens);
      const runner = await open(attention);
      near(await runner.append(ids, { logits: "all" }), bruteLogits(model.spec, model.tensors, ids, rule).logits);
    });
  }

  it("no policy is mistaken for another: each gives logits of its own", async () => {
    const ids = idsOf(300);
    const last = new Map<string, string>();
    const texts = [
      "flash",
      "window:5",
      "longformer:5,1",
      "longformer:5,2",
      "strided:5",
      "fixed:5,1",
      "fixed:5,2",
      "sinks:1,5",
      "sinks:2,5",
    ];
    for (const text of [
      ...texts,
      "a-shape:3,5",
      "bigbird:1,0,0",
      "bigbird:1,0,1",
      "bigbird:1,1,1",
      "blocks:2",
      "vertical-slash:2,3",
    ]) {
      const row = [...((await (await open(text)).append(ids, { logits: "last" })) ?? [])].join();
      assert.ok(!last.has(row), `${text} gives what ${last.get(row)} gives`);
      last.set(row, text);
    }
  });

  it("as wide as the prompt, each is flash", async () => {
    const whole = await (await open("flash")).append(idsOf(70), { logits: "all" });
    for (const text of [
      "window:70",
      "longformer:70,1",
      "strided:70",
      "fixed:70,0",
      "a-shape:0,70",
      "sinks:1,69",
      "bigbird:2,0,0",
    ]) {
      near(await (await open(text)).append(idsOf(70), { logits: "all" }), whole ?? []);
    }
    for (const text of ["vertical-slash:0,70", "vertical-slash:70,1", "blocks:2", "minference:1", "top-pages:5"]) {
      near(await (await open(text)).append(idsOf(70), { logits: "all" }), whole ?? []);
    }
  });

  it("fixed patterns do not depend on how a prompt is divided", async () => {
    for (const text of ["window:5", "strided:6", "bigbird:1,1,1", "sinks:3,5", "longformer:4,2"]) {
      const whole = await (await open(text)).append(idsOf(90), { logits: "last" });
      const runner = await open(text);
      for (const id of idsOf(89)) await runner.append([id]);
      assert.deepEqual(await runner.append(idsOf(90).slice(89), { logits: "last" }), whole, text);
    }
  });

  for (const attention of ["a-shape:3,4", "vertical-slash:2,3", "blocks:1", "minference:0.2"]) {
    it(`${attention} is for prompts: a token that is appended alone sees every key`, async () => {
      const ids = idsOf(130);
      const asked = await open(attention);
      await asked.append(ids);
      const decoded = await asked.append([7], { logits: "last" });
      const runner = await open(attention);
      await runner.append(ids);
      runner.setAttention(parseAttention(`${attention}+top-pages:99`));
      assert.equal(runner.length, ids.length);
      near(await runner.append([7], { logits: "last" }), decoded ?? []);
    });
  }
});

describe("decoding by top pages", () => {
  it("reads the pages whose bounds are largest in a group of heads, and the own one", async () => {
    const ids = idsOf(100);
    const prompt = 90;
    for (const count of [1, 2, 4]) {
      const runner = await open(`top-pages:${count}`);
      await runner.append(ids.slice(0, prompt));
      const rows: number[] = [];
      for (const id of ids.slice(prompt)) rows.push(...((await runner.append([id], { logits: "last" })) ?? []));
      const { logits } = bruteLogits(model.spec, model.tensors, ids, { sees: topPages(count, prompt) });
      near(rows, logits.subarray(prompt * model.spec.vocabSize));
    }
  });

  it("stands beside what the prompt is read with", async () => {
    const ids = idsOf(100);
    const pages = topPages(2, 90);
    const runner = await open("window:6+top-pages:2");
    await runner.append(ids.slice(0, 90));
    const rows: number[] = [];
    for (const id of ids.slice(90)) rows.push(...((await runner.append([id], { logits: "last" })) ?? []));
    const sees: BruteOptions["sees"] = (layer, head, query, key) =>
      query < 90 ? query - key < 6 : pages(layer, head, query, key);
    near(rows, bruteLogits(model.spec, model.tensors, ids, { sees }).logits.subarray(90 * model.spec.vocabSize));
  });

  it("tells what the pages of decoded tokens keep", async () => {
    const ids = idsOf(94);
    const runner = await open("top-pages:2");
    const measured = (): Runner["keptMass"] => runner.keptMass;
    await runner.append(ids.slice(0, 90));
    assert.equal(measured(), undefined);
    for (const id of ids.slice(90)) await runner.append([id]);
    const pages = topPages(2, 90);
    const shares: number[] = [];
    bruteLogits(model.spec, model.tensors, ids, {
      sees(layer, head, query, key) {
        const sees = pages(layer, head, query, key);
        if (sees && query >= 90) shares.push(layer.weights(head, query)[key]);
        return sees;
      },
    });
    // The first layer reads every key, and is not counted.
    const rows = 4 * model.spec.headCount;
    const kept = measured();
    assert.ok(kept !== undefined && kept.least < kept.mean && kept.mean < 1);
    near([kept.mean], [shares.reduce((sum, share) => sum + share, 0) / rows - 1]);
    assert.deepEqual([kept.queries, kept.heads], [4, model.spec.headCount]);
  });

  it("is refused where every layer sees a window of its own", async () => {
    await assert.rejects(open("top-pages:2", goldenDecoder("mistral_swa")), (error) => EngineError.is(error, "bad-argument"));
  });
});

describe("eviction", () => {
  it("counts ALiBi's distances inside the cache", async () => {
    const alibi = alibiModel();
    const ids = idsOf(40);
    const runner = await open("sinks:3,5", alibi);
    const rule = evicting(3, 5);
    const tensors = await tensors64(alibi);
    near(await runner.append(ids, { logits: "all" }), bruteLogits(alibi.spec, tensors, ids, rule).logits);
    const uncounted = bruteLogits(alibi.spec, tensors, ids, { sees: rule.sees }).logits;
    assert.ok(far(await (await open("sinks:3,5", alibi)).append(ids, { logits: "all" }), uncounted));
  });

  it("holds in layers that the RoPE setting does not touch", async () => {
    const layers: DecoderSpec["layers"] = [
      { window: undefined, rotation: "none" },
      { window: undefined, rotation: "main" },
    ];
    const mixed = randomModel({ layers });
    const runner = await open("sinks:2,3", mixed);
    await runner.append(idsOf(40));
    for (const layer of [0, 1]) {
      const edges = Uint32Array.from({ length: 41 }, (_, edge) => edge);
      const { cells } = await runner.pool({ layer, head: "mean", queryEdges: Uint32Array.of(39, 40), keyEdges: edges });
      cells.forEach((cell, key) => assert.equal(cell > 0, key < 2 || key > 36, `layer ${layer}, key ${key}`));
    }
  });

  it("is refused with a RoPE setting that moves far keys, when something is appended", async () => {
    const runner = await open("sinks:4,16");
    runner.setPositions(positionPlan({ kind: "self_extend", group: 2, window: 4 }, model.spec, 100));
    await assert.rejects(runner.append([1, 2, 3]), (error) => EngineError.is(error, "bad-argument"));
    assert.equal(runner.length, 0);
    runner.setAttention(parseAttention("flash"));
    await runner.append([1, 2, 3]);
    assert.equal(runner.length, 3);
  });
});

describe("the attention of a reference runner", () => {
  it("can be set anew: the cache is emptied where it holds other numbers, and kept where not", async () => {
    const ids = idsOf(48);
    const runner = await open("flash");
    await runner.append(ids);
    for (const text of ["dense", "stream", "ring:2", "top-pages:2"]) {
      runner.setAttention(parseAttention(text));
      assert.equal(runner.length, 48, text);
    }
    runner.setAttention(parseAttention("window:5"));
    assert.equal(runner.length, 0);
    const windowed = await runner.append(ids, { logits: "all" });
    assert.deepEqual(windowed, await (await open("window:5")).append(ids, { logits: "all" }));
    runner.setAttention(parseAttention("window:5"));
    assert.equal(runner.length, 48);
    runner.setAttention(parseAttention("sinks:0,5"));
    assert.equal(runner.length, 0);
    await runner.append(ids);
    await runner.append([3]);
    runner.setAttention(parseAttention("flash"));
    assert.equal(runner.length, 0);
    await runner.append(ids);
    await runner.append([3]);
    // The last token was decoded with every key.
    runner.setAttention(parseAttention("top-pages:1"));
    assert.equal(runner.length, 0);
  });

  it("refuses what no text would give", async () => {
    const runner = await open("flash");
    assert.throws(
      () => runner.setAttention({ policy: { kind: "window", window: 0 } }),
      (error) => EngineError.is(error, "bad-argument"),
    );
    await assert.rejects(
      openReferenceRunner({ ...model, weightFormat: "f32", attention: { policy: { kind: "flash" }, topPages: 0 } }),
      (error) => EngineError.is(error, "bad-argument"),
    );
  });

  it("tells what a pattern keeps of the exact attention, and nothing where nothing is left out", async () => {
    const ids = idsOf(96);
    for (const text of ["flash", "ring:2", "sinks:2,8"]) {
      const runner = await open(text);
      await runner.append(ids);
      assert.equal(runner.keptMass, undefined, text);
    }
    const runner = await open("window:9");
    await runner.append(ids);
    const { spec } = model;
    const means: number[] = [];
    bruteLogits(spec, model.tensors, ids, {
      sees(layer, head, query, key) {
        // Every 16th query is sampled.
        if (query === key && query % 16 === 15) {
          const row = layer.weights(head, query);
          means.push(row.subarray(Math.max(0, query - 8)).reduce((sum, weight) => sum + weight, 0));
        }
        return query - key < 9;
      },
    });
    const kept = runner.keptMass;
    assert.ok(kept !== undefined);
    const mean = means.reduce((sum, each) => sum + each, 0) / means.length;
    assert.ok(Math.abs(kept.mean - mean) < 1e-4 && kept.least < kept.mean);
    assert.deepEqual([kept.queries, kept.heads], [6, spec.headCount * spec.layerCount]);
    runner.truncate(0);
    await runner.append(ids.slice(0, 9));
    assert.equal(runner.keptMass?.mean, 1);
  });

  it("pools what was attended: weights of the softmax over what was seen", async () => {
    const ids = idsOf(70);
    for (const [text, rule] of [
      ["window:5", { sees: (_, __, query, key) => query - key < 5 }],
      ["vertical-slash:2,3", { sees: verticalSlash(2, 3, 70) }],
    ] satisfies [string, BruteOptions][]) {
      const runner = await open(text);
      await runner.append(ids);
      const { weights } = bruteLogits(model.spec, model.tensors, ids, rule);
      const edges = Uint32Array.from({ length: 71 }, (_, edge) => edge);
      const { cells } = await runner.pool({ layer: 1, head: 2, queryEdges: edges, keyEdges: edges });
      // Weights are in [0, 1]: two layers of f32 storage leave six digits of them.
      cells.forEach((cell, at) => assert.ok(Math.abs(cell - weights[2][Math.floor(at / 70)][at % 70]) < 1e-4, text));
    }
  });

  it("cuts chosen chunks in the middle, and goes on", async () => {
    const ids = idsOf(300);
    const runner = await open("blocks:2");
    await runner.append(ids);
    assert.equal(runner.truncate(100), 96);
    await runner.append(ids.slice(96));
    const edges = Uint32Array.from({ length: 301 }, (_, edge) => edge);
    const { cells } = await runner.pool({ layer: "mean", head: "mean", queryEdges: edges, keyEdges: edges });
    for (let query = 0; query < 300; query++) {
      const sum = cells.subarray(query * 300, (query + 1) * 300).reduce((total, cell) => total + cell, 0);
      assert.ok(Math.abs(sum - 1) < 1e-5, `${query}`);
    }
  });
});

type Weighted = { spec: DecoderSpec; weights: WeightStore };

function open(attention: string, of: Weighted = model): Promise<Runner> {
  return openReferenceRunner({ spec: of.spec, weights: of.weights, weightFormat: "f32", attention: parseAttention(attention) });
}

function idsOf(count: number): number[] {
  return Array.from({ length: count }, (_, index) => (index * index * 5 + index * 3 + 1) % 16);
}

/** A cache of the first `sinks` and the last `window` tokens, with positions along it. */
function evicting(sinks: number, window: number): BruteOptions {
  return {
    sees: (_, __, query, key) => key < sinks || query - key < window,
    queryPosition: (query, key) => (query - key < window && key >= sinks ? query : Math.min(query, sinks + window - 1)),
  };
}

/** The best keys and distances of the last 64 queries, the first 30 and the nearest 100 before all others. */
function verticalSlash(verticals: number, slashes: number, tokens: number): BruteOptions["sees"] {
  const chosen = new Map<BruteLayer, Map<number, [Set<number>, Set<number>]>>();
  return (layer, head, query, key) => {
    const heads = chosen.get(layer) ?? new Map<number, [Set<number>, Set<number>]>();
    chosen.set(layer, heads);
    let sets = heads.get(head);
    if (sets === undefined) {
      const columns = new Float64Array(tokens);
      const distances = new Float64Array(tokens);
      for (let sampled = Math.max(0, tokens - 64); sampled < tokens; sampled++) {
        for (const [at, weight] of layer.weights(head, sampled).entries()) {
          columns[at] += weight;
          distances[sampled - at] += weight;
        }
      }
      columns.fill(Infinity, 0, 30);
      distances.fill(Infinity, 0, 100);
      const best = (sums: Float64Array, count: number): Set<number> =>
        new Set([...sums.keys()].sort((a, b) => (sums[a] === sums[b] ? a - b : sums[b] - sums[a])).slice(0, count));
      sets = [best(columns, verticals), best(distances, slashes)];
      heads.set(head, sets);
    }
    return sets[0].has(key) || sets[1].has(query - key);
  };
}

/** The own block of 64 keys and those whose mean key fits the mean query of the block best. */
function bestBlocks(count: number, tokens: number): BruteOptions["sees"] {
  const chosen = new Map<BruteLayer, Map<string, Set<number>>>();
  const meanOf = (rows: (token: number) => Float64Array, block: number): Float64Array => {
    const end = Math.min(tokens, block * 64 + 64);
    const mean = new Float64Array(rows(0).length);
    for (let token = block * 64; token < end; token++) rows(token).forEach((value, i) => (mean[i] += value / (end - block * 64)));
    return mean;
  };
  return (layer, head, query, key) => {
    const lists = chosen.get(layer) ?? new Map<string, Set<number>>();
    chosen.set(layer, lists);
    const own = Math.floor(query / 64);
    let list = lists.get(`${head} ${own}`);
    if (list === undefined) {
      const mean = meanOf((token) => layer.queries(head, token), own);
      const scores = Array.from({ length: own }, (_, block) =>
        meanOf((token) => layer.keys(head, token), block).reduce((sum, value, i) => sum + value * mean[i], 0),
      );
      const others = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, count - 1);
      list = new Set([own, ...others]);
      lists.set(`${head} ${own}`, list);
    }
    return list.has(Math.floor(key / 64));
  };
}

/** Everything up to `prompt` and in the first of two layers; from there the own page of 16 and the `count` - 1 of largest bounds for any head of the group. */
function topPages(count: number, prompt: number): BruteOptions["sees"] {
  const group = model.spec.headCount / model.spec.kvHeadCount;
  const chosen = new Map<BruteLayer, Map<string, Set<number>>>();
  return (layer, head, query, key) => {
    const lists = chosen.get(layer) ?? new Map<string, Set<number>>();
    chosen.set(layer, lists);
    // Layers are asked about in their order.
    if (query < prompt || chosen.size === 1) return true;
    const firstHead = head - (head % group);
    const own = query >> 4;
    let list = lists.get(`${firstHead} ${query}`);
    if (list === undefined) {
      const bounds = Array.from({ length: own }, (_, page) => {
        const keys = Array.from({ length: 16 }, (_, index) => layer.keys(firstHead, page * 16 + index));
        const ofHead = (q: Float64Array): number =>
          q.reduce((sum, value, i) => {
            const channel = keys.map((row) => row[i]);
            return sum + Math.max(value * Math.min(...channel), value * Math.max(...channel));
          }, 0);
        return Math.max(...Array.from({ length: group }, (_, member) => ofHead(layer.queries(firstHead + member, query))));
      });
      list = new Set([own, ...[...bounds.keys()].sort((a, b) => bounds[b] - bounds[a]).slice(0, count - 1)]);
      lists.set(`${firstHead} ${query}`, list);
    }
    return list.has(key >> 4);
  };
}

function alibiModel(): Weighted {
  const layers: DecoderSpec["layers"] = Array.from({ length: 2 }, () => ({ window: undefined, rotation: "none" }));
  return randomModel({ rotaryDim: 0, alibi: { maxBias: 4 }, layers });
}

async function tensors64({ spec, weights }: Weighted): Promise<Map<string, Float64Array>> {
  const read = [...tensorShapes(spec)].map(async ([name]) => [name, Float64Array.from(await weights.readRows(name))] as const);
  return new Map(await Promise.all(read));
}

function near(found: ArrayLike<number> | undefined, expected: ArrayLike<number>): void {
  assert.ok(found !== undefined && found.length === expected.length, `${found?.length} numbers instead of ${expected.length}`);
  for (let at = 0; at < expected.length; at++) {
    assert.ok(Math.abs(found[at] - expected[at]) <= TOLERANCE, `${found[at]} instead of ${expected[at]} at ${at}`);
  }
}

function far(found: ArrayLike<number> | undefined, other: ArrayLike<number>): boolean {
  return Array.from(other).some((value, at) => Math.abs(value - (found?.[at] ?? value)) > 100 * TOLERANCE);
}
