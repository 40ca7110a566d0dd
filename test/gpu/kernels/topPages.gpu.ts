/** Decoding by top pages: the choice against the plain loops, exactly; what is read by it against the reference runner. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { DecoderSpec, Runner } from "../../../engine/api.ts";
import { PAGE_TOKENS } from "../../../engine/attention/api.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { bestPages, pageBounds, pageScores } from "../../../engine/attention/patterns/quest.ts";
import { openRunnerOn } from "../../../engine/backends/wgsl.ts";
import type { GpuDecoderOptions } from "../../../engine/backends/wgsl/decoderRunner.ts";
import { openReadback, storageBuffer } from "../../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../../engine/gpu/dispatch.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { kvPut } from "../../../engine/kernels/kv_put.ts";
import { openPageOps } from "../../../engine/kernels/pageOps.ts";
import { roundRow, rowWords } from "../../../engine/kv-cache/format.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { openLayer } from "../../support/attendingLayer.ts";
import { assertClose, download, numbers, upload } from "../../support/gpuArrays.ts";
import { randomModel } from "../../support/goldenModels.ts";
import { requireDevice } from "../../support/requireDevice.ts";

/** Three layers of f32 sums in another order. */
const TOLERANCE = 2e-4;

let gpu: EngineDevice;
let shaders: ShaderCache;
let recorder: Recorder;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
  recorder = openRecorder(gpu);
});
after(() => gpu.destroy());

async function downloadWords(buffer: GPUBuffer, count: number): Promise<Uint32Array> {
  const readback = openReadback(gpu);
  const words = new Uint32Array(await readback.read(buffer, 0, count * 4));
  readback.destroy();
  return words;
}

/** Sums and products of these are exact in f32, so that equal bounds are equal on the device too. */
function exact(name: string, count: number, steps = 8): Float32Array<ArrayBuffer> {
  return numbers(name, count).map((value) => Math.round(value * steps) / steps);
}

