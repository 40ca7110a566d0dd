/** What every backend owes a recurrent model: the same tests for each, registered by the test files of the backends. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RecurrentSpec, Runner, RunnerOptions, Sampling } from "../../engine/api.ts";
import { EngineError, type ErrorCode } from "../../engine/errors.ts";
import { encodeF16 } from "../../engine/formats/floats.ts";
import { positionPlan } from "../../engine/position/bands.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { isRecurrentRunner, type RecurrentRunner } from "../../engine/recurrent/runner.ts";
import { openReferenceRecurrent } from "../../engine/reference/recurrentRunner.ts";
import { assertClose } from "./gpuArrays.ts";
import { goldenRecurrent, goldenRecurrents, randomModel } from "./goldenModels.ts";
import { randomRecurrent } from "./recurrentModels.ts";
import { bytesStore, type ByteTensor } from "./weightBytes.ts";

export type OpenRunner = (options: RunnerOptions) => Promise<Runner>;

const GREEDY: Sampling = { temperature: 0, topP: 1, seed: 0 };
const KINDS = ["mamba", "mamba2", "rwkv7"] as const;
/** Logits of a few units after a few layers of f32 sums in another order. */
const TOLERANCE = 1e-4;

/** Registers the tests; `dispose` is called with every runner that `open` made. */
export function describeRecurrentRunner(
  name: string,
  open: OpenRunner,
  dispose = (runner: Runner): void => runner.dispose(),
): void {
  const opened = async (options: Omit<RunnerOptions, "weightFormat"> & { weightFormat?: RunnerOptions["weightFormat"] }) => {
    const runner = await open({ weightFormat: "f32", ...options });
    assert.ok(isRecurrentRunner(runner));
    return runner;
  };

  describe(`${name}: golden recurrent models`, () => {
    for (const model of goldenRecurrents) {
      it(`${model}: logits at every position, and the greedy continuation from the state`, async () => {
        const { spec, weights, inputIds, golden, tolerance } = goldenRecurrent(model);
        const V = spec.vocabSize;
        const runner = await opened({ spec, weights });
        const logits = await all(runner, inputIds);
        assertClose(logits.slice(0, V), golden.logits_first, tolerance.float32, "first");
        assertClose(logits.slice(6 * V, 7 * V), golden.logits_mid_pos6, tolerance.float32, "middle");
        assertClose(logits.slice(-V), golden.logits_last, tolerance.float32, "last");
        const sums = inputIds.map((_, i) => logits.slice(i * V, (i + 1) * V).reduce((sum, value) => sum + value, 0));
        assertClose(sums, golden.logits_sum_per_position, tolerance.float32 * V, "sums of each position");
        const found: number[] = [];
        for (let step = 0; step < 5; step++) {
          found.push(await runner.sample(GREEDY));
          await runner.append(found.slice(-1));
        }
        assert.deepEqual(found, golden.greedy_next_5);
        dispose(runner);
      });

      it(`${model}: chunks of 1, 3, 5 and all tokens give the same`, async () => {
        const { spec, weights, inputIds, tolerance } = goldenRecurrent(model);
        const runner = await opened({ spec, weights });
        const whole = await all(runner, inputIds);
        for (const size of [1, 3, 5]) {
          assert.equal(runner.truncate(0), 0);
          assertClose(await inParts(runner, inputIds, size), whole, tolerance.float32, `chunks of ${size}`);
        }
        dispose(runner);
      });
    }
  });

  for (const kind of KINDS) {
    describe(`${name}: a random ${kind} of several heads and layers`, () => {
      it("equals the reference however the prompt is divided, and token by token behind it", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const ids = tokens(150, spec);
        const expected = await all(await reference(spec, weights), ids);
        const runner = await opened({ spec, weights });
        for (const size of [150, 64, 5, 3]) {
          runner.truncate(0);
          assertClose(await inParts(runner, ids, size), expected, TOLERANCE, `chunks of ${size}`);
        }
        runner.truncate(0);
        await runner.append(ids.slice(0, 140));
        assertClose(await inParts(runner, ids.slice(140), 1), expected.slice(140 * spec.vocabSize), TOLERANCE, "decoded");
        assert.equal(runner.length, 150);
        dispose(runner);
      });

      it("shows a changed token in all that follows it, and in nothing before it", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const ids = tokens(24, spec);
        const changed = ids.map((id, i) => (i === 12 ? (id + 1) % spec.vocabSize : id));
        const runner = await opened({ spec, weights });
        const first = await all(runner, ids);
        runner.truncate(0);
        const second = await all(runner, changed);
        const V = spec.vocabSize;
        assertClose(second.slice(0, 12 * V), first.slice(0, 12 * V), TOLERANCE, "before the change");
        const off = (token: number): number =>
          Math.max(...Array.from({ length: V }, (_, i) => Math.abs(first[token * V + i] - second[token * V + i])));
        assert.ok(off(12) > 100 * TOLERANCE && off(13) > 100 * TOLERANCE);
        dispose(runner);
      });

      it("goes back to the nearest copy of its state, and on from there as if nothing had been behind it", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const ids = tokens(110, spec);
        const expected = await all(await reference(spec, weights), ids);
        const runner = await opened({ spec, weights });
        await runner.append(ids.slice(0, 50));
        await runner.append(ids.slice(50, 100));
        assert.deepEqual([...runner.snapshotLengths], [49, 50, 99, 100]);
        assert.equal(runner.truncate(100), 100);
        await runner.append(tokens(3, spec, 5));
        assert.equal(runner.truncate(101), 100, "what followed is gone, and the end of the append before is kept");
        const V = spec.vocabSize;
        assertClose(await all(runner, ids.slice(100)), expected.slice(100 * V), TOLERANCE, "behind 100");
        assert.equal(runner.truncate(99), 99, "the last token's logits cost one token");
        const again = await runner.append(ids.slice(99, 100), { logits: "last" });
        assertClose(again ?? [], expected.slice(99 * V, 100 * V), TOLERANCE, "the last token again");
        assert.equal(runner.truncate(80), 50);
        assert.equal(await runner.sample(GREEDY), argmax(expected.slice(49 * V, 50 * V)), "the copy knows its last token");
        assertClose(await all(runner, ids.slice(50)), expected.slice(50 * V), TOLERANCE, "behind 50");
        assert.equal(runner.truncate(48), 0);
        await rejects(runner.sample(GREEDY), "bad-argument");
        assertClose(await all(runner, ids), expected, TOLERANCE, "from the start");
        dispose(runner);
      });

      it("puts a saved state back, into itself or into another runner, and goes on with the same bits", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const ids = tokens(40, spec);
        const runner = await opened({ spec, weights });
        await runner.append(ids.slice(0, 33));
        const saved = await runner.snapshot();
        const choice = await runner.sample(GREEDY);
        const expected = await runner.append(ids.slice(33), { logits: "all" });
        await runner.restore(saved);
        assert.equal(runner.length, 33);
        assert.equal(await runner.sample(GREEDY), choice);
        assert.deepEqual(await runner.append(ids.slice(33), { logits: "all" }), expected);
        assert.equal(runner.truncate(36), 33, "the restored length can be gone back to");
        const other = await opened({ spec, weights });
        await other.append(tokens(5, spec, 9));
        await other.restore(saved);
        assert.equal(await other.sample(GREEDY), choice);
        assert.deepEqual(await other.append(ids.slice(33), { logits: "all" }), expected);
        dispose(runner);
        dispose(other);
      });

      it("gives its states at the borders of pages away, and goes on from one as from where it was", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const ids = tokens(600, spec);
        const runner = await opened({ spec, weights });
        await runner.append(ids.slice(0, 90));
        await runner.append(ids.slice(90), { moreFollows: true });
        assert.ok(runner.pages?.kind === "states");
        const states = await runner.pages.export(0, 2);
        assert.deepEqual(
          states.map((state) => state?.length),
          [runner.pages.bytesPerPage, runner.pages.bytesPerPage],
        );
        assert.equal(runner.truncate(512), 512);
        const expected = await all(runner, ids.slice(512));
        const other = await opened({ spec, weights });
        assert.ok(other.pages);
        for (const page of [0, 1]) {
          const state = states[page];
          assert.ok(state);
          await other.pages.import([state], page);
          assert.equal(other.length, 256 * (page + 1));
        }
        assert.deepEqual((await other.pages.export(1, 1))[0], states[1], "and gives the same away");
        assertClose(await all(other, ids.slice(512)), expected, TOLERANCE, "behind the state");
        assert.equal(other.truncate(300), 256, "the state before is kept too");
        dispose(runner);
        dispose(other);
      });

      it("refuses a state that is damaged or another model's", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const runner = await opened({ spec, weights });
        await rejects(runner.snapshot(), "bad-argument");
        await runner.append(tokens(5, spec));
        const saved = await runner.snapshot();
        const other = await opened({ spec, weights: randomRecurrent(kind, {}, "other ").weights });
        await rejects(other.restore(saved), "bad-argument");
        assert.equal(other.length, 0);
        for (const at of [0, 8, 12, 20, 24, 29, 32, saved.length - 1]) {
          const damaged = saved.slice();
          damaged[at] ^= 0x10;
          await rejects(runner.restore(damaged), "bad-argument");
        }
        await rejects(runner.restore(saved.slice(0, -4)), "bad-argument");
        await rejects(runner.restore(new Uint8Array(3)), "bad-argument");
        assert.equal(runner.length, 5, "what was there stays");
        dispose(runner);
        dispose(other);
      });

      it("stops between chunks, keeps what is done and goes on from there", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const ids = tokens(600, spec);
        const runner = await opened({ spec, weights });
        const stop = new AbortController();
        const seen: number[] = [];
        const appending = runner.append(ids, {
          signal: stop.signal,
          onProgress: (done) => {
            seen.push(done);
            stop.abort();
          },
        });
        await rejects(appending, "aborted");
        assert.equal(runner.length, seen.at(-1));
        assert.ok(runner.length > 0 && runner.length < ids.length);
        const end = runner.length + 20;
        const resumed = await runner.append(ids.slice(runner.length, end), { logits: "last" });
        const straight = await (await reference(spec, weights)).append(ids.slice(0, end), { logits: "last" });
        assertClose(resumed ?? [], straight ?? [], TOLERANCE, "resumed");
        dispose(runner);
      });

      for (const weightFormat of ["q8_0", "q4_0"] as const) {
        it(`rounds its matrices through ${weightFormat} as the reference does, and says by how much`, async () => {
          const { spec, weights } = randomRecurrent(kind);
          const ids = tokens(20, spec);
          const expected = await openReferenceRecurrent(spec, { spec, weights, weightFormat });
          const rounded = await opened({ spec, weights, weightFormat });
          const found = await all(rounded, ids);
          assertClose(found, await all(expected, ids), TOLERANCE, weightFormat);
          const exact = await reference(spec, weights);
          const logits = await all(exact, ids);
          assert.ok(
            found.some((value, i) => Math.abs(value - logits[i]) > 10 * TOLERANCE),
            "rounding must change something",
          );
          const { quantizationError: error = NaN } = rounded;
          assert.ok(error > (weightFormat === "q8_0" ? 1e-3 : 1e-2) && error < (weightFormat === "q8_0" ? 1e-2 : 0.2));
          assertClose([error], [expected.quantizationError ?? NaN], 1e-6, "error");
          assert.equal(exact.quantizationError, undefined);
          dispose(rounded);
        });
      }

      it("keeps 16-bit weights as the file has them", async () => {
        const { spec, tensors } = randomRecurrent(kind);
        const weights = bytesStore(
          Object.fromEntries([...tensors].map(([tensor, { shape, values }]) => [tensor, f16Tensor(shape, values)])),
        );
        const ids = tokens(40, spec);
        const kept = await opened({ spec, weights, weightFormat: "file" });
        const expected = await openReferenceRecurrent(spec, { spec, weights, weightFormat: "f32" });
        assertClose(await all(kept, ids), await all(expected, ids), TOLERANCE, "f16");
        assert.equal(kept.quantizationError, undefined);
        dispose(kept);
      });

      it("has no attention, no positions to set and no cache to move", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const runner = await opened({ spec, weights });
        assert.equal(runner.capacityTokens, 2 ** 24);
        assert.deepEqual(runner.tap, { layers: [], because: "recurrent models have no attention" });
        await runner.append(tokens(9, spec));
        const edges = Uint32Array.of(0, 9);
        await rejects(runner.pool({ layer: "mean", head: "mean", queryEdges: edges, keyEdges: edges }), "bad-argument");
        const { plan } = resolveRope({ kind: "model" }, spec, 100, runner.capacityTokens);
        runner.setPositions(plan);
        assert.equal(runner.length, 9);
        assert.equal(await runner.repositionCache(plan), false);
        const turned = positionPlan({ kind: "none" }, randomModel().spec, 100);
        assert.throws(() => runner.setPositions(turned), { code: "bad-argument" });
        await rejects(runner.repositionCache(turned), "bad-argument");
        dispose(runner);
      });

      it("refuses tokens that do not exist, and more than it was opened for", async () => {
        const { spec, weights } = randomRecurrent(kind);
        const runner = await opened({ spec, weights, capacityTokens: 12 });
        assert.equal(runner.capacityTokens, 12);
        await rejects(runner.append(tokens(13, spec)), "kv-cache-too-large");
        await rejects(runner.append([0, spec.vocabSize]), "bad-argument");
        await rejects(runner.append([1.5]), "bad-argument");
        await rejects(runner.sample(GREEDY), "bad-argument");
        assert.equal(runner.length, 0);
        assert.equal(await runner.append(tokens(2, spec)), undefined);
        const mask = new Uint32Array(Math.ceil(spec.vocabSize / 32));
        await rejects(runner.sample(GREEDY, mask), "bad-argument");
        mask[1] = 0b10100;
        assert.ok([34, 36].includes(await runner.sample({ temperature: 1, topP: 1, seed: 3 }, mask)));
        await rejects(opened({ spec, weights, capacityTokens: 0 }), "bad-argument");
        dispose(runner);
      });
    });
  }
}

export function tokens(count: number, spec: Pick<RecurrentSpec, "vocabSize">, seed = 3): number[] {
  return Array.from({ length: count }, (_, index) => (index * 7919 + seed) % spec.vocabSize);
}

async function reference(spec: RecurrentSpec, weights: RunnerOptions["weights"]): Promise<RecurrentRunner> {
  return openReferenceRecurrent(spec, { spec, weights, weightFormat: "f32" });
}

async function all(runner: Runner, ids: readonly number[]): Promise<Float32Array> {
  const logits = await runner.append(ids, { logits: "all" });
  assert.ok(logits !== undefined);
  return logits;
}

async function inParts(runner: Runner, ids: readonly number[], size: number): Promise<number[]> {
  const rows: number[] = [];
  for (let start = 0; start < ids.length; start += size) rows.push(...(await all(runner, ids.slice(start, start + size))));
  return rows;
}

function f16Tensor(shape: readonly number[], values: Float64Array): ByteTensor {
  const halves = Uint16Array.from(values, encodeF16);
  return { format: "f16", shape, bytes: new Uint8Array(halves.buffer) };
}

function argmax(values: Float32Array): number {
  return values.indexOf(Math.max(...values));
}

async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => EngineError.is(error, code) && error.remedy !== "");
}
