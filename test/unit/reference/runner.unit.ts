import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CUT_TOKENS, type DecoderSpec, type Runner, type RunnerOptions } from "../../../engine/api.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { dequantizeQ8, quantizeQ8 } from "../../../engine/formats/q8.ts";
import { storedFormat } from "../../../engine/formats/stored.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { goldenDecoder, goldenDecoders, randomModel, storeOf } from "../../support/goldenModels.ts";

/** Every feature at once: what one of them breaks shows here. */
const FEATURES: Partial<DecoderSpec> = {
  qkNorm: true,
  keyShift: true,
  qkvBias: true,
  outBias: true,
  mlpBias: true,
  embeddingMultiplier: 4,
};
const IDS = Array.from({ length: 45 }, (_, index) => (index * 7 + 3) % 40);
const GREEDY = { temperature: 0, topP: 1, seed: 0 };

// The caches hold f32; the same numbers in the same order give the same sums, so equality is exact where the chunks do not matter.
describe("the reference runner", () => {
  for (const name of goldenDecoders) {
    it(`${name}: recorded logits within f32 rounding, and the greedy continuation`, async () => {
      const { spec, weights, inputIds, golden, tolerance } = goldenDecoder(name);
      const runner = await open({ spec, weights });
      const ids = [...inputIds];
      for (let step = 0; step < 5; step++) {
        // One table for the whole length, which empties the cache where the length matters (dynamic).
        runner.setPositions(positionPlan(spec.rope, spec, ids.length));
        const logits = await runner.append(ids.slice(runner.length), { logits: "last" });
        if (step === 0) {
          // Two layers of f32 storage; 2e-4 is what science allows for f32 everywhere.
          golden.logits_last.forEach((value, token) =>
            assert.ok(Math.abs(value - (logits?.[token] ?? NaN)) <= tolerance.float32),
          );
        }
        ids.push(await runner.sample(GREEDY));
      }
      assert.deepEqual(ids.slice(inputIds.length), golden.greedy_next_5);
    });
  }

  it("gives the same logits for any division into appends", async () => {
    const whole = await allLogits(FEATURES, [IDS.length]);
    for (const size of [1, 3, 5, 16, 17]) assert.deepEqual(await allLogits(FEATURES, sizes(size)), whole);
  });

  it("goes on exactly after a cut, with the shifted key of the token before it", async () => {
    const whole = await allLogits(FEATURES, [IDS.length]);
    const runner = await open(randomModel(FEATURES));
    await runner.append(IDS);
    assert.equal(runner.truncate(40), 32);
    assert.equal(runner.length, 32);
    const again = await runner.append(IDS.slice(32), { logits: "all" });
    assert.deepEqual([...(again ?? [])], [...whole.subarray(32 * 40)]);
    assert.equal(runner.truncate(IDS.length), IDS.length);
    assert.equal(runner.truncate(7), 0);
    assert.deepEqual(await runner.append(IDS, { logits: "all" }), whole);
  });

  it("hides the future: a later token changes no earlier logits", async () => {
    const first = await (await open(randomModel(FEATURES))).append(IDS, { logits: "all" });
    const changed = [...IDS];
    changed[30] = (changed[30] + 1) % 40;
    const second = await (await open(randomModel(FEATURES))).append(changed, { logits: "all" });
    assert.deepEqual(first?.subarray(0, 30 * 40), second?.subarray(0, 30 * 40));
    assert.notDeepEqual(first?.subarray(30 * 40, 31 * 40), second?.subarray(30 * 40, 31 * 40));
    assert.notDeepEqual(first?.subarray(44 * 40), second?.subarray(44 * 40));
  });

  it("returns nothing, the last row or all rows of logits, as asked", async () => {
    const runner = await open(randomModel());
    assert.equal(await runner.append(IDS.slice(0, 4)), undefined);
    assert.equal((await runner.append(Int32Array.from(IDS.slice(4, 8)), { logits: "last" }))?.length, 40);
    assert.equal((await runner.append(IDS.slice(8, 12), { logits: "all" }))?.length, 4 * 40);
  });

  for (const field of ["keyShift", "qkNorm", "qkvBias", "outBias", "mlpBias"] as const) {
    it(`${field} changes the result`, async () =>
      assert.notDeepEqual(await allLogits({ [field]: true }, [45]), await allLogits({}, [45])));
  }
  const numbers: Partial<DecoderSpec>[] = [
    { embeddingMultiplier: 3 },
    { normEps: 0.1 },
    { ropeTheta: 100 },
    { rotaryDim: 4 },
    { tiedEmbeddings: true },
  ];
  for (const change of numbers) {
    it(`${Object.keys(change).join()} changes the result`, async () =>
      assert.notDeepEqual(await allLogits(change, [45]), await allLogits({}, [45])));
  }
  it("the model's own RoPE scaling holds until another is set", async () => {
    assert.notDeepEqual(await allLogits({ rope: { kind: "linear", factor: 4 } }, [45]), await allLogits({}, [45]));
  });

  it("empties the cache when another rotation is set, and only then", async () => {
    const { spec, weights } = randomModel(FEATURES);
    const runner = await open({ spec, weights });
    await runner.append(IDS);
    runner.setPositions(positionPlan({ kind: "linear", factor: 1 }, spec, 100));
    assert.equal(runner.length, IDS.length);
    runner.setPositions(positionPlan({ kind: "linear", factor: 2 }, spec, 100));
    assert.equal(runner.length, 0);
    const scaled = await allLogits({ ...FEATURES, rope: { kind: "linear", factor: 2 } }, [45]);
    assert.deepEqual(await runner.append(IDS, { logits: "all" }), scaled);
  });

  it("stops between chunks when aborted, keeps what is done, and goes on from there", async () => {
    const runner = await open(randomModel(FEATURES));
    const stop = new AbortController();
    const seen: number[] = [];
    await rejects(
      runner.append(IDS, {
        signal: stop.signal,
        onProgress: (done) => {
          seen.push(done);
          if (done >= 20) setTimeout(() => stop.abort(), 0);
        },
      }),
      "aborted",
    );
    assert.equal(runner.length, seen.at(-1));
    assert.ok(runner.length >= 20 && runner.length < IDS.length);
    const rest = await runner.append(IDS.slice(runner.length), { logits: "last" });
    assert.deepEqual([...(rest ?? [])], [...(await allLogits(FEATURES, [45])).subarray(44 * 40)]);
  });

  it("rounds tables and projections through q8_0, and nothing else", async () => {
    const wide: Partial<DecoderSpec> = { ...FEATURES, hiddenSize: 32, intermediateSize: 64 };
    const { spec, weights } = randomModel(wide);
    const rounded = new Map<string, { shape: readonly number[]; values: Float32Array }>();
    for (const [name, shape] of tensorShapes(spec)) {
      const values = await weights.readRows(name);
      const quantised = storedFormat(name, shape, "f32", "q8_0") === "q8_0";
      rounded.set(name, { shape, values: quantised ? dequantizeQ8(quantizeQ8(values, shape.at(-1) ?? 0)) : values });
    }
    const expected = await (await open({ spec, weights: storeOf(rounded) })).append(IDS, { logits: "all" });
    const found = await (await open({ spec, weights, weightFormat: "q8_0" })).append(IDS, { logits: "all" });
    assert.deepEqual(found, expected);
    assert.notDeepEqual(found, await allLogits(wide, [45]));
  });

  it("reports how much of the weights it has read", async () => {
    const seen: [number, number][] = [];
    await open({ ...randomModel(), onProgress: (done, total) => seen.push([done, total]) });
    const [done, total] = seen.at(-1) ?? [0, 1];
    assert.equal(done, total);
    assert.ok(seen.length > 1 && seen.every(([part], index) => index === 0 || part > seen[index - 1][0]));
  });

  it("refuses what it cannot do, with a code", async () => {
    const runner = await open({ ...randomModel(), capacityTokens: 2 * CUT_TOKENS });
    assert.equal(runner.capacityTokens, 32);
    await rejects(runner.append(IDS), "kv-cache-too-large");
    assert.equal(runner.length, 0);
    await rejects(runner.append([40]), "bad-argument");
    await rejects(runner.append([-1]), "bad-argument");
    await rejects(runner.append([1.5]), "bad-argument");
    await rejects(runner.sample(GREEDY), "bad-argument");
    await runner.append(IDS.slice(0, 20));
    runner.truncate(16);
    await rejects(runner.sample(GREEDY), "bad-argument");
    await rejects(open({ ...randomModel(), capacityTokens: 0 }), "bad-argument");
    await rejects(open({ spec: randomModel({ keyShift: true }).spec, weights: randomModel().weights }), "weights-missing");
    assert.equal(runner.loseDevice(), false);
    const stop = new AbortController();
    stop.abort();
    await rejects(open({ ...randomModel(), signal: stop.signal }), "aborted");
  });
});