describe("the choice of pages", () => {
  /** Lists of each kv head as the device writes them, checked for lying in the right slab. */
  async function chosen(scores: readonly Float32Array[], count: number, borders: readonly number[]): Promise<number[][]> {
    const { spec } = randomModel({ kvHeadCount: scores.length, headCount: scores.length });
    const ops = await openPageOps(spec, shaders, recorder, { slopes: storageBuffer(gpu, "slopes", 16), keys: "f32" });
    const pages = scores[0].length;
    const scoreStride = pages + 3;
    const table = new Float32Array(scores.length * scoreStride);
    // The device has no infinity.
    for (const [head, row] of scores.entries())
      table.set(
        row.map((score) => Math.max(score, -3e38)),
        head * scoreStride,
      );
    const slabs = borders.length - 1;
    const tablesAt = 5 + borders.length;
    const pairsAt = tablesAt + 2 * slabs * scores.length;
    const words = new Uint32Array(pairsAt + 2 * scores.length * count);
    words.set(borders, 5);
    const lists = upload(gpu, words);
    const offsets = { bordersAt: 5, tablesAt, pairsAt };
    ops.selectPages(upload(gpu, table), lists, offsets, { pages, count, scoreStride, slabs });
    await recorder.finish();
    const written = await downloadWords(lists, words.length);
    return scores.map((_, head) => {
      const list: number[] = [];
      for (let slab = 0; slab < slabs; slab++) {
        const at = tablesAt + 2 * (slab * scores.length + head);
        for (let pair = written[at]; pair < written[at] + written[at + 1]; pair++) {
          const [page, place] = written.subarray(pairsAt + 2 * pair, pairsAt + 2 * pair + 2);
          assert.equal(place, page - borders[slab], "place in the slab");
          assert(page >= borders[slab] && page < borders[slab + 1], "slab of the page");
          assert.equal(pair, head * count + list.length, "slabs follow each other in one list");
          list.push(page);
        }
      }
      return list;
    });
  }

  async function check(
    scores: readonly Float32Array[],
    count: number,
    borders: readonly number[] = [0, scores[0].length],
  ): Promise<void> {
    const expected = scores.map((row) => bestPages([row], count, row.length * 16 - 1));
    assert.deepEqual(await chosen(scores, count, borders), expected, `${count} of ${scores[0].length}`);
  }

  it("is that of the plain loops, for counts from one to all", async () => {
    for (const [pages, count] of [
      [1, 1],
      [2, 1],
      [2, 2],
      [17, 5],
      [255, 64],
      [256, 255],
      [257, 3],
      [1000, 1],
      [1000, 999],
      [4097, 64],
    ]) {
      await check([numbers(`scores ${pages}`, pages).map((score) => 40 * score), numbers("others", pages)], count);
    }
  });

  it("takes the first of equal pages, also where all are equal, and zeros of both signs are equal", async () => {
    await check([exact("few values", 900, 2), new Float32Array(900), new Float32Array(900).fill(-5)], 40);
    await check([exact("two values", 300, 1).map((score) => (score === 0 ? -0 : score)), exact("one", 300, 1)], 137);
    await check([Float32Array.from({ length: 600 }, (_, page) => (page % 2 === 0 ? 0 : -0))], 300);
  });

  it("never takes a page of which nothing is seen, and takes fewer where there are no more", async () => {
    const scores = numbers("seen", 500).map((score, page) => (page % 7 === 0 ? score : -Infinity));
    await check([scores, new Float32Array(500).fill(-Infinity)], 30);
    await check([scores], 200);
  });

  it("is made among all slabs, and cut by them", async () => {
    const scores = [exact("slabs", 1000, 3), numbers("slabs too", 1000)];
    for (const count of [1, 10, 500]) await check(scores, count, [0, 16, 32, 480, 496, 1024]);
    // A slab that nothing is chosen of.
    const last = Float32Array.from({ length: 512 }, (_, page) => page);
    await check([last], 20, [0, 256, 512]);
  });

  it("is made among 1,048,576 keys, by their bounds", async () => {
    const [pages, headDim, kvHeadCount, headCount] = [65536, 4, 2, 4];
    const { spec } = randomModel({ headDim, kvHeadCount, headCount, attentionScale: 0.5, layerCount: 1 });
    const ops = await openPageOps(spec, shaders, recorder, { slopes: storageBuffer(gpu, "slopes", 16), keys: "f32" });
    const queries = exact("query", headCount * headDim);
    const [a, b] = [exact("a", kvHeadCount * pages * headDim, 64), exact("b", kvHeadCount * pages * headDim, 64)];
    const at = (head: number, page: number, channel: number): number => (head * pages + page) * headDim + channel;
    // [G, 2, pages] of vec4: a head has one.
    const bounds = new Float32Array(kvHeadCount * 2 * pages * headDim);
    const groups = Array.from({ length: kvHeadCount }, (_, head) => {
      const least = new Float64Array(pages * headDim);
      const most = new Float64Array(pages * headDim);
      for (let page = 0; page < pages; page++) {
        for (let channel = 0; channel < headDim; channel++) {
          const index = at(head, page, channel);
          least[page * headDim + channel] = Math.min(a[index], b[index]);
          most[page * headDim + channel] = Math.max(a[index], b[index]);
        }
      }
      bounds.set(least, head * 2 * pages * headDim);
      bounds.set(most, (head * 2 + 1) * pages * headDim);
      return [0, 1].map((member) => {
        const first = (2 * head + member) * headDim;
        return pageScores(queries.subarray(first, first + headDim), { least, most }).map((score) => score / 2);
      });
    });
    const scores = storageBuffer(gpu, "scores", kvHeadCount * pages * 4);
    const count = 1024;
    const words = new Uint32Array(2 + 2 * kvHeadCount + 2 * kvHeadCount * count);
    words[1] = pages;
    const lists = upload(gpu, words);
    const asked = { firstPage: 0, pages, firstKey: 0, keyEnd: 16 * pages, position: 16 * pages - 1, merge: false };
    ops.scorePages(
      { rows: upload(gpu, queries), isProjection: false },
      { bounds: upload(gpu, bounds), room: pages },
      scores,
      pages,
      asked,
    );
    const pairsAt = 2 + 2 * kvHeadCount;
    ops.selectPages(scores, lists, { bordersAt: 0, tablesAt: 2, pairsAt }, { pages, count, scoreStride: pages, slabs: 1 });
    await recorder.finish();
    const written = await downloadWords(lists, words.length);
    for (const [head, group] of groups.entries()) {
      const list = Array.from({ length: count }, (_, index) => written[pairsAt + 2 * (head * count + index)]);
      assert.deepEqual(list, bestPages(group, count, 16 * pages - 1));
      assert.deepEqual([...written.subarray(2 + 2 * head, 4 + 2 * head)], [head * count, count]);
    }
  });
});

