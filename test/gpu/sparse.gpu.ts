/** Prompts of which keys are left out, chosen by content or not: logits, maps and kept shares against the plain loops. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { DecoderSpec, Runner } from "../../engine/api.ts";
import type { KeptMass } from "../../engine/attention/api.ts";
import { gatherKept, keptShare } from "../../engine/attention/patterns/keptMass.ts";
import { aShape } from "../../engine/attention/patterns/runs.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { openRunnerOn } from "../../engine/backends/wgsl.ts";
import type { GpuDecoderOptions } from "../../engine/backends/wgsl/decoderRunner.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache, type ShaderCache } from "../../engine/gpu/shader.ts";
import { layerBands, positionPlan } from "../../engine/position/bands.ts";
import { sinksPlan } from "../../engine/position/sinks.ts";
import { attentionRow } from "../../engine/reference/attend.ts";
import { referenceCache } from "../../engine/reference/cache.ts";
import { patternChooser } from "../../engine/reference/choosePattern.ts";
import { forward, readDecoder } from "../../engine/reference/decoder.ts";
import { openReferenceRunner } from "../../engine/reference/open.ts";
import { assertClose } from "../support/gpuArrays.ts";
import { mulberry32, randomModel } from "../support/goldenModels.ts";
import { requireDevice } from "../support/requireDevice.ts";

/** Two layers in f32, whose sums are added in another order. */
const TOLERANCE = 2e-4;
/** Not whole chunks, nor whole blocks. */
const TOKENS = 600;

const plain: Partial<DecoderSpec> = { headDim: 8, vocabSize: 40, layerCount: 2, maxPositionEmbeddings: 4096 };
/** Loud scores: attention that is not even. */
const model = { ...randomModel({ ...plain, attentionScale: 1.5 }), weightFormat: "f32" as const };

let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
});

/** Without a period: keys that are equal would be chosen by a rounding. */
const random = mulberry32(7);
const prompt = Array.from({ length: 2600 }, () => Math.floor(40 * random()));

function ids(count: number): number[] {
  return prompt.slice(0, count);
}

type Options = Partial<GpuDecoderOptions>;

function onDevice(attention: string, options: Options = {}): Promise<Runner> {
  return openRunnerOn(gpu, shaders, { ...model, ...options, attention: parseAttention(attention) });
}

function inLoops(attention: string, options: Options = {}): Promise<Runner> {
  return openReferenceRunner({ ...model, ...options, attention: parseAttention(attention) });
}

/** Logits of a prompt and of two tokens decoded behind it. */
async function logits(runner: Runner, tokens: number): Promise<number[]> {
  const rows = [...((await runner.append(ids(tokens), { logits: "all" })) ?? [])];
  for (const id of [3, 8]) rows.push(...((await runner.append([id], { logits: "last" })) ?? []));
  return rows;
}

const far = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let most = 0;
  for (let at = 0; at < a.length; at++) most = Math.max(most, Math.abs(a[at] - b[at]));
  return most;
};

