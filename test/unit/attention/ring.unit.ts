/** Whole models over rings of ranks in plain loops: schedule, wires, merging and errors; the ranks on a GPU are in test/gpu/ring.gpu.ts. */
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { isMainThread, workerData } from "node:worker_threads";
import { fileURLToPath } from "node:url";
import type { DecoderSpec, WeightStore } from "../../../engine/api.ts";
import type { OpenRank, RankCompute } from "../../../engine/attention/ring/compute.ts";
import { openRing, type Ring } from "../../../engine/attention/ring/coordinator.ts";
import { takeRows } from "../../../engine/attention/ring/before.ts";
import type { RingLayer } from "../../../engine/attention/ring/gather.ts";
import { serveRank } from "../../../engine/attention/ring/rank.ts";
import { causalPairs, shardsOf } from "../../../engine/attention/ring/schedule.ts";
import { EngineError } from "../../../engine/errors.ts";
import { layerBands, positionPlan } from "../../../engine/position/bands.ts";
import type { Reals } from "../../../engine/position/rope.ts";
import { attentionRow } from "../../../engine/reference/attend.ts";
import { referenceCache } from "../../../engine/reference/cache.ts";
import { forward, readDecoder, rotatedQueries, type Decoder } from "../../../engine/reference/decoder.ts";
import { dot } from "../../../engine/reference/ops.ts";
import { plainRank } from "../../../engine/reference/ringRank.ts";
import { ringPort } from "../../../extension/adapter/ringPorts.ts";
import { ringThreads, type RankThreadData } from "../../../extension/adapter/ringThreads.ts";
import { goldenDecoder, randomModel } from "../../support/goldenModels.ts";
import { threadlessRing } from "../../support/plainRing.ts";
import { assertNear, assertSamePass, referencePass, ringPass, ringRequest, tokensOf } from "../../support/ringPasses.ts";