describe("bounds of pages", () => {
  it("are those of the keys as they are cached, in every format, also of a page that is not full", async () => {
    for (const format of ["f32", "f16", "q8", "q4"] as const) {
      const { spec } = randomModel({ headDim: 64, kvHeadCount: 2, headCount: 4 });
      const [tokens, headDim, kvHeads] = [300, spec.headDim, spec.kvHeadCount];
      const ops = await openPageOps(spec, shaders, recorder, { slopes: storageBuffer(gpu, "slopes", 16), keys: format });
      const ROW = rowWords(format, headDim);
      const put = await shaders.program(kvPut(format), { HEAD_DIM4: headDim / 4, PAGE_TOKENS, ROW });
      const row = (spec.headCount + kvHeads) * headDim;
      const rotated = numbers(`keys ${format}`, tokens * row);
      const keys = storageBuffer(gpu, "keys", 2 * PAGE_TOKENS * kvHeads * ROW * 4);
      const room = 32;
      const bounds = storageBuffer(gpu, "bounds", kvHeads * 2 * headDim * room * 4);
      const slots = Uint32Array.from({ length: tokens }, (_, token) => token);
      const params = { kvHeads, row4: row / 4, start4: (spec.headCount * headDim) / 4, slotsAt: 0 };
      const buffers = { source: upload(gpu, rotated), lists: upload(gpu, slots), cache: keys };
      recorder.run(put, params, buffers, [1, tokens]);
      // In two pieces, the second of which begins in the middle of a page.
      ops.boundPages(keys, { bounds, room }, 0, 150);
      ops.boundPages(keys, { bounds, room }, 9, tokens);
      await recorder.finish();
      const written = await download(gpu, bounds, kvHeads * 2 * headDim * room);
      const cached = new Float32Array(tokens * kvHeads * headDim);
      for (let token = 0; token < tokens; token++) {
        for (let head = 0; head < kvHeads; head++) {
          const from = token * row + (spec.headCount + head) * headDim;
          cached.set(roundRow(format, rotated.subarray(from, from + headDim)), (token * kvHeads + head) * headDim);
        }
      }
      for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
        const expected = pageBounds(cached, { tokens, kvHeads, kvHead, headDim });
        for (const [which, table] of [expected.least, expected.most].entries()) {
          const found = table.map((_, index) => {
            const [page, channel] = [Math.floor(index / headDim), index % headDim];
            const column = (kvHead * 2 + which) * (headDim / 4) + Math.floor(channel / 4);
            return written[(column * room + page) * 4 + (channel % 4)];
          });
          // The device may round a code or a scale of 8 or 4 bits to its other neighbour.
          assertClose(found, table, { f32: 0, f16: 0, q8: 8e-3, q4: 0.15 }[format], `${format} ${which} ${kvHead}`);
        }
      }
    }
  });
});