describe("keys chosen by content", () => {
  const variants: [what: string, change: Partial<DecoderSpec>][] = [
    ["heads in groups", {}],
    [
      "a layer with a window, one without rotation",
      {
        layers: [
          { window: 150, rotation: "main" },
          { window: undefined, rotation: "none" },
        ],
      },
    ],
    ["ALiBi", { alibi: { maxBias: 8 }, rotaryDim: 0, layers: [0, 1].map(() => ({ window: undefined, rotation: "none" })) }],
  ];
  for (const policy of ["vertical-slash:40,130", "blocks:3", "minference:0.6"]) {
    for (const [what, change] of variants) {
      it(`${policy} gives the reference's logits: ${what}`, async () => {
        const other = randomModel({ ...plain, attentionScale: 1.5, ...change });
        const expected = await logits(await inLoops(policy, other), TOKENS);
        assertClose(await logits(await onDevice(policy, other), TOKENS), expected, TOLERANCE, "logits");
        const whole = await logits(await onDevice("flash", other), TOKENS);
        assert(far(expected, whole) > 50 * TOLERANCE, "something was left out");
      });
    }
  }

  it("does not depend on the memory for scores, on slabs, nor on how a prompt comes in", async () => {
    const whole = await logits(await onDevice("minference:0.6"), TOKENS);
    // Scores of one head at a time.
    const narrow = await onDevice("minference:0.6", { maxBindingBytes: 64 * 640 * 4 });
    assertClose(await logits(narrow, TOKENS), whole, TOLERANCE, "a head at a time");
    const pieces = await onDevice("minference:0.6", { slabPages: 1 });
    const rows = [
      ...((await pieces.append(ids(TOKENS).slice(0, 512), { logits: "all", moreFollows: true })) ?? []),
      ...((await pieces.append(ids(TOKENS).slice(512), { logits: "all" })) ?? []),
    ];
    assertClose(rows, whole.slice(0, rows.length), TOLERANCE, "in pieces, over several slabs");
  });

  it("is everything where everything may be chosen", async () => {
    const whole = await logits(await onDevice("flash"), TOKENS);
    for (const policy of [`vertical-slash:${TOKENS},1`, `vertical-slash:0,${TOKENS}`, "blocks:10", "minference:1"]) {
      const runner = await onDevice(policy);
      assertClose(await logits(runner, TOKENS), whole, TOLERANCE, policy);
      assert((runner.keptMass?.mean ?? 0) > 0.99999, policy);
    }
  });

  it("keeps more for a higher floor, and reaches it", async () => {
    const kept: number[] = [];
    const seen: number[][] = [];
    for (const recall of [0.3, 0.6, 0.95]) {
      const runner = await onDevice(`minference:${recall}`);
      seen.push(await logits(runner, TOKENS));
      const { keptMass } = runner;
      assert(keptMass !== undefined);
      kept.push(keptMass.mean);
      // Other queries are measured than those that chose.
      assert(keptMass.mean > recall, `${keptMass.mean} of ${recall}`);
    }
    assert(kept[0] < kept[1] && kept[1] < kept[2], kept.join());
    assert(far(seen[0], seen[1]) > TOLERANCE && far(seen[1], seen[2]) > TOLERANCE);
  });

  it("maps show what was computed: each chunk's own keys, and every key for decoded tokens", async () => {
    for (const policy of ["vertical-slash:40,130", "blocks:3", "minference:0.6", "a-shape:3,60"]) {
      const [runner, reference] = [await onDevice(policy), await inLoops(policy)];
      for (const each of [runner, reference]) await logits(each, TOKENS);
      const edges = (count: number): Uint32Array<ArrayBuffer> =>
        Uint32Array.from({ length: count + 1 }, (_, index) => Math.floor((index * (TOKENS + 2)) / count));
      for (const request of [
        { layer: 1, head: 2, queryEdges: edges(40), keyEdges: edges(301) },
        { layer: "mean" as const, head: "mean" as const, queryEdges: edges(7), keyEdges: edges(9) },
      ]) {
        const pooled = await runner.pool(request);
        assertClose(pooled.cells, (await reference.pool(request)).cells, 1e-4, policy);
      }
      const facts = await runner.headFacts?.(32);
      const expected = await reference.headFacts?.(32);
      assert(facts !== undefined && expected !== undefined);
      assert.equal(facts.heads.length, expected.heads.length);
      for (const [index, { entropy, sinkMass }] of facts.heads.entries()) {
        assertClose([entropy, sinkMass], [expected.heads[index].entropy, expected.heads[index].sinkMass], 1e-3, policy);
      }
    }
  });
});

