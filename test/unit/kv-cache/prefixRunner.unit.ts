/** Pages of the runners that compute on the processor: what is taken out of one goes on in another with the same bits. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DecoderSpec, ModelSpec, Runner, WeightStore } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import type { CachedPages } from "../../../engine/kv-cache/api.ts";
import { resolveRope } from "../../../engine/position/choose.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { goldenDecoder, goldenDecoders, goldenRecurrent, randomModel } from "../../support/goldenModels.ts";
import { randomRecurrent } from "../../support/recurrentModels.ts";

const PAGE = 256;
const TOKENS = 2 * PAGE + 70;
const GREEDY = { temperature: 0, topP: 1, seed: 0 };

const prompt = ({ vocabSize }: ModelSpec, seed = 3): number[] =>
  Array.from({ length: TOKENS }, (_, index) => (index * 7919 + seed) % vocabSize);

async function open(spec: ModelSpec, weights: WeightStore): Promise<{ runner: Runner; pages: CachedPages }> {
  const runner = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
  assert.ok(runner.pages !== undefined);
  return { runner, pages: runner.pages };
}

async function exported(pages: CachedPages, first: number, count: number): Promise<Uint8Array<ArrayBuffer>[]> {
  const blobs = await pages.export(first, count);
  return blobs.map((blob, index) => {
    assert.ok(blob !== undefined, `page ${first + index}`);
    assert.equal(blob.length, pages.bytesPerPage);
    return blob;
  });
}

const keyShifting = randomModel({ keyShift: true, qkNorm: true });
const decoders: [string, { spec: DecoderSpec; weights: WeightStore }][] = [
  ...goldenDecoders.map((name): [string, ReturnType<typeof goldenDecoder>] => [name, goldenDecoder(name)]),
  ["a model that shifts keys", keyShifting],
];

describe("pages of the reference", () => {
  for (const [name, { spec, weights }] of decoders) {
    it(`${name}: goes on from pages with the same bits, also behind a cut inside of one`, async () => {
      const ids = prompt(spec);
      const { plan } = resolveRope({ kind: "model" }, spec, TOKENS, 65536);
      const first = await open(spec, weights);
      first.runner.setPositions(plan);
      const logits = await first.runner.append(ids, { logits: "all" });
      assert.ok(logits);
      const V = spec.vocabSize;
      const blobs = await exported(first.pages, 0, 2);
      const next = await first.runner.sample(GREEDY);

      const other = await open(spec, weights);
      other.runner.setPositions(plan);
      await other.pages.import(blobs.slice(0, 1), 0);
      await other.pages.import(blobs.slice(1), 1);
      assert.equal(other.runner.length, 2 * PAGE);
      assert.deepEqual(await other.runner.append(ids.slice(2 * PAGE), { logits: "all" }), logits.slice(2 * PAGE * V));
      assert.equal(await other.runner.sample(GREEDY), next);
      assert.deepEqual(await exported(other.pages, 0, 2), blobs, "and gives the same pages away");
      assert.equal(other.runner.truncate(PAGE + 45), PAGE + 32);
      assert.deepEqual(await other.runner.append(ids.slice(PAGE + 32), { logits: "all" }), logits.slice((PAGE + 32) * V));
    });
  }

  it("says that nobody knows where restored tokens looked, and pools the others as ever", async () => {
    const { spec, weights } = goldenDecoder("qwen2");
    const ids = prompt(spec);
    const whole = await open(spec, weights);
    await whole.runner.append(ids);
    const restored = await open(spec, weights);
    await restored.pages.import(await exported(whole.pages, 0, 2), 0);
    await restored.runner.append(ids.slice(2 * PAGE));
    assert.equal(whole.runner.tap.from, undefined);
    assert.equal(restored.runner.tap.from, 2 * PAGE);
    const behind = {
      ...{ layer: "mean" as const, head: "mean" as const },
      queryEdges: Uint32Array.of(2 * PAGE, 2 * PAGE + 5, TOKENS),
      keyEdges: Uint32Array.of(0, PAGE, TOKENS),
    };
    assert.deepEqual(await restored.runner.pool(behind), await whole.runner.pool(behind));
    const before = { ...behind, queryEdges: Uint32Array.of(PAGE, TOKENS) };
    await assert.rejects(restored.runner.pool(before), { code: "bad-argument", message: /first 512 tokens were restored/ });
    restored.runner.truncate(0);
    await restored.runner.append(ids.slice(0, 40));
    const again = { ...behind, queryEdges: Uint32Array.of(0, 40), keyEdges: Uint32Array.of(0, 40) };
    assert.equal((await restored.runner.pool(again)).cells.length, 1);
  });

  it("counts a prompt that comes in pieces as one prefill", async () => {
    const { spec, weights } = goldenDecoder("qwen2");
    const ids = prompt(spec);
    const attention = { policy: { kind: "window" as const, window: 32 } };
    const whole = await open(spec, weights);
    whole.runner.setAttention(attention);
    await whole.runner.append(ids);
    const pieces = await open(spec, weights);
    pieces.runner.setAttention(attention);
    await pieces.runner.append(ids.slice(0, PAGE), { moreFollows: true });
    await pieces.runner.append(ids.slice(PAGE));
    assert.ok(whole.runner.keptMass);
    assert.deepEqual(pieces.runner.keptMass, whole.runner.keptMass);
  });

  it("refuses pages that do not fit, and more than it has room for", async () => {
    const { spec, weights } = goldenDecoder("qwen2");
    const { runner, pages } = await open(spec, weights);
    await runner.append(prompt(spec));
    const blobs = await exported(pages, 0, 2);
    await rejects(pages.export(1, 2), "bad-argument");
    await rejects(pages.import(blobs, 2), "bad-argument");
    runner.truncate(0);
    await rejects(pages.import(blobs, 1), "bad-argument");
    await rejects(pages.import([new Uint8Array(8)], 0), "bad-argument");
    const small = await openReferenceRunner({ spec, weights, weightFormat: "f32", capacityTokens: 300 });
    await rejects(small.pages?.import(blobs, 0), "kv-cache-too-large");
    assert.equal(small.length, 0);
  });
});

describe("states of recurrent models at the borders of pages", () => {
  for (const kind of ["mamba", "mamba2", "rwkv7"] as const) {
    for (const [name, { spec, weights }] of [
      [`golden ${kind}`, goldenRecurrent(kind)],
      [`random ${kind}`, randomRecurrent(kind)],
    ] as const) {
      it(`${name}: goes on from a state with the same bits, however the prompt came in`, async () => {
        const ids = prompt(spec);
        const first = await open(spec, weights);
        await first.runner.append(ids.slice(0, 100));
        await first.runner.append(ids.slice(100));
        const states = await exported(first.pages, 0, 2);
        // As the prompt was divided, so that chunks are the same.
        const straight = await open(spec, weights);
        await straight.runner.append(ids.slice(0, 2 * PAGE), { moreFollows: true });
        const expected = await straight.runner.append(ids.slice(2 * PAGE), { logits: "all" });

        const other = await open(spec, weights);
        await other.pages.import(states.slice(1), 1);
        assert.equal(other.runner.length, 2 * PAGE);
        const choice = await other.runner.sample(GREEDY);
        assert.deepEqual(await other.runner.append(ids.slice(2 * PAGE), { logits: "all" }), expected);
        assert.equal(other.runner.truncate(2 * PAGE + 5), 2 * PAGE, "the restored length can be gone back to");
        assert.equal(await other.runner.sample(GREEDY), choice);
        assert.deepEqual(await other.pages.export(0, 2), [undefined, states[1]], "states that were not kept are not there");
        await rejects(other.pages.import([new Uint8Array(12)], 2), "bad-argument");
      });
    }
  }

  it("keeps the states before, so that a later prompt that parts earlier goes back to one", async () => {
    const { spec, weights } = randomRecurrent("mamba");
    const ids = prompt(spec);
    const { runner, pages } = await open(spec, weights);
    await runner.append(ids);
    const states = await exported(pages, 0, 2);
    assert.equal(runner.truncate(PAGE), PAGE);
    await pages.import(states.slice(1), 1);
    assert.equal(runner.length, 2 * PAGE);
    assert.equal(runner.truncate(PAGE + 9), PAGE);
  });
});

async function rejects(work: Promise<unknown> | undefined, code: EngineError["code"]): Promise<void> {
  assert.ok(work);
  await assert.rejects(work, (error) => EngineError.is(error, code));
}
