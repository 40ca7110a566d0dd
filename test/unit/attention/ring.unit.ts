/** Whole models over rings of ranks in plain loops: schedule, wires, merging and errors; the ranks on a GPU are in test/gpu/ring.gpu.ts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isMainThread, workerData } from "node:worker_threads";
import { fileURLToPath } from "node:url";
import type { DecoderSpec, PositionPlan, WeightStore } from "../../../engine/api.ts";
import type { OpenRank, RankCompute } from "../../../engine/attention/ring/compute.ts";
import { openRing, type Ring, type RingRequest, type RingResult } from "../../../engine/attention/ring/coordinator.ts";
import type { RingLayer } from "../../../engine/attention/ring/gather.ts";
import { serveRank } from "../../../engine/attention/ring/rank.ts";
import { causalPairs, shardsOf } from "../../../engine/attention/ring/schedule.ts";
import { EngineError } from "../../../engine/errors.ts";
import { finalNormNames } from "../../../engine/models/weights.ts";
import { layerBands, positionPlan } from "../../../engine/position/bands.ts";
import type { Reals } from "../../../engine/position/rope.ts";
import { attentionRow } from "../../../engine/reference/attend.ts";
import { referenceCache } from "../../../engine/reference/cache.ts";
import { forward, logitsOf, normRows, readDecoder, rotatedQueries, type Decoder } from "../../../engine/reference/decoder.ts";
import { dot } from "../../../engine/reference/ops.ts";
import { plainRank } from "../../../engine/reference/ringRank.ts";
import { ringPort } from "../../../extension/adapter/ringPorts.ts";
import { ringThreads, type RankThreadData } from "../../../extension/adapter/ringThreads.ts";
import { goldenDecoder, randomModel } from "../../support/goldenModels.ts";
import { threadlessRing } from "../../support/plainRing.ts";

const layouts = ["contiguous", "zigzag", "striped"] as const;
const options = { weightFormat: "f32" as const, products: "exact" as const, minimumLimits: false };
interface Model {
  spec: DecoderSpec;
  weights: WeightStore;
}

const models: Record<string, () => Model> = {
  "grouped heads": () => randomModel(),
  "keys mixed with the one before": () => randomModel({ keyShift: true, qkNorm: true }),
  "ALiBi, one key head": () => randomModel({ alibi: { maxBias: 8 }, rotaryDim: 0, kvHeadCount: 1 }),
  "norms behind, input as residual": () =>
    randomModel({ norm: "layer", normBias: true, residualAfterNorm: true, mlp: "plain", embeddingNorm: true }),
  gemma2: () => goldenDecoder("gemma2"),
  gemma3: () => goldenDecoder("gemma3"),
  qwen3: () => goldenDecoder("qwen3_yarn"),
  smollm3: () => goldenDecoder("smollm3"),
  mistral: () => goldenDecoder("mistral_swa"),
};

/** This file is the script of its own worker threads. */
if (isMainThread) tests();
else void serveThread(workerData as RankThreadData);

