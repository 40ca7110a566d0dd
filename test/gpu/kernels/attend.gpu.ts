/** Attention over pages: shapes, bands, patterns and cache formats against the plain loops, with a slab per page and chunks of all sizes. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Band, DecoderSpec, PositionPlan } from "../../../engine/api.ts";
import type { KvFormat, Pattern } from "../../../engine/attention/api.ts";
import { attend, cacheChunk } from "../../../engine/attention/attend.ts";
import { openChunkPositions } from "../../../engine/attention/chunkPositions.ts";
import { patternOf } from "../../../engine/attention/patterns/patternOf.ts";
import { headsPattern } from "../../../engine/attention/patterns/sets.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { storageBuffer, uploadedBuffer } from "../../../engine/gpu/buffers.ts";
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
import { attention, attentionRow } from "../../../engine/reference/attend.ts";
import { alloc32 } from "../../../engine/reference/ops.ts";
import { assertClose, download, numbers, upload } from "../../support/gpuArrays.ts";
import { randomModel } from "../../support/goldenModels.ts";
import { requireDevice } from "../../support/requireDevice.ts";

/** f32 sums of up to a few hundred products of numbers near one, in another order than the reference's. */
const TOLERANCE = 2e-5;
/** Chunks that end in the middle, at and behind borders of blocks, pages and slabs, with single tokens between. */
const CHUNKS = [1, 3, 60, 1, 191, 1, 300, 1, 62] as const;
const TOTAL = CHUNKS.reduce<number>((sum, tokens) => sum + tokens, 0);

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
  /** What is special. */
  change?: Partial<DecoderSpec>;
  bands?: readonly Pick<Band, "keys">[];
  pattern?: Pattern;
  formats?: Readonly<Record<"keys" | "values", KvFormat>>;
}

const causal: Pick<Band, "keys"> = { keys: (position) => [0, position + 1] };

/** Outputs [T, H, D] of the kernels and of the plain loops, and each query's share of attention on its own key by both. */
async function bothWays(given: Case) {
  const { headDim, headCount, kvHeadCount, change = {}, bands: keysOf = [causal], pattern, formats = F32_CACHE } = given;
  const layers = [{ window: undefined, rotation: "none" as const }];
  const { spec } = randomModel({ headDim, headCount, kvHeadCount, layers, layerCount: 1, rotaryDim: 0, ...change });
  const same = (position: number): number => position;
  const bands = keysOf.map((band) => ({ ...band, queryPosition: same, copy: 0 }));
  const table = { invFreq: new Float64Array(0), attentionFactor: 1, key: "test" };
  const plan: PositionPlan = { key: "test", table, bands, copies: [same], queryScale: () => 1, everyLayer: true };
  const { row, qkv, part } = rows(spec);

  const slopes = spec.alibi === undefined ? new Float32Array(headCount) : alibiSlopes(headCount, spec.alibi.maxBias);
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const linear = await openLinear([], { gpu, shaders, recorder, placeholder, variants: plainVariants, maxTokens: 1 });
  const scratch = { placeholder, slopes: uploadedBuffer(gpu, "slopes", Float32Array.from(slopes)), formats };
  const op = await openOperations(spec, linear, shaders, recorder, scratch);
  const sizes = { capacityTokens: TOTAL, chunkTokens: 512, maxBindingBytes: gpu.maxBufferBytes, slabPages: 1 };
  const cache = openPagedCache({ spec, gpu, formats, choice: WHOLE, ...sizes });
  await cache.reserve(TOTAL);
  const positions = openChunkPositions(spec, gpu, cache, 512);
  positions.setPlan(plan);
  const activations = openAttentionActivations(spec, gpu, bands.length, 512);
  const width = headCount * headDim;
  const out = storageBuffer(gpu, "out", TOTAL * width * 4);

  const outputs = new Float32Array(TOTAL * width);
  const sums = new Float32Array(TOTAL * headCount);
  let start = 0;
  for (const tokens of CHUNKS) {
    const chunk = { qkv: upload(gpu, qkv.slice(start * row, (start + tokens) * row)), rotated: activations.rotated };
    positions.write(start, tokens, pattern);
    recorder.forget();
    const span = { start, tokens };
    cacheChunk(op, chunk, cache.layer(0), positions.layer(0), span);
    const into = { out, lse: activations.lse, parts: activations.parts };
    const lse = attend(op, chunk, cache.layer(0), positions.layer(0), into, span);
    await recorder.finish();
    outputs.set(await download(gpu, out, tokens * width), start * width);
    sums.set(await download(gpu, lse, tokens * headCount), start * headCount);
    cache.advance(tokens);
    start += tokens;
  }

  const rounded = (which: "keys" | "values", heads: Float32Array): Float32Array => {
    const cached = new Float32Array(heads.length);
    for (let at = 0; at < heads.length; at += headDim) cached.set(roundRow(formats[which], heads.subarray(at, at + headDim)), at);
    return cached;
  };
  const keys = rounded("keys", part(kvHeadCount, headCount));
  const scored = { queries: bands.map(() => part(headCount, 0)), keys: [keys], bands, patternAt: () => pattern };
  const expected = attention(alloc32, scored, rounded("values", part(kvHeadCount, headCount + kvHeadCount)), spec, 0);
  const shares = Float32Array.from(sums, (sum, index) => {
    const token = Math.floor(index / headCount);
    return Math.exp(ownScore(scored, spec, token, index % headCount) - sum);
  });
  const expectedShares = shares.map((_, index) => {
    const token = Math.floor(index / headCount);
    return attentionRow(scored, spec, token, index % headCount, token)[token];
  });
  return { outputs, expected, shares, expectedShares };
}

