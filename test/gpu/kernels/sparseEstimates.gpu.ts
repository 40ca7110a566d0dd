/** What keys are chosen by and kept shares are measured with, against the plain loops: heads in groups, windows, bands, slabs, formats. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Band, DecoderSpec, PositionPlan } from "../../../engine/api.ts";
import type { KvFormats, Pattern } from "../../../engine/attention/api.ts";
import { cacheChunk } from "../../../engine/attention/attend.ts";
import { openChunkPositions } from "../../../engine/attention/chunkPositions.ts";
import { keptShare } from "../../../engine/attention/patterns/keptMass.ts";
import { blockMeans, blockScores, massSums } from "../../../engine/attention/patterns/minference.ts";
import { patternOf } from "../../../engine/attention/patterns/patternOf.ts";
import { headsPattern } from "../../../engine/attention/patterns/sets.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { openEstimator } from "../../../engine/attention/sparse/estimate.ts";
import { openScoring, type LayerOfChunk } from "../../../engine/attention/sparse/scoring.ts";
import { headSteps, SHAPES, STEPS } from "../../../engine/attention/sparse/shapeSteps.ts";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { openReadback, storageBuffer, uploadedBuffer } from "../../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../../engine/gpu/dispatch.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { openLinear } from "../../../engine/kernels/linear.ts";
import { openOperations } from "../../../engine/kernels/ops.ts";
import { plainVariants } from "../../../engine/kernels/variants.ts";
import { roundRow } from "../../../engine/kv-cache/format.ts";
import { openPagedCache } from "../../../engine/kv-cache/pages.ts";
import { openAttentionActivations } from "../../../engine/models/decoder.ts";
import { alibiSlopes } from "../../../engine/position/alibi.ts";
import { attentionRow } from "../../../engine/reference/attend.ts";
import { assertClose, download, numbers, upload } from "../../support/gpuArrays.ts";
import { randomModel } from "../../support/goldenModels.ts";
import { requireDevice } from "../../support/requireDevice.ts";

/** f32 sums of up to 64 shares, each off by a few roundings of its score. */
const TOLERANCE = 2e-5;
/** The last chunk begins in the middle of a block. */
const CHUNKS = [256, 90, 170] as const;
const TOTAL = CHUNKS.reduce<number>((sum, tokens) => sum + tokens, 0);
const LAST = CHUNKS[CHUNKS.length - 1];

let gpu: EngineDevice;
let shaders: ShaderCache;
let recorder: Recorder;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
  recorder = openRecorder(gpu);
});
after(() => gpu.destroy());

interface Case {
  headDim: number;
  headCount: number;
  kvHeadCount: number;
  change?: Partial<DecoderSpec>;
  bands?: readonly Pick<Band, "keys">[];
  formats?: KvFormats;
  /** Bytes of a piece of scores: a few heads at a time. */
  maxBindingBytes?: number;
}

const causal: Pick<Band, "keys"> = { keys: (position) => [0, position + 1] };
const small = { headDim: 8, headCount: 6, kvHeadCount: 2 };