function tests(): void {
  describe("ring of plain ranks", () => {
    for (const [what, make] of Object.entries(models)) {
      it(`${what}: keys, values and logits are those of one model alone`, async () => {
        const model = make();
        const decoder = await readDecoder(model.spec, model.weights, "f32");
        for (const tokens of [3, 13, 22]) {
          const plan = positionPlan(model.spec.rope, model.spec, tokens);
          const alone = await plainPass(decoder, plan, tokensOf(model.spec, tokens));
          for (const ranks of [1, 2, 3]) {
            const ring = await openPlain(model, decoder, ranks);
            for (const layout of layouts)
              assertSame(await pass(ring, decoder, plan, tokens, layout), alone, `${tokens} ${ranks} ${layout}`);
            await ring.close();
          }
        }
      });
    }

    it("follows a plan of several bands and copies of the keys", async () => {
      const model = randomModel();
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const plan = positionPlan({ kind: "self_extend", group: 2, window: 4 }, model.spec, 19);
      const ring = await openPlain(model, decoder, 3);
      const alone = await plainPass(decoder, plan, tokensOf(model.spec, 19));
      for (const layout of layouts) assertSame(await pass(ring, decoder, plan, 19, layout), alone, layout);
      await ring.close();
    });

    it("gives queries and log-sum-exps of the layers that are tapped, and of no other", async () => {
      const model = randomModel({ headDim: 8 });
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const tokens = 15;
      const plan = positionPlan({ kind: "rerope", window: 4 }, model.spec, tokens);
      const ids = tokensOf(model.spec, tokens);
      const bare: Reals[] = [];
      const cache = referenceCache(model.spec, "f32");
      forward(decoder, ids, plan, cache, (layer, queries) => (bare[layer] = queries));
      const kind = model.spec.layers[1];
      const scored = {
        queries: rotatedQueries(decoder, plan, kind, bare[1], 0),
        keys: cache.keys(1),
        bands: layerBands(plan, kind),
      };
      const ring = await openPlain(model, decoder, 3);
      for (const layout of layouts) {
        const layers: RingLayer[] = [];
        await ring.prefill({ ...request(ids, plan, layout), tapLayers: [1], onLayer: async (layer) => void layers.push(layer) });
        assert.equal(layers[0].tap, undefined);
        const tap = layers[1].tap;
        assert(tap !== undefined);
        for (const [band, queries] of scored.queries.entries())
          close(tap.queries[band], queries, `${layout}: queries of band ${band}`);
        const { headCount: H, kvHeadCount: G, headDim: D, attentionScale } = model.spec;
        // The weight of the query's own key is exp(score - lse); the first band has it.
        const lse = Float64Array.from({ length: tokens * H }, (_, row) => {
          const [token, head] = [Math.floor(row / H), row % H];
          const key = (token * G + Math.floor((head * G) / H)) * D;
          const score = dot(scored.queries[0], row * D, scored.keys[0], key, D) * attentionScale;
          return score - Math.log(attentionRow(scored, model.spec, token, head, token)[token]);
        });
        close(tap.lse, lse, `${layout}: log-sum-exps`);
      }
      await ring.close();
    });

    it("gives every token's state where all are wanted", async () => {
      const { ring, decoder, plan, ids } = await small(3);
      const { states } = await ring.prefill({ ...request(ids, plan, "striped"), states: "all" });
      const E = decoder.spec.hiddenSize;
      assert.equal(states.length, ids.length * E);
      const { states: last } = await ring.prefill(request(ids, plan, "zigzag"));
      close(last, states.subarray(-E), "the last one");
      await ring.close();
    });

    it("reports per rank and step whose block was met, how many pairs, how many bytes came, and that time went by", async () => {
      const { ring, decoder, plan, ids } = await small(3);
      const { report } = await ring.prefill(request(ids, plan, "zigzag"));
      const { spec } = decoder;
      const shards = shardsOf("zigzag", 3, ids.length);
      const pairs = causalPairs(shards);
      assert.deepEqual([report.ranks, report.layout, report.tokens, report.chunkTokens], [3, "zigzag", ids.length, 7]);
      assert.equal(report.steps.length, 9);
      for (const { rank, step, owner, ...of } of report.steps) {
        assert.equal(owner, (rank - step + 3) % 3);
        assert.equal(of.pairs, spec.layerCount * pairs[step][rank]);
        const blockBytes = 2 * 4 * spec.kvHeadCount * spec.headDim * shards[owner].length;
        assert.equal(of.bytes, step === 0 ? 0 : spec.layerCount * blockBytes);
        assert(of.computeMs > 0 && of.transferMs >= 0 && of.waitedMs >= 0);
      }
      assert(report.flops !== undefined && report.bytesPerSecond !== undefined && report.leastChunkTokens !== undefined);
      assert(report.hiddenShare >= 0 && report.hiddenShare <= 1);
      await ring.close();
    });

    it("sends a block on before its attention is waited for", async () => {
      const model = randomModel();
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      // Rank 0 does not finish its first attention before its neighbour has met its block.
      let met: () => void = () => undefined;
      const neighbourMet = new Promise<void>((resolve) => (met = resolve));
      const workers = threadlessRing(
        (rank) => async () =>
          overriding(plainRank(decoder), (compute) => ({
            attend: async (layer, step, owner) => {
              if (rank === 0 && layer === 0 && step === 0) await neighbourMet;
              if (rank === 1 && owner === 0) met();
              return compute.attend(layer, step, owner);
            },
          })),
      );
      const ring = await openRing(workers, 2, { spec: model.spec, ...options });
      const plan = positionPlan({ kind: "none" }, model.spec, 8);
      await ring.prefill(request(tokensOf(model.spec, 8), plan, "contiguous"));
      await ring.close();
    });

    it("hands layers on in order, one at a time, and tells how far it is", async () => {
      const { ring, plan, ids, decoder } = await small(2);
      const order: string[] = [];
      const progress: number[] = [];
      await ring.prefill({
        ...request(ids, plan, "zigzag"),
        onProgress: (done) => progress.push(done),
        onLayer: async ({ layer }) => {
          order.push(`begin ${layer}`);
          await new Promise((resolve) => setTimeout(resolve, 5));
          order.push(`end ${layer}`);
        },
      });
      const layers = Array.from({ length: decoder.spec.layerCount }, (_, layer) => layer);
      assert.deepEqual(
        order,
        layers.flatMap((layer) => [`begin ${layer}`, `end ${layer}`]),
      );
      assert.deepEqual(
        progress,
        layers.map((layer) => Math.floor((ids.length * (layer + 1)) / layers.length)),
      );
      await ring.close();
    });
  });

  describe("a ring that does not go well", () => {
    it("refuses more ranks than tokens, and goes on", async () => {
      const { ring, plan, ids } = await small(3);
      await assert.rejects(ring.prefill(request(ids.slice(0, 2), plan, "zigzag")), { code: "bad-argument" });
      await ring.prefill(request(ids, plan, "zigzag"));
      await ring.close();
    });

    it("stops when asked, within a step, and reads the next prompt rightly", async () => {
      const { ring, decoder, plan, ids } = await small(3);
      const stop = new AbortController();
      const stopped = ring.prefill({ ...request(ids, plan, "striped"), signal: stop.signal, onLayer: async () => stop.abort() });
      await assert.rejects(stopped, { code: "aborted" });
      await assert.rejects(ring.prefill({ ...request(ids, plan, "striped"), signal: stop.signal }), { code: "aborted" });
      const alone = await plainPass(decoder, plan, ids);
      assertSame(await pass(ring, decoder, plan, ids.length, "striped"), alone, "after a stop");
      await ring.close();
    });

    it("names the rank that failed, stops the others, and reads the next prompt", async () => {
      const model = randomModel();
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      let fails = true;
      const workers = threadlessRing(
        (rank) => async () =>
          overriding(plainRank(decoder), (compute) => ({
            attend: (layer, step, owner) => {
              if (fails && rank === 1 && layer === 1)
                throw new EngineError("device-lost", "the device was lost", "ask again", { layer });
              return compute.attend(layer, step, owner);
            },
          })),
      );
      const ring = await openRing(workers, 3, { spec: model.spec, ...options });
      const plan = positionPlan({ kind: "none" }, model.spec, 9);
      const ids = tokensOf(model.spec, 9);
      await assert.rejects(ring.prefill(request(ids, plan, "zigzag")), (error: EngineError) => {
        assert.deepEqual(
          [error.code, error.message, error.remedy],
          ["device-lost", "rank 1 of 3: the device was lost", "ask again"],
        );
        assert.deepEqual(error.facts, { layer: 1, rank: 1 });
        return true;
      });
      fails = false;
      await ring.prefill(request(ids, plan, "zigzag"));
      await ring.close();
    });

    it("throws what taking a layer over threw", async () => {
      const { ring, plan, ids } = await small(2);
      const failing = {
        ...request(ids, plan, "zigzag"),
        onLayer: async () => Promise.reject(new EngineError("kv-cache-too-large", "full", "shorten")),
      };
      await assert.rejects(ring.prefill(failing), { code: "kv-cache-too-large" });
      await ring.prefill(request(ids, plan, "zigzag"));
      await ring.close();
    });

    it("ends when a worker dies, says which, and stays ended", async () => {
      const model = randomModel();
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const workers = threadlessRing(() => async () => plainRank(decoder));
      const ring = await openRing(workers, 3, { spec: model.spec, ...options });
      const plan = positionPlan({ kind: "none" }, model.spec, 9);
      const ids = tokensOf(model.spec, 9);
      const reading = ring.prefill({ ...request(ids, plan, "zigzag"), onLayer: async () => workers.kill(2) });
      await assert.rejects(
        reading,
        (error: EngineError) => error.code === "internal" && /^rank 2 of 3: the worker died/.test(error.message),
      );
      await assert.rejects(ring.prefill(request(ids, plan, "zigzag")), { message: /rank 2 of 3/ });
      assert(ring.broken !== undefined);
      await ring.close();
      assert.equal(workers.running, 0);
    });

    it("leaves no worker behind when a rank cannot be opened, or opening is stopped", async () => {
      const model = randomModel();
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const failing = threadlessRing((rank) => async () => {
        if (rank === 1) throw new EngineError("limit-exceeded", "no memory left", "choose fewer ranks");
        return plainRank(decoder);
      });
      await assert.rejects(openRing(failing, 3, { spec: model.spec, ...options }), { message: "rank 1 of 3: no memory left" });
      assert.equal(failing.running, 0);
      const stop = new AbortController();
      const endless = threadlessRing(
        () => (_options, signal) =>
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("stopped")), { once: true })),
      );
      const opening = openRing(endless, 2, { spec: model.spec, ...options, signal: stop.signal });
      await new Promise((resolve) => setImmediate(resolve));
      stop.abort();
      await assert.rejects(opening, { code: "aborted" });
      assert.equal(endless.running, 0);
    });
  });

  describe("ring of worker threads", () => {
    it("computes what one rank alone computes, and ends with its threads", async () => {
      const model = threadModel();
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const plan = positionPlan(model.spec.rope, model.spec, 17);
      const alone = await plainPass(decoder, plan, tokensOf(model.spec, 17));
      const opening: number[] = [];
      const ring = await openRing(ringThreads(fileURLToPath(import.meta.url), "as it should"), 3, {
        spec: model.spec,
        ...options,
        onProgress: (done) => opening.push(done),
      });
      for (const layout of layouts) assertSame(await pass(ring, decoder, plan, 17, layout), alone, layout);
      assert(opening.length >= 3, "each rank says what it has read");
      await ring.close();
    });

    it("says which thread died", async () => {
      const model = threadModel();
      const ring = await openRing(ringThreads(fileURLToPath(import.meta.url), "die"), 2, { spec: model.spec, ...options });
      const plan = positionPlan(model.spec.rope, model.spec, 6);
      await assert.rejects(ring.prefill(request(tokensOf(model.spec, 6), plan, "zigzag")), {
        code: "internal",
        message: /^rank [01] of 2: the worker died: it ended with code 7$/,
      });
      await ring.close();
    });
  });
}