describe("sampling behind the last token", () => {
  it("keeps to the allowed tokens and repeats under one seed", async () => {
    const allowed = Uint32Array.of(0b1010_0000, 0);
    const runner = await open(randomModel(FEATURES));
    await runner.append(IDS);
    const sampling = { temperature: 1, topP: 1, seed: 5 };
    const first = await runner.sample(sampling, allowed);
    assert.ok(first === 5 || first === 7);
    assert.equal(await runner.sample(sampling, allowed), first);
    const draws = new Set<number>();
    for (let seed = 0; seed < 40; seed++) draws.add(await runner.sample({ ...sampling, seed }));
    assert.ok(draws.size > 3);
  });
});

function open(options: Omit<RunnerOptions, "weightFormat"> & { weightFormat?: RunnerOptions["weightFormat"] }): Promise<Runner> {
  return openReferenceRunner({ weightFormat: "f32", ...options });
}

async function allLogits(features: Partial<DecoderSpec>, parts: readonly number[]): Promise<Float32Array> {
  const runner = await open(randomModel(features));
  const rows: number[] = [];
  for (const part of parts)
    rows.push(...((await runner.append(IDS.slice(runner.length, runner.length + part), { logits: "all" })) ?? []));
  return Float32Array.from(rows);
}

function sizes(part: number): number[] {
  return Array.from({ length: Math.ceil(IDS.length / part) }, () => part);
}

async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => EngineError.is(error, code) && error.remedy !== "");
}