/** A cache of random keys, the last chunk's queries, and the exact weights of its last 64 queries by the plain loops. */
async function prompt(given: Case) {
  const { headDim, headCount, kvHeadCount, change = {}, bands: keysOf = [causal], formats = F32_CACHE } = given;
  const layers = [{ window: undefined, rotation: "none" as const }];
  const { spec } = randomModel({ headDim, headCount, kvHeadCount, layers, layerCount: 1, rotaryDim: 0, ...change });
  const same = (position: number): number => position;
  const bands = keysOf.map((band) => ({ ...band, queryPosition: same, copy: 0 }));
  const table = { invFreq: new Float64Array(0), attentionFactor: 1, key: "test" };
  const plan: PositionPlan = { key: "test", table, bands, copies: [same], queryScale: () => 1, everyLayer: true };
  const row = (headCount + 2 * kvHeadCount) * headDim;
  const qkv = numbers("qkv", TOTAL * row).map((value) => 2 * value);
  const slopes = uploadedBuffer(
    gpu,
    "slopes",
    spec.alibi === undefined ? new Float32Array(headCount) : Float32Array.from(alibiSlopes(headCount, spec.alibi.maxBias)),
  );
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const linear = await openLinear([], { gpu, shaders, recorder, placeholder, variants: plainVariants, maxTokens: 1 });
  const op = await openOperations(spec, linear, shaders, recorder, { placeholder, slopes, formats });
  const sizes = { capacityTokens: TOTAL, chunkTokens: 512, maxBindingBytes: gpu.maxBufferBytes, slabPages: 1 };
  const cache = openPagedCache({ spec, gpu, formats, choice: WHOLE, ...sizes });
  await cache.reserve(TOTAL);
  const positions = openChunkPositions(spec, gpu, cache, 512);
  positions.setPlan(plan);
  const { rotated } = openAttentionActivations(spec, gpu, bands.length, 512);

  let rows = { qkv: placeholder, rotated };
  let start = 0;
  for (const tokens of CHUNKS) {
    rows = { qkv: upload(gpu, qkv.slice(start * row, (start + tokens) * row)), rotated };
    positions.write(start, tokens, undefined);
    recorder.forget();
    cacheChunk(op, rows, cache.layer(0), positions.layer(0), { start, tokens });
    await recorder.finish();
    cache.advance(tokens);
    start += tokens;
  }

  const part = (heads: number, offset: number): Float32Array =>
    Float32Array.from({ length: TOTAL * heads * headDim }, (_, i) => {
      const width = heads * headDim;
      return qkv[Math.floor(i / width) * row + offset * headDim + (i % width)];
    });
  const keys = part(kvHeadCount, headCount);
  for (let at = 0; at < keys.length; at += headDim) keys.set(roundRow(formats.keys, keys.subarray(at, at + headDim)), at);
  const queries = part(headCount, 0);
  const scored = { queries: bands.map(() => queries), keys: [keys], bands };
  const weights = (head: number, position: number): Float64Array => attentionRow(scored, spec, position, head, position);
  const lastRows = Array.from({ length: headCount }, (_, head) =>
    Array.from({ length: 64 }, (__, index) => weights(head, TOTAL - 64 + index)),
  );

  const parts = {
    ...{ spec, gpu, shaders, recorder, cache, slopes, formats, readback: openReadback(gpu) },
    maxBindingBytes: given.maxBindingBytes ?? gpu.maxBufferBytes,
  };
  const source: LayerOfChunk = {
    ...{ layer: 0, rows, positions: positions.layer(0), bands },
    span: { start: TOTAL - LAST, tokens: LAST },
  };
  const scoring = await openScoring(parts);
  return { spec, source, scoring, parts, keys, queries, weights, lastRows };
}

const cases: [what: string, given: Case, tolerance?: number][] = [
  ["three heads to a key head", small],
  ["a few heads at a time", { ...small, maxBindingBytes: 2 * 64 * 576 * 4 }],
  ["a softcap", { ...small, change: { attentionSoftcap: 2, attentionScale: 0.4 } }],
  ["ALiBi", { ...small, change: { alibi: { maxBias: 8 } } }],
  ["a window", { ...small, bands: [{ keys: (at) => [Math.max(0, at - 150), at + 1] }] }],
  [
    "a near and a far band",
    { ...small, bands: [{ keys: (at) => [Math.max(0, at - 90), at + 1] }, { keys: (at) => [0, Math.max(0, at - 90)] }] },
  ],
  [
    "heads of 80 channels, keys of 8 bits",
    { headDim: 80, headCount: 2, kvHeadCount: 1, formats: { keys: "q8", values: "f32" } },
    1e-3,
  ],
];

describe("mass by key and by distance is that of the plain loops", () => {
  for (const [what, given, tolerance = TOLERANCE] of cases) {
    it(what, async () => {
      const { spec, source, scoring, parts, lastRows } = await prompt(given);
      const estimator = await openEstimator(parts, scoring);
      let heads = 0;
      await estimator.masses(source, ({ firstHead, sums }) => {
        assert.equal(firstHead, heads);
        for (const { columns, distances } of sums) {
          const expected = massSums(lastRows[heads]);
          assertClose(columns, expected.columns, tolerance, `keys of head ${heads}`);
          assertClose(distances, expected.distances, tolerance, `distances of head ${heads}`);
          heads++;
        }
      });
      assert.equal(heads, spec.headCount);
    });
  }
});