async function check(given: Case, tolerance = TOLERANCE): Promise<void> {
  const { outputs, expected, shares, expectedShares } = await bothWays(given);
  assertClose(outputs, expected, tolerance, "outputs");
  // The log-sum-exp is what the tap divides by: exp(score - lse) must be the reference's share of a query's own key.
  assertClose(shares, expectedShares, tolerance, "denominators");
}

describe("attention over pages equals the plain loops", () => {
  const shapes: [what: string, shape: Case][] = [
    ["small heads", { headDim: 8, headCount: 4, kvHeadCount: 2 }],
    ["one key head", { headDim: 64, headCount: 4, kvHeadCount: 1 }],
    ["a key head each", { headDim: 80, headCount: 3, kvHeadCount: 3 }],
    ["three to one", { headDim: 96, headCount: 6, kvHeadCount: 2 }],
    ["128 channels", { headDim: 128, headCount: 2, kvHeadCount: 1 }],
    ["256 channels", { headDim: 256, headCount: 2, kvHeadCount: 1 }],
    ["a softcap", { headDim: 16, headCount: 4, kvHeadCount: 2, change: { attentionSoftcap: 2, attentionScale: 0.4 } }],
    ["ALiBi of six heads", { headDim: 16, headCount: 6, kvHeadCount: 6, change: { alibi: { maxBias: 8 } } }],
    ["a window", { headDim: 16, headCount: 4, kvHeadCount: 2, bands: [{ keys: (at) => [Math.max(0, at - 20), at + 1] }] }],
    ["a window of one key", { headDim: 16, headCount: 4, kvHeadCount: 2, bands: [{ keys: (at) => [at, at + 1] }] }],
  ];
  for (const [what, shape] of shapes) it(what, () => check(shape));

  it("bands, one of them without keys for the first queries", async () => {
    const bands: Pick<Band, "keys">[] = [
      { keys: (at) => [Math.max(0, at - 90), at + 1] },
      { keys: (at) => [0, Math.max(0, at - 90)] },
    ];
    await check({ headDim: 8, headCount: 4, kvHeadCount: 2, bands });
  });
});

describe("patterns equal the masked plain loops", () => {
  const small = { headDim: 8, headCount: 4, kvHeadCount: 2 };
  for (const text of ["window:70", "longformer:70,5", "bigbird:2,1,1", "strided:37", "fixed:50,3", "a-shape:5,90"]) {
    it(text, () => {
      const pattern = patternOf(parseAttention(text).policy);
      assert(pattern !== undefined);
      return check({ ...small, pattern });
    });
  }

  it("a pattern for each head: dense, sinks and a window, columns and distances, blocks", () => {
    const lists = Array.from({ length: 10 }, (_, block) => (block < 2 ? [block] : [0, block - 1, block]));
    const pattern = headsPattern([
      { shape: "dense" },
      { shape: "a-shape", sinks: 3, window: 40 },
      { shape: "vertical-slash", columns: [0, 7, 130, 400], distances: [0, 1, 2, 64, 300] },
      { shape: "blocks", firstQueryBlock: 0, lists },
    ]);
    return check({ ...small, pattern });
  });

  it("a pattern beside a window of the model, and with heads of 256 channels that three workgroups share", () => {
    const pattern = patternOf(parseAttention("longformer:30,4").policy);
    assert(pattern !== undefined);
    const bands = [{ keys: (at: number) => [Math.max(0, at - 100), at + 1] as const }];
    return check({ headDim: 256, headCount: 3, kvHeadCount: 1, pattern, bands });
  });
});

describe("cache formats", () => {
  const pairs: [keys: KvFormat, values: KvFormat][] = [
    ["f16", "f16"],
    ["q8", "q8"],
    ["q4", "q4"],
    ["q8", "f32"],
    ["f32", "q4"],
  ];
  for (const [keys, values] of pairs) {
    // The device may round to either neighbour where a scale lies between two halves: one code more or less of a few numbers.
    const tolerance = keys === "q4" || values === "q4" ? 5e-3 : keys === "q8" || values === "q8" ? 1e-3 : 1e-4;
    it(`${keys} keys and ${values} values are rounded as format.ts says, also in heads that are no whole groups`, async () => {
      await check({ headDim: 64, headCount: 2, kvHeadCount: 1, formats: { keys, values } }, tolerance);
      await check({ headDim: 80, headCount: 2, kvHeadCount: 2, formats: { keys, values } }, tolerance);
    });
  }
});

/** A projection [T, H + 2G, D], and its heads from an offset on, by themselves. */
function rows({ headCount, kvHeadCount, headDim }: DecoderSpec) {
  const row = (headCount + 2 * kvHeadCount) * headDim;
  const qkv = numbers("qkv", TOTAL * row).map((value) => 2 * value);
  const part = (heads: number, offset: number): Float32Array => {
    const width = heads * headDim;
    return Float32Array.from(
      { length: TOTAL * width },
      (_, i) => qkv[Math.floor(i / width) * row + offset * headDim + (i % width)],
    );
  };
  return { row, qkv, part };
}

/** Score of a query on its own key, where ALiBi takes nothing. */
function ownScore(
  scored: { queries: readonly Float32Array[]; keys: readonly Float32Array[] },
  spec: DecoderSpec,
  token: number,
  head: number,
): number {
  const { headCount, kvHeadCount, headDim, attentionScale, attentionSoftcap: cap } = spec;
  const query = (token * headCount + head) * headDim;
  const key = (token * kvHeadCount + Math.floor((head * kvHeadCount) / headCount)) * headDim;
  let score = 0;
  for (let i = 0; i < headDim; i++) score += scored.queries[0][query + i] * scored.keys[0][key + i] * attentionScale;
  return cap === undefined ? score : cap * Math.tanh(score / cap);
}