const layouts = ["contiguous", "zigzag", "striped"] as const;
const kv = { keys: "f32", values: "f32" } as const;
const options = { weightFormat: "f32" as const, products: "exact" as const, kv, minimumLimits: false };
/** Both round to f32 after every operation and add in another order only in the attention. */
const ROUNDING = 2e-5;
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
  afterEach(async () => {
    for (const ring of rings.splice(0)) await ring.close();
  });

  describe("ring of plain ranks", () => {
    for (const [what, make] of Object.entries(models)) {
      it(`${what}: keys, values and logits are those of one model alone`, async () => {
        const model = make();
        const decoder = await readDecoder(model.spec, model.weights, "f32");
        for (const tokens of [3, 13, 22]) {
          const plan = positionPlan(model.spec.rope, model.spec, tokens);
          const alone = await referencePass(decoder, plan, tokensOf(model.spec, tokens));
          for (const ranks of [1, 2, 3]) {
            const ring = await openPlain(model, decoder, ranks);
            for (const layout of layouts)
              assertSamePass(
                await ringPass(ring, decoder, plan, tokens, layout),
                alone,
                ROUNDING,
                `${tokens} ${ranks} ${layout}`,
              );
          }
        }
      });
    }

    it("follows a plan of several bands and copies of the keys", async () => {
      const model = randomModel();
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const plan = positionPlan({ kind: "self_extend", group: 2, window: 4 }, model.spec, 19);
      const ring = await openPlain(model, decoder, 3);
      const alone = await referencePass(decoder, plan, tokensOf(model.spec, 19));
      for (const layout of layouts) assertSamePass(await ringPass(ring, decoder, plan, 19, layout), alone, ROUNDING, layout);
    });

    it("gives queries and log-sum-exps of the layers that are tapped, and of no other", async () => {
      const model = randomModel({ headDim: 8 });
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const { headCount: H, kvHeadCount: G, headDim: D, attentionScale } = model.spec;
      const tokens = 15;
      const positions = [0, 3, 4, 9, 14];
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
        const tap = { layers: [1], positions };
        await ring.prefill({ ...ringRequest(ids, plan, layout), tap, onLayer: async (layer) => void layers.push(layer) });
        assert.equal(layers[0].tap, undefined);
        const found = layers[1].tap;
        assert(found !== undefined);
        for (const [band, queries] of scored.queries.entries())
          assertNear(
            found.queries[band],
            takeRows(Float32Array.from(queries), positions, H * D),
            ROUNDING,
            `${layout}: queries of band ${band}`,
          );
        // The weight of the query's own key is exp(score - lse); the first band has it.
        const lse = Float32Array.from({ length: tokens * H }, (_, row) => {
          const [token, head] = [Math.floor(row / H), row % H];
          const key = (token * G + Math.floor((head * G) / H)) * D;
          const score = dot(scored.queries[0], row * D, scored.keys[0], key, D) * attentionScale;
          return score - Math.log(attentionRow(scored, model.spec, token, head, token)[token]);
        });
        assertNear(found.lse, takeRows(lse, positions, H), ROUNDING, `${layout}: log-sum-exps`);
      }
    });

    it("gives every token's state where all are wanted", async () => {
      const { ring, decoder, plan, ids } = await small(3);
      const { states } = await ring.prefill({ ...ringRequest(ids, plan, "striped"), states: "all" });
      const E = decoder.spec.hiddenSize;
      assert.equal(states.length, ids.length * E);
      const { states: last } = await ring.prefill(ringRequest(ids, plan, "zigzag"));
      assertNear(last, states.subarray(-E), ROUNDING, "the last one");
    });

    it("reports per rank and step whose block was met, how many pairs, how many bytes came, and that time went by", async () => {
      const { ring, decoder, plan, ids } = await small(3);
      const { report } = await ring.prefill(ringRequest(ids, plan, "zigzag"));
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
      const ring = await open(workers, 2, { spec: model.spec, ...options });
      const plan = positionPlan({ kind: "none" }, model.spec, 8);
      await ring.prefill(ringRequest(tokensOf(model.spec, 8), plan, "contiguous"));
    });

    it("hands layers on in order, one at a time, and tells how far it is", async () => {
      const { ring, plan, ids, decoder } = await small(2);
      const order: string[] = [];
      const progress: number[] = [];
      await ring.prefill({
        ...ringRequest(ids, plan, "zigzag"),
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
    });
  });

  describe("a ring that does not go well", () => {
    it("refuses more ranks than tokens, and goes on", async () => {
      const { ring, plan, ids } = await small(3);
      await assert.rejects(ring.prefill(ringRequest(ids.slice(0, 2), plan, "zigzag")), { code: "bad-argument" });
      await ring.prefill(ringRequest(ids, plan, "zigzag"));
    });

    it("stops when asked, within a step, and reads the next prompt rightly", async () => {
      const { ring, decoder, plan, ids } = await small(3);
      const stop = new AbortController();
      const stopped = ring.prefill({
        ...ringRequest(ids, plan, "striped"),
        signal: stop.signal,
        onLayer: async () => stop.abort(),
      });
      await assert.rejects(stopped, { code: "aborted" });
      await assert.rejects(ring.prefill({ ...ringRequest(ids, plan, "striped"), signal: stop.signal }), { code: "aborted" });
      const alone = await referencePass(decoder, plan, ids);
      assertSamePass(await ringPass(ring, decoder, plan, ids.length, "striped"), alone, ROUNDING, "after a stop");
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
      const ring = await open(workers, 3, { spec: model.spec, ...options });
      const plan = positionPlan({ kind: "none" }, model.spec, 9);
      const ids = tokensOf(model.spec, 9);
      await assert.rejects(ring.prefill(ringRequest(ids, plan, "zigzag")), (error: EngineError) => {
        assert.deepEqual(
          [error.code, error.message, error.remedy],
          ["device-lost", "rank 1 of 3: the device was lost", "ask again"],
        );
        assert.deepEqual(error.facts, { layer: 1, rank: 1 });
        return true;
      });
      fails = false;
      await ring.prefill(ringRequest(ids, plan, "zigzag"));
    });

    it("throws what taking a layer over threw", async () => {
      const { ring, plan, ids } = await small(2);
      const failing = {
        ...ringRequest(ids, plan, "zigzag"),
        onLayer: async () => Promise.reject(new EngineError("kv-cache-too-large", "full", "shorten")),
      };
      await assert.rejects(ring.prefill(failing), { code: "kv-cache-too-large" });
      await ring.prefill(ringRequest(ids, plan, "zigzag"));
    });

    it("ends when a worker dies, says which, and stays ended", async () => {
      const model = randomModel();
      const decoder = await readDecoder(model.spec, model.weights, "f32");
      const workers = threadlessRing(() => async () => plainRank(decoder));
      const ring = await open(workers, 3, { spec: model.spec, ...options });
      const plan = positionPlan({ kind: "none" }, model.spec, 9);
      const ids = tokensOf(model.spec, 9);
      const reading = ring.prefill({ ...ringRequest(ids, plan, "zigzag"), onLayer: async () => workers.kill(2) });
      await assert.rejects(
        reading,
        (error: EngineError) => error.code === "internal" && /^rank 2 of 3: the worker died/.test(error.message),
      );
      await assert.rejects(ring.prefill(ringRequest(ids, plan, "zigzag")), { message: /rank 2 of 3/ });
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
      const alone = await referencePass(decoder, plan, tokensOf(model.spec, 17));
      const opening: number[] = [];
      const ring = await open(ringThreads(fileURLToPath(import.meta.url), "as it should"), 3, {
        spec: model.spec,
        ...options,
        onProgress: (done) => opening.push(done),
      });
      for (const layout of layouts) assertSamePass(await ringPass(ring, decoder, plan, 17, layout), alone, ROUNDING, layout);
      assert(opening.length >= 3, "each rank says what it has read");
    });

    it("says which thread died", async () => {
      const model = threadModel();
      const ring = await open(ringThreads(fileURLToPath(import.meta.url), "die"), 2, { spec: model.spec, ...options });
      const plan = positionPlan(model.spec.rope, model.spec, 6);
      await assert.rejects(ring.prefill(ringRequest(tokensOf(model.spec, 6), plan, "zigzag")), {
        code: "internal",
        message: /^rank [01] of 2: the worker died: it ended with code 7$/,
      });
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

const rings: Ring[] = [];

/** A ring that is closed after the test, which may fail. */
async function open(...given: Parameters<typeof openRing>): Promise<Ring> {
  const ring = await openRing(...given);
  rings.push(ring);
  return ring;
}

async function openPlain(model: Model, decoder: Decoder, ranks: number): Promise<Ring> {
  const openRank: OpenRank = async () => plainRank(decoder);
  return open(
    threadlessRing(() => openRank),
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