describe("scores of blocks are those of the plain loops", () => {
  for (const [what, given, tolerance = TOLERANCE] of cases) {
    it(what, async () => {
      const { spec, source, scoring, parts, keys, queries } = await prompt(given);
      const { headCount, kvHeadCount, headDim, attentionScale: scale } = spec;
      const estimator = await openEstimator(parts, scoring);
      const found = await estimator.blocks(source);
      const firstQueryBlock = Math.floor((TOTAL - LAST) / 64);
      for (let head = 0; head < headCount; head++) {
        const { start } = source.span;
        const own = queries.subarray(start * headCount * headDim);
        const kvHead = Math.floor((head * kvHeadCount) / headCount);
        const slope = spec.alibi === undefined ? 0 : alibiSlopes(headCount, spec.alibi.maxBias)[head];
        const expected = blockScores(
          blockMeans(own, { heads: headCount, head, headDim, start }),
          blockMeans(keys, { heads: kvHeadCount, head: kvHead, headDim, start: 0 }),
          { headDim, scale, slope, firstQueryBlock },
        );
        // Blocks in front of every window are not seen; bands here have the same positions, so either shows the same score.
        const { keyBlocks } = expected;
        const scores = expected.scores.map((score, at) => {
          const [from] = source.bands[source.bands.length - 1].keys(
            Math.max(start, (firstQueryBlock + Math.floor(at / keyBlocks)) * 64),
          );
          return at % keyBlocks < Math.floor(from / 64) ? -Infinity : score;
        });
        const { scores: own64, ...facts } = found[head];
        assert.deepEqual(facts, { firstQueryBlock, keyBlocks });
        const isSeen = (score: number): number => (score === -Infinity ? 0 : 1);
        assert.deepEqual(own64.map(isSeen), scores.map(isSeen), `blocks that head ${head} may see`);
        assertClose(
          own64.filter((score) => score > -Infinity),
          scores.filter((score) => score > -Infinity),
          Math.max(tolerance, 1e-4),
          `head ${head}`,
        );
      }
    });
  }
});

describe("mass by the step that first sees it", () => {
  for (const [what, given, tolerance = 1e-4] of cases) {
    it(what, async () => {
      const { source, scoring, parts, lastRows } = await prompt(given);
      const estimator = await openEstimator(parts, scoring);
      const blocks = await estimator.blocks(source);
      await estimator.masses(source, async (piece) => {
        const { firstHead, sums } = piece;
        const steps = sums.map((mass, head) => headSteps(mass, blocks[firstHead + head]));
        const seen = await piece.seenBySteps(steps);
        for (const [index, own] of steps.entries()) {
          const expected = new Float64Array(SHAPES.length * STEPS);
          for (const row of lastRows[firstHead + index]) {
            const position = row.length - 1;
            row.forEach((weight, key) => {
              const distance = position - key;
              const block = (Math.floor(position / 64) - own.firstQueryBlock) * own.keyBlocks + Math.floor(key / 64);
              let doublings = 0;
              while (key >= 64 && distance >= 64 * 2 ** doublings) doublings++;
              const of = [doublings, Math.min(own.columns[key], own.distances[distance]), own.blocks[block]];
              for (const [shape, step] of of.entries()) if (step < STEPS) expected[shape * STEPS + step] += weight;
            });
          }
          assertClose(seen[index], expected, 10 * tolerance, `head ${firstHead + index}`);
        }
      });
    });
  }
});

describe("the share that a pattern keeps", () => {
  const patterns = (): [what: string, pattern: Pattern][] => [
    ...["window:70", "longformer:70,5", "bigbird:2,1,1", "strided:37", "fixed:50,3", "a-shape:5,90"].map(
      (text): [string, Pattern] => {
        const pattern = patternOf(parseAttention(text).policy);
        assert(pattern !== undefined);
        return [text, pattern];
      },
    ),
    [
      "a pattern for each head",
      headsPattern([
        ...[{ shape: "dense" as const }, { shape: "a-shape" as const, sinks: 3, window: 40 }],
        ...[
          { shape: "vertical-slash" as const, columns: [0, 7, 130, 400], distances: [0, 1, 2, 64, 300] },
          { shape: "blocks" as const, firstQueryBlock: 5, lists: Array.from({ length: 4 }, (_, row) => [0, 3 + row, 5 + row]) },
          { shape: "a-shape" as const, sinks: 0, window: 1 },
          { shape: "vertical-slash" as const, columns: [], distances: [] },
        ],
      ]),
    ],
  ];
  for (const [what, given] of cases.filter(([, { headCount }]) => headCount === small.headCount)) {
    it(what, async () => {
      const { spec, source, scoring, weights } = await prompt(given);
      const { headCount } = spec;
      const sampled = [0, 1, 63, 64, 100, LAST - 1];
      const lse = storageBuffer(gpu, "lse", sampled.length * headCount * 4);
      const kept = storageBuffer(gpu, "kept", sampled.length * headCount * 4);
      for (const [name, pattern] of patterns()) {
        const rows = scoring.upload(source, sampled, pattern);
        await scoring.eachPiece(source, rows, (scores, grid) => {
          scoring.op.mass(scores, rows, rows.lists[0], grid, { lse, kept, outAt: grid.firstHead, outStride: headCount });
        });
        await recorder.finish();
        const expected = sampled.flatMap((token) =>
          Array.from({ length: headCount }, (_, head) => {
            const position = source.span.start + token;
            return keptShare(pattern, head, weights(head, position));
          }),
        );
        assertClose(await download(gpu, kept, sampled.length * headCount), expected, TOLERANCE, name);
      }
    });
  }
});