describe("decoding by top pages", () => {
  const ids = (count: number, vocabSize: number, from = 0): number[] =>
    Array.from({ length: count }, (_, index) => ((from + index) * 7919 + 3) % vocabSize);

  async function logitsOf(runner: Runner, given: readonly number[]): Promise<Float32Array> {
    const logits = await runner.append(given, { logits: "all" });
    assert(logits !== undefined);
    return logits;
  }

  /** A prompt and decoded tokens by both, then a cut, other tokens, and decoded ones again; returns the last logits. */
  async function compare(
    attention: string,
    change: Partial<DecoderSpec>,
    options: Partial<GpuDecoderOptions> = {},
    prompt = 300,
  ) {
    const model = { ...randomModel({ layerCount: 3, ...change }), weightFormat: "f32" as const };
    const { vocabSize } = model.spec;
    const choice = { ...model, attention: parseAttention(attention) };
    const runner = await openRunnerOn(gpu, shaders, { ...choice, ...options });
    const reference = await openReferenceRunner(choice);
    await runner.append(ids(prompt, vocabSize));
    await reference.append(ids(prompt, vocabSize));
    const decode = async (what: string): Promise<Float32Array> => {
      let last = new Float32Array(0);
      for (const id of ids(20, vocabSize, 5)) {
        last = (await runner.append([id], { logits: "last" })) ?? last;
        assertClose(last, (await reference.append([id], { logits: "last" })) ?? [], TOLERANCE, what);
      }
      return last;
    };
    await decode("decoded");
    for (const each of [runner, reference]) {
      assert.equal(each.truncate(prompt - 40), Math.floor((prompt - 40) / 16) * 16);
      await each.append(ids(70, vocabSize, 1000));
    }
    return decode("decoded behind a cut");
  }

  it("equals the reference with grouped heads, and differs from reading everything", async () => {
    const last = await compare("top-pages:3", {});
    const whole = await compare("top-pages:99", {});
    assert(last.some((value, index) => Math.abs(value - whole[index]) > 10 * TOLERANCE));
  });

  it("equals the reference with one key head for all, shifted keys and a slab per page", async () => {
    await compare("top-pages:5", { kvHeadCount: 1, keyShift: true, qkNorm: true }, { slabPages: 1 }, 700);
  });

  it("equals the reference with linear biases, a softcap and a key head each", async () => {
    await compare("top-pages:4", {
      ...{ rotaryDim: 0, alibi: { maxBias: 8 }, headCount: 3, kvHeadCount: 3, attentionSoftcap: 3 },
      layers: Array<DecoderSpec["layers"][number]>(3).fill({ window: undefined, rotation: "none" }),
    });
  });

  it("equals the reference where keys and values are cached in halves", async () => {
    const kv = { keys: "f16", values: "f16" } as const;
    const model = {
      ...randomModel({ layerCount: 2 }),
      weightFormat: "f32" as const,
      kv,
      attention: parseAttention("top-pages:3"),
    };
    const { vocabSize } = model.spec;
    const [runner, reference] = [await openRunnerOn(gpu, shaders, model), await openReferenceRunner(model)];
    for (const each of [runner, reference]) await each.append(ids(300, vocabSize));
    // A number between two halves may go to the other one.
    for (const id of ids(9, vocabSize))
      assertClose(await logitsOf(runner, [id]), await logitsOf(reference, [id]), 2e-3, "decoded");
  });

  it("leaves the model's windows as they are", async () => {
    await compare("top-pages:2", {
      layers: [
        { window: 40, rotation: "main" },
        { window: undefined, rotation: "main" },
        { window: 70, rotation: "main" },
      ],
    });
  });

  it("stands beside what the prompt is read with", async () => {
    await compare("window:30+top-pages:3", {});
    await compare("a-shape:4,40+top-pages:3", {});
    await compare("dense+top-pages:3", {});
  });

  it("takes the best of the bands of re-indexed positions", async () => {
    const model = { ...randomModel({ layerCount: 2 }), weightFormat: "f32" as const };
    const { vocabSize } = model.spec;
    for (const scaling of [
      { kind: "self_extend", group: 4, window: 64 },
      { kind: "dual_chunk", chunkSize: 128, localSize: 32 },
    ] as const) {
      const choice = { ...model, attention: parseAttention("top-pages:4") };
      const runner = await openRunnerOn(gpu, shaders, { ...choice, slabPages: 1 });
      const reference = await openReferenceRunner(choice);
      for (const each of [runner, reference]) {
        each.setPositions(positionPlan(scaling, model.spec, 500));
        await each.append(ids(300, vocabSize));
      }
      for (const id of ids(5, vocabSize)) {
        assertClose(await logitsOf(runner, [id]), await logitsOf(reference, [id]), TOLERANCE, scaling.kind);
      }
    }
  });

  it("with as many pages as there are is flash, to the last bit", async () => {
    const model = { ...randomModel({ layerCount: 2 }), weightFormat: "f32" as const };
    const runs = ["top-pages:20", "flash"].map(async (attention) => {
      const runner = await openRunnerOn(gpu, shaders, { ...model, attention: parseAttention(attention) });
      await runner.append(ids(290, model.spec.vocabSize));
      return { logits: await logitsOf(runner, [7]), kept: runner.keptMass };
    });
    const [paged, whole] = await Promise.all(runs);
    assert.deepEqual(paged, whole);
    assert.equal(paged.kept, undefined);
  });

  it("goes on from pages that were taken from elsewhere, and from keys that were moved to other positions", async () => {
    const model = { ...randomModel({ layerCount: 2, keyShift: true }), weightFormat: "f32" as const };
    const { spec } = model;
    const choice = { ...model, attention: parseAttention("top-pages:3") };
    const open = (): Promise<Runner> => openRunnerOn(gpu, shaders, { ...choice, slabPages: 1 });
    const [runner, other] = [await open(), await open()];
    await runner.append(ids(600, spec.vocabSize));
    const pages = (await runner.pages?.export(0, 2)) ?? [];
    await other.append(ids(600, spec.vocabSize, 50));
    // Bounds of these tokens are there, and of other keys.
    other.truncate(0);
    await other.pages?.import(
      pages.filter((page) => page !== undefined),
      0,
    );
    runner.truncate(512);
    for (const id of ids(3, spec.vocabSize)) {
      assertClose(await logitsOf(other, [id]), await logitsOf(runner, [id]), 1e-5, "behind restored pages");
    }
    const plan = positionPlan({ kind: "linear", factor: 4 }, spec, 500);
    const reference = await openReferenceRunner(choice);
    const moved = await open();
    for (const each of [moved, reference]) {
      await each.append(ids(300, spec.vocabSize));
      assert(await each.repositionCache(plan));
    }
    for (const id of ids(3, spec.vocabSize)) {
      assertClose(await logitsOf(moved, [id]), await logitsOf(reference, [id]), TOLERANCE, "moved keys");
    }
  });

  it("says how much of the attention the pages keep, measured on the first decoded token", async () => {
    const model = { ...randomModel({ layerCount: 3 }), weightFormat: "f32" as const, attention: parseAttention("top-pages:2") };
    const runner = await openRunnerOn(gpu, shaders, model);
    const reference = await openReferenceRunner(model);
    for (const each of [runner, reference]) {
      await each.append(ids(300, model.spec.vocabSize));
      assert.equal(each.keptMass, undefined);
      await each.append([7]);
      await each.sample({ temperature: 0, topP: 1, seed: 0 });
    }
    const { keptMass: kept } = runner;
    const { keptMass: expected } = reference;
    assert(kept !== undefined && expected !== undefined && kept.mean < 1);
    assertClose([kept.mean, kept.least], [expected.mean, expected.least], 1e-5, "shares");
    // Two of three layers choose.
    assert.deepEqual([kept.queries, kept.heads], [1, 2 * model.spec.headCount]);
    for (const id of ids(9, model.spec.vocabSize)) {
      await runner.append([id]);
      await runner.sample({ temperature: 0, topP: 1, seed: 0 });
    }
    assert.equal(runner.keptMass?.queries, 1);
    await runner.append([1, 2]);
    assert.equal(runner.keptMass, undefined, "another prompt");
  });

  it("maps of attention show what was read: a token's row sums to one over its pages", async () => {
    const model = { ...randomModel({ layerCount: 3 }), weightFormat: "f32" as const };
    const { spec } = model;
    for (const scaling of [undefined, { kind: "self_extend", group: 4, window: 64 } as const]) {
      const choice = { ...model, attention: parseAttention("top-pages:3") };
      const runner = await openRunnerOn(gpu, shaders, { ...choice, slabPages: 1 });
      const reference = await openReferenceRunner(choice);
      for (const each of [runner, reference]) {
        if (scaling !== undefined) each.setPositions(positionPlan(scaling, spec, 500));
        await each.append(ids(300, spec.vocabSize));
        for (const id of ids(12, spec.vocabSize, 9)) await each.append([id]);
        // Another prompt behind it, and another answer.
        await each.append(ids(20, spec.vocabSize, 40));
        for (const id of ids(3, spec.vocabSize, 2)) await each.append([id]);
      }
      const rows = Uint32Array.from({ length: 36 }, (_, row) => 299 + row);
      const columns = Uint32Array.from({ length: 22 }, (_, column) => Math.min(334, 16 * column));
      for (const [layer, head] of [
        [2, 1],
        [1, 3],
        ["mean", "mean"],
      ] as const) {
        const request = { layer, head, queryEdges: rows, keyEdges: columns };
        const pooled = await runner.pool(request);
        assertClose(pooled.cells, (await reference.pool(request)).cells, 1e-5, `layer ${layer}`);
        for (let row = 0; row < pooled.rows; row++) {
          const mass = pooled.cells.subarray(row * pooled.columns, (row + 1) * pooled.columns);
          assertClose([mass.reduce((sum, cell) => sum + cell, 0)], [1], 1e-4, `row ${row}`);
        }
      }
      const [facts, expected] = [await runner.headFacts?.(335), await reference.headFacts?.(335)];
      assert(facts !== undefined && expected !== undefined);
      for (const [index, head] of facts.heads.entries()) {
        const known = expected.heads[index];
        assertClose([head.sinkMass, head.entropy], [known.sinkMass, known.entropy], 1e-4, `head ${head.head} of ${head.layer}`);
        assertClose(head.distances, known.distances, 1e-5, "distances");
      }
    }
  });

  it("is refused where no layer would choose", async () => {
    const window = { window: 40, rotation: "main" as const };
    const windowed = { ...randomModel({ layers: [window, window] }), weightFormat: "f32" as const };
    await assert.rejects(openRunnerOn(gpu, shaders, { ...windowed, attention: parseAttention("top-pages:2") }), {
      code: "bad-argument",
    });
    const runner = await openRunnerOn(gpu, shaders, windowed);
    assert.throws(() => runner.setAttention(parseAttention("top-pages:2")), { code: "bad-argument" });
  });

  it("finds a key far away that a window does not see", async () => {
    const layers = [{ window: undefined, rotation: "none" as const }];
    const { spec } = randomModel({ headDim: 16, layerCount: 1, rotaryDim: 0, layers });
    const { headCount: H, kvHeadCount: G, headDim: D } = spec;
    const [tokens, planted] = [700, 37];
    const row = (H + 2 * G) * D;
    const qkv = numbers("haystack", tokens * row);
    const query = numbers("needle", D);
    const last = (tokens - 1) * row;
    for (let head = 0; head < H; head++) qkv.set(query, last + head * D);
    for (let head = 0; head < G; head++) {
      qkv.set(
        query.map((value) => 12 * value),
        planted * row + (H + head) * D,
      );
      qkv.fill(5, planted * row + (H + G + head) * D, planted * row + (H + G + head + 1) * D);
    }
    const attended = async (attention: string): Promise<Float32Array> => {
      const choice = parseAttention(attention);
      const layer = await openLayer(gpu, shaders, recorder, spec, choice);
      await layer.attend(qkv.slice(0, last), 0, tokens - 1);
      return layer.attend(qkv.slice(last), tokens - 1, 1);
    };
    const [whole, paged, windowed] = [await attended("flash"), await attended("top-pages:2"), await attended("window:64")];
    assertClose(paged, new Float32Array(H * D).fill(5), 0.05, "the planted value");
    assertClose(paged, whole, 0.05, "all keys");
    assert(windowed.every((value) => value < 1));
  });
});