/** What the reference's queries at `positions` keep, by its own exact weights. */
async function bruteKept(attention: string, tokens: number, positions: readonly number[]): Promise<KeptMass | undefined> {
  const { spec } = model;
  const choice = parseAttention(attention);
  const { policy } = choice;
  const decoder = await readDecoder(spec, model.weights, "f32", {});
  const cache = referenceCache(spec, "f32");
  const own = positionPlan(spec.rope, spec, spec.maxPositionEmbeddings);
  const plan = policy.kind === "sinks" ? sinksPlan(own, policy.sinks, policy.window) : own;
  const choose = patternChooser(choice, spec);
  const kept = gatherKept();
  const sampled = new Set(positions);
  for (let start = 0; start < tokens; start += 256) {
    const chunk = ids(tokens).slice(start, start + 256);
    forward(decoder, chunk, plan, cache, undefined, (layer, scored) => {
      const pattern = choose(scored, { start, tokens: chunk.length, isDecoding: false });
      const shown = policy.kind === "sinks" ? aShape(policy.sinks, policy.window) : pattern;
      const exact = { ...scored, bands: layerBands(own, spec.layers[layer]) };
      for (let token = 0; token < chunk.length; token++) {
        if (shown === undefined || !sampled.has(start + token)) continue;
        for (let head = 0; head < spec.headCount; head++) {
          kept.add(layer, head, keptShare(shown, head, attentionRow(exact, spec, token, head, start + token)));
        }
      }
      return pattern;
    });
  }
  return kept.summary();
}

/** `count` positions before `end`, the last one among them. */
function spread(count: number, end: number): number[] {
  return Array.from({ length: count }, (_, sample) => Math.ceil(((sample + 1) * end) / count) - 1);
}

function assertKept(found: KeptMass | undefined, expected: KeptMass | undefined, what: string): void {
  assert(found !== undefined && expected !== undefined, what);
  assertClose([found.mean, found.least], [expected.mean, expected.least], 1e-4, what);
  assert.deepEqual([found.queries, found.heads], [expected.queries, expected.heads], what);
}

describe("the attention that is kept", () => {
  const policies = ["window:100", "sinks:4,100", "longformer:60,5", "bigbird:1,1,1", "strided:37", "fixed:64,3", "a-shape:4,90"];
  for (const policy of [...policies, "vertical-slash:40,130", "blocks:3", "minference:0.6"]) {
    it(`${policy}: the share of the exact weights on the keys that are seen`, async () => {
      const runner = await onDevice(policy);
      await runner.append(ids(TOKENS));
      const expected = await bruteKept(policy, TOKENS, spread(Math.ceil(TOKENS / 16), TOKENS));
      assertKept(runner.keptMass, expected, policy);
      assert((expected?.mean ?? 1) < 0.99 && (expected?.mean ?? 0) > 0.05, `${expected?.mean}`);
      await runner.append([7]);
      assertKept(runner.keptMass, expected, "a decoded token leaves it");
    });
  }

  it("is of the whole prompt where it comes in pieces", async () => {
    const runner = await onDevice("window:100");
    await runner.append(ids(TOKENS).slice(0, 256), { moreFollows: true });
    await runner.append(ids(TOKENS).slice(256));
    const positions = [...spread(16, 256), ...spread(6, TOKENS - 256).map((position) => position + 256)];
    assertKept(runner.keptMass, await bruteKept("window:100", TOKENS, positions), "pieces");
  });

  it("is measured while nothing in front of a query is gone, where keys are evicted", async () => {
    const runner = await onDevice("window:64");
    await runner.append(ids(2300));
    // A ring of window + chunk + 1024 tokens in pages of 256, and one page; less the chunk that takes their places.
    const held = (Math.ceil((64 + 512 + 1024) / 256) + 1) * 256 - 512;
    assertKept(runner.keptMass, await bruteKept("window:64", 2300, spread(64, held)), "early queries");
    await runner.append(ids(100));
    assert.equal(runner.keptMass, undefined, "nothing can be said of later ones");
  });

  it("is not measured where every key is seen", async () => {
    for (const policy of ["flash", "dense", "flash3", "stream"]) {
      const runner = await onDevice(policy);
      await runner.append(ids(100));
      assert.equal(runner.keptMass, undefined, policy);
    }
  });
});