function threadModel(): Model {
  return randomModel({ keyShift: true });
}

/** One rank in a thread; the path of the model says what it is to do. */
async function serveThread({ modelPath, control, next, previous }: RankThreadData): Promise<void> {
  const ports = { control: ringPort(control), next: ringPort(next), previous: ringPort(previous) };
  const { spec, weights } = threadModel();
  await serveRank(ports, async (_options, _signal, onProgress) => {
    const compute = plainRank(await readDecoder(spec, weights, "f32", { onProgress }));
    if (modelPath !== "die") return compute;
    return overriding(compute, () => ({ attend: () => process.exit(7) }));
  });
}

function overriding(compute: RankCompute, make: (compute: RankCompute) => Partial<RankCompute>): RankCompute {
  return { ...compute, ...make(compute) };
}

async function openPlain(model: Model, decoder: Decoder, ranks: number): Promise<Ring> {
  const open: OpenRank = async () => plainRank(decoder);
  return openRing(
    threadlessRing(() => open),
    ranks,
    { spec: model.spec, ...options },
  );
}

async function small(ranks: number) {
  const model = randomModel();
  const decoder = await readDecoder(model.spec, model.weights, "f32");
  const ids = tokensOf(model.spec, 20);
  return { ring: await openPlain(model, decoder, ranks), decoder, ids, plan: positionPlan({ kind: "none" }, model.spec, 20) };
}

function tokensOf({ vocabSize }: DecoderSpec, count: number): number[] {
  return Array.from({ length: count }, (_, index) => (index * 7919 + 3) % vocabSize);
}

function request(ids: readonly number[], plan: PositionPlan, layout: RingRequest["layout"]): RingRequest {
  return { ids, plan, layout, tapLayers: [], states: "last", onLayer: async () => undefined };
}

interface Pass {
  layers: Pick<RingLayer, "keys" | "values" | "rawKeys">[];
  logits: Float32Array;
}

async function pass(
  ring: Ring,
  decoder: Decoder,
  plan: PositionPlan,
  tokens: number,
  layout: RingRequest["layout"],
): Promise<Pass> {
  const layers: RingLayer[] = [];
  const result: RingResult = await ring.prefill({
    ...request(tokensOf(decoder.spec, tokens), plan, layout),
    onLayer: async (layer) => void layers.push(layer),
  });
  const { weight, bias } = finalNormNames(decoder.spec);
  return { layers, logits: Float32Array.from(logitsOf(decoder, normRows(decoder, result.states, weight, bias))) };
}

/** The forward pass of the reference, with what it leaves in its cache. */
async function plainPass(decoder: Decoder, plan: PositionPlan, ids: readonly number[]): Promise<Pass> {
  const cache = referenceCache(decoder.spec, "f32");
  const width = decoder.spec.kvHeadCount * decoder.spec.headDim;
  const values: Float32Array[] = [];
  const rawKeys: Float32Array[] = [];
  const states = forward(decoder, ids, plan, {
    ...cache,
    get length() {
      return cache.length;
    },
    write(layer, rows) {
      values.push(Float32Array.from(rows.values));
      rawKeys.push(Float32Array.from(rows.rawKeys));
      return cache.write(layer, rows);
    },
  });
  const layers = values.map((rows, layer) => ({
    keys: cache.keys(layer).map((keys) => Float32Array.from(keys.subarray(0, ids.length * width))),
    values: rows as Float32Array<ArrayBuffer>,
    rawKeys: decoder.spec.keyShift ? (rawKeys[layer] as Float32Array<ArrayBuffer>) : undefined,
  }));
  return { layers, logits: Float32Array.from(logitsOf(decoder, states.subarray(-decoder.spec.hiddenSize))) };
}

function assertSame(found: Pass, expected: Pass, what: string): void {
  assert.equal(found.layers.length, expected.layers.length);
  for (const [layer, { keys, values, rawKeys }] of expected.layers.entries()) {
    assert.equal(found.layers[layer].keys.length, keys.length);
    for (const [copy, rows] of keys.entries()) close(found.layers[layer].keys[copy], rows, `${what}: keys of layer ${layer}`);
    close(found.layers[layer].values, values, `${what}: values of layer ${layer}`);
    if (rawKeys === undefined) assert.equal(found.layers[layer].rawKeys, undefined);
    else close(found.layers[layer].rawKeys ?? [], rawKeys, `${what}: raw keys of layer ${layer}`);
  }
  close(found.logits, expected.logits, `${what}: logits`);
}

/** Both round to f32 after every operation and add in another order only in the attention. */
function close(found: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.equal(found.length, expected.length, what);
  for (let index = 0; index < expected.length; index++) {
    const off = Math.abs(found[index] - expected[index]);
    assert(off <= 2e-5 * (1 + Math.abs(expected[index])), `${what}: ${found[index]} instead of ${expected[index]} at ${index}`);
  }
}
