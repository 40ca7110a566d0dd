import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DecoderSpec, ModelSpec } from "../../../engine/api.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { F32_CACHE, WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { EngineError } from "../../../engine/errors.ts";
import { cacheBytes, tokenBytes } from "../../../engine/kv-cache/capacity.ts";
import { kvFormats, parseKvFormats } from "../../../engine/kv-cache/kvFormats.ts";
import { MAX_CHUNK_TOKENS } from "../../../engine/models/chunkSizes.ts";
import { DEFAULT_CACHE_BYTES } from "../../../engine/models/memory.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { parameterCount } from "../../../engine/models/weights.ts";
import type { MeasuredRates, Plan, PlanDevice, PlanRequest } from "../../../engine/planner/api.ts";
import { planFor } from "../../../engine/planner/plan.ts";
import { ringPlan } from "../../../engine/planner/ring.ts";
import { secondsAt } from "../../../engine/planner/time.ts";
import { everyWay } from "../../../engine/planner/ways.ts";
import { weightsByBits, weightsInWasm, weightsOnDevice } from "../../../engine/planner/weightBytes.ts";

/** The shape of Llama 3.2 1B. */
const llama = decoder({
  ...{ model_type: "llama", vocab_size: 128_256, hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 16 },
  ...{
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    max_position_embeddings: 131_072,
    tie_word_embeddings: true,
  },
});
/** Gemma 3's alternation: five layers of a window, one without. */
const gemma = decoder({
  ...{ model_type: "gemma3_text", vocab_size: 262_144, hidden_size: 1152, intermediate_size: 6912, num_hidden_layers: 26 },
  ...{ num_attention_heads: 4, num_key_value_heads: 1, head_dim: 256, max_position_embeddings: 32_768, sliding_window: 512 },
});
const mamba = parseSpec({ model_type: "mamba", vocab_size: 50_280, hidden_size: 768, num_hidden_layers: 24 });

function decoder(config: Record<string, unknown>): DecoderSpec {
  const spec = parseSpec({ rms_norm_eps: 1e-5, ...config });
  assert.ok(spec.kind === "decoder");
  return spec;
}

const anywhere: PlanDevice = { backend: "wgsl", memoryBytes: undefined, cacheBytes: undefined, maxBufferBytes: undefined };
const q8 = parseKvFormats("q8");

function request(changes: Partial<PlanRequest> = {}): PlanRequest {
  const spec = changes.spec ?? llama;
  return {
    ...{ spec, tokens: 8192, attention: WHOLE, kv: F32_CACHE, weights: weightsByBits(spec, 16) },
    ...{ positions: { bands: 1, copies: 1 }, device: anywhere, rates: undefined },
    ...changes,
  };
}

const planned = (changes: Partial<PlanRequest> = {}): Plan => planFor(request(changes));
const policy = (text: string): Partial<PlanRequest> => ({ attention: parseAttention(text) });

/** Rates of no machine: round numbers, to be recognised in times. */
const rates: MeasuredRates = {
  ...{ kind: "measured", backend: "wgsl", device: "a test", elapsedMs: 1 },
  layer: [
    { tokens: 64, seconds: 0.001 },
    { tokens: 512, seconds: 0.005 },
  ],
  chunk: [{ tokens: 64, seconds: 0.0001 }],
  step: { layerSeconds: 0.0005, seconds: 0.001 },
  attention: [
    { kernel: "flash", kv: F32_CACHE, prefill: 1e12, decode: 1e11 },
    { kernel: "flash", kv: q8, prefill: 5e11, decode: 2e11 },
  ],
  matmulFlops: { chunk: 1e12, token: 1e10, head: 1e11 },
  ...{ copyBytes: 1e11, uploadBytes: 1e10, readbackBytes: 1e9 },
};

describe("memory of a plan", () => {
  it("counts keys and values of the heads that share, in each format, keys and values by themselves", () => {
    const perToken = (kv: string): number => planned({ kv: parseKvFormats(kv), tokens: 1 }).kvBytes / llama.layerCount;
    assert.equal(perToken("f32"), 2 * 8 * 64 * 4);
    assert.equal(perToken("f16"), 2 * 8 * 64 * 2);
    assert.equal(perToken("q8"), 2 * 8 * (64 + 2 * 2));
    assert.equal(perToken("q4"), 2 * 8 * (32 + 2 * 2));
    assert.equal(perToken("q8,q4"), (perToken("q8") + perToken("q4")) / 2);
    assert.notEqual(planned({ kv: parseKvFormats("q8,f16") }).kvBytes, planned({ kv: parseKvFormats("q8,q4") }).kvBytes);
    for (const format of kvFormats) assert.equal(perToken(format), tokenBytes(llama, parseKvFormats(format)));
  });

  it("is that of the cache, in whole pages", () => {
    for (const text of ["flash", "window:300", "sinks:4,1024", "longformer:512,70", "a-shape", "top-pages:8"]) {
      for (const tokens of [1, 1000, 5000, 40_000]) {
        const attention = parseAttention(text);
        assert.equal(
          planned({ attention, tokens }).kvAllocatedBytes,
          cacheBytes(llama, F32_CACHE, attention, tokens, MAX_CHUNK_TOKENS),
          `${text}, ${tokens}`,
        );
      }
    }
  });

  it("ends where windows end: the model's own, and those of policies", () => {
    const short = planned({ spec: gemma, tokens: 512 });
    const long = planned({ spec: gemma, tokens: 10_512 });
    const perToken = 2 * 256 * 4;
    assert.equal(gemma.layers.filter(({ window }) => window === undefined).length, 4);
    assert.equal(long.kvBytes - short.kvBytes, 4 * 10_000 * perToken);
    assert.deepEqual(new Set(long.kvBytesPerLayer), new Set([512 * perToken, 10_512 * perToken]));
    const kept = (text: string, tokens = 50_000): number => planned({ ...policy(text), tokens }).kvBytes;
    assert.equal(kept("window:1000"), kept("flash", 1000));
    assert.equal(kept("sinks:8,1000"), kept("flash", 1008));
    assert.equal(kept("longformer:1000,20"), kept("flash", 1020));
    for (const text of ["a-shape:8,100", "bigbird", "strided", "blocks", "window:1000+top-pages:4"])
      assert.equal(kept(text), kept("flash"), text);
    // A layer's own window is the narrower one.
    assert.equal(planned({ spec: gemma, ...policy("window:4096"), tokens: 10_000 }).kvBytesPerLayer[0], 512 * perToken);
  });

  it("does not grow with what a recurrent model reads", () => {
    const [short, long] = [planned({ spec: mamba, tokens: 1 }), planned({ spec: mamba, tokens: 1_000_000 })];
    assert.equal(long.totalBytes, short.totalBytes);
    assert.equal(long.kvBytes, short.kvBytes);
    assert.equal(long.largestTokens, Infinity);
    assert.ok(long.prefillFlops > short.prefillFlops);
  });

  it("never falls when the prompt grows, for any way to read it", () => {
    for (const way of everyWay(llama, "wgsl")) {
      const plans = [1, 700, 5000, 20_000, 100_000].map((tokens) => planned({ ...way, tokens }));
      for (const [index, plan] of plans.slice(1).entries()) {
        const before = plans[index];
        assert.ok(before !== undefined && plan.kvBytes >= before.kvBytes && plan.prefillFlops > before.prefillFlops);
        assert.ok(plan.kvAllocatedBytes >= plan.kvBytes || plan.kvHostBytes > 0);
      }
    }
  });

  it("has what a policy asks for besides", () => {
    const parts = (text: string): string[] => planned(policy(text)).workspace.map(({ what }) => what);
    const extra = (text: string): string[] => parts(text).filter((what) => !parts("flash").includes(what));
    assert.deepEqual(extra("dense"), ["rows of scores"]);
    assert.deepEqual(extra("flash3"), ["queries in 8 bits"]);
    assert.deepEqual(extra("top-pages"), ["choosing pages"]);
    assert.deepEqual(extra("ring:3"), ["3 ranks with the weights"]);
    assert.deepEqual(extra("vertical-slash"), ["measuring what is kept"]);
    const bytes = (text: string, what: string): number =>
      planned(policy(text)).workspace.find((part) => part.what === what)?.bytes ?? NaN;
    assert.ok(bytes("top-pages:64", "choosing pages") > bytes("top-pages:4", "choosing pages"));
    assert.ok(bytes("sinks:4,64", "attention") > bytes("flash", "attention"), "sinks have a band of their own");
    assert.ok(
      bytes("ring:4", "4 ranks with the weights") - bytes("ring:3", "3 ranks with the weights") ===
        weightsByBits(llama, 16).bytes,
    );
    const streamed = planned({ ...policy("stream"), tokens: 100_000 });
    assert.ok(streamed.kvHostBytes > 0.9 * streamed.kvBytes && streamed.kvAllocatedBytes < streamed.kvBytes);
  });

  it("follows bands and rotations of the position plan, and the largest buffer", () => {
    const two = planned({ positions: { bands: 2, copies: 2 } });
    assert.equal(two.kvBytes, 1.5 * planned().kvBytes);
    const narrow = planned({ device: { ...anywhere, maxBufferBytes: 2 ** 21 } });
    assert.ok(narrow.workspaceBytes < planned().workspaceBytes, "shorter chunks");
    assert.notEqual(planned({ device: { ...anywhere, backend: "ort" } }).workspaceBytes, planned().workspaceBytes);
  });
});

describe("weights of a plan", () => {
  it("are kept in panels on the device, in blocks in WebAssembly, and a tied table is read with each token", () => {
    const f16 = (): "f16" => "f16";
    const device = weightsOnDevice(llama, f16, "file");
    const vectors = (2 * llama.layerCount + 1) * llama.hiddenSize;
    assert.equal(device.bytes, 2 * (parameterCount(llama) - vectors) + 4 * vectors);
    assert.equal(device.readBytes, device.bytes);
    const untied = { ...llama, tiedEmbeddings: false };
    const table = 2 * llama.vocabSize * llama.hiddenSize;
    const wider = weightsOnDevice(untied, f16, "file");
    assert.deepEqual(wider, { bytes: device.bytes + table, readBytes: device.bytes });
    assert.ok(weightsOnDevice(llama, f16, "q8_0").bytes < device.bytes);
    assert.ok(weightsOnDevice(llama, f16, "q4_0").bytes < weightsOnDevice(llama, f16, "q8_0").bytes);
    assert.equal(weightsOnDevice(llama, () => "q4_k", "q8_0").bytes, weightsOnDevice(llama, () => "q4_k", "file").bytes);
    assert.equal(weightsInWasm(llama, f16, "file").bytes, 4 * parameterCount(llama));
    // 32 codes and an f32 scale.
    assert.equal(weightsInWasm(llama, f16, "q8_0").bytes, ((parameterCount(llama) - vectors) / 32) * 36 + 4 * vectors);
    assert.equal(weightsByBits(untied, 8).bytes - weightsByBits(untied, 8).readBytes, llama.vocabSize * llama.hiddenSize);
  });

  it("are part of what a token reads, beside its context", () => {
    const reads = planned({ tokens: 1000 }).decodeBytesPerToken;
    assert.equal(reads, weightsByBits(llama, 16).readBytes + 1001 * llama.layerCount * tokenBytes(llama, F32_CACHE));
    const pages = planned({ tokens: 100_000, ...policy("top-pages:16") }).decodeBytesPerToken;
    assert.ok(pages < planned({ tokens: 100_000 }).decodeBytesPerToken / 2);
    assert.ok(pages > planned({ tokens: 100_000, ...policy("top-pages:8") }).decodeBytesPerToken);
    assert.equal(planned({ ...policy("a-shape") }).decodeBytesPerToken, planned().decodeBytesPerToken, "answers see every key");
    assert.ok(planned({ ...policy("window:64") }).decodeBytesPerToken < planned().decodeBytesPerToken);
  });
});

describe("work of a plan", () => {
  it("changes with every number of every policy", () => {
    const changes = [
      ["window:100", "window:101"],
      ["sinks:4,100", "sinks:5,100", "sinks:4,101"],
      ["longformer:100,1", "longformer:101,1", "longformer:100,2"],
      ["bigbird:3,3,1", "bigbird:4,3,1", "bigbird:3,4,1", "bigbird:3,3,2"],
      ["strided:128", "strided:129"],
      ["fixed:128,8", "fixed:129,8", "fixed:128,9"],
      ["a-shape:100,800", "a-shape:101,800", "a-shape:100,801"],
      ["vertical-slash:100,200", "vertical-slash:101,200", "vertical-slash:100,201"],
      ["blocks:10", "blocks:11"],
    ];
    for (const texts of changes) {
      const flops = texts.map((text) => planned(policy(text)).prefillFlops);
      assert.ok(!flops.slice(1).includes(flops[0] ?? NaN), texts.join(" "));
      assert.ok(flops.every((count) => count < planned().prefillFlops));
    }
  });

  it("says where it is a bound", () => {
    for (const text of ["vertical-slash", "blocks", "minference"]) assert.equal(planned(policy(text)).flopsAreExact, false);
    for (const text of ["flash", "bigbird", "fixed"]) assert.equal(planned(policy(text)).flopsAreExact, true);
  });

  it("counts windows of single layers", () => {
    const whole: ModelSpec = { ...gemma, layers: gemma.layers.map((layer) => ({ ...layer, window: undefined })) };
    assert.ok(planned({ spec: gemma }).attentionFlops < planned({ spec: whole }).attentionFlops / 3);
    assert.equal(planned({ spec: gemma }).linearFlops, planned({ spec: whole }).linearFlops);
  });
});

describe("what fits", () => {
  const laptop: PlanDevice = { backend: "wgsl", memoryBytes: 16e9, cacheBytes: DEFAULT_CACHE_BYTES, maxBufferBytes: 2 ** 31 };

  it("is said with all its parts", () => {
    const plan = planned({ device: laptop });
    assert.equal(plan.fits, true);
    assert.match(plan.because, /^2\.5 GB of weights, 537 MB of keys and values and \d+ MB of workspace take 3\.\d GB of 16 GB$/);
  });

  it("is said of the cache that the backend keeps, with the length that would fit", () => {
    const plan = planned({ device: laptop, tokens: 100_000 });
    assert.equal(plan.fits, false);
    assert.equal(plan.largestTokens, 32_768);
    assert.match(
      plan.because,
      /the keys and values of 100,000 tokens take 6\.6 GB and the backend keeps 2\.1 GB of them: 32,768 tokens would fit/,
    );
    assert.equal(planned({ device: laptop, tokens: 32_768 }).fits, true);
    assert.equal(planned({ device: laptop, tokens: 32_769 }).fits, false);
    assert.equal(planned({ device: laptop, tokens: 100_000, kv: parseKvFormats("q4") }).fits, true);
    assert.equal(planned({ device: laptop, tokens: 100_000, ...policy("window:4096") }).fits, true);
  });

  it("is said of memory, of scores, and of weights in WebAssembly", () => {
    const small = { ...laptop, memoryBytes: 3e9, cacheBytes: undefined };
    const plan = planned({ device: small, tokens: 16_384 });
    assert.equal(plan.fits, false);
    assert.match(plan.because, /take \d\.\d GB, more than 3 GB: [\d,]+ tokens would fit/);
    assert.equal(planned({ device: small, tokens: plan.largestTokens }).fits, true);
    assert.equal(planned({ device: small, tokens: plan.largestTokens + 256 }).fits, false);
    const none = planned({ device: { ...small, memoryBytes: 1e9 } });
    assert.deepEqual([none.fits, none.largestTokens], [false, 0]);
    assert.match(none.because, /so would a single token: narrower weights or a smaller model/);
    assert.match(
      planned({ ...policy("dense"), tokens: 100_000 }).because,
      /^rows of scores of one chunk take 6\.5 GB, more than the 268 MB/,
    );
    const wasm = planned({ device: { ...anywhere, backend: "ort" }, weights: weightsByBits(llama, 32) });
    assert.match(wasm.because, /the weights take 4\.9 GB in WebAssembly, which holds 3\.2 GB/);
  });

  it("is worked out for ways that the backend has, and no others", () => {
    assert.ok(everyWay(llama, "wgsl").every(({ attention, kv }) => attention.policy.kind !== "flash3" || kv.keys === "f32"));
    assert.ok(everyWay(llama, "wgsl").every((way) => planned(way).kvBytes > 0));
    assert.ok(everyWay(llama, "ort").every(({ kv }) => kv.keys === "f32"));
  });
});

describe("time of a plan", () => {
  it("is not known without rates, and not for a way that was not measured", () => {
    assert.deepEqual([planned().prefillSeconds, planned().decodeSecondsPerToken], [null, null]);
    const plan = planned({ rates, kv: parseKvFormats("q4") });
    assert.equal(plan.prefillSeconds, null);
    assert.match(plan.because, /how fast flash attends was not measured$/);
  });

  it("is work over what a machine is said to sustain", () => {
    const stated = { kind: "stated" as const, flops: 1e13, bytesPerSecond: 1e11 };
    const plan = planned({ rates: stated });
    assert.equal(plan.prefillSeconds, plan.prefillFlops / 1e13);
    assert.equal(plan.decodeSecondsPerToken, plan.decodeBytesPerToken / 1e11);
    const half = planned({ rates: { ...stated, bytesPerSecond: undefined } });
    assert.deepEqual([half.prefillSeconds, half.decodeSecondsPerToken], [plan.prefillSeconds, null]);
    assert.match(planned({ rates: stated, ...policy("stream") }).because, /how fast keys come from host memory was not given$/);
  });

  it("adds layers, attention and what a chunk costs, as measured", () => {
    const seconds = (changes: Partial<PlanRequest> = {}): number => planned({ rates, ...changes }).prefillSeconds ?? NaN;
    const head = (2 * llama.hiddenSize * llama.vocabSize) / rates.matmulFlops.head;
    // 64 tokens are one block of queries, which visits one block of keys.
    const pairs = 64 * 64 * 32 * 64 * llama.layerCount;
    assert.ok(Math.abs(seconds({ tokens: 64 }) - (16 * 0.001 + 0.0001 + pairs / 1e12 + head)) < 1e-12);
    assert.ok(seconds({ kv: q8 }) > seconds(), "slower with this cache");
    assert.ok(seconds(policy("window:256")) < seconds());
    assert.ok(seconds(policy("blocks:4")) < seconds());
    const slowBus = { ...rates, uploadBytes: 1e6 };
    assert.equal(
      seconds({ rates: { ...rates, uploadBytes: 1e12 }, ...policy("stream") }),
      seconds(),
      "copies hide behind attention",
    );
    assert.ok((planned({ rates: slowBus, ...policy("stream") }).prefillSeconds ?? 0) > 10 * seconds());
  });

  it("of an answer grows with what a token reads", () => {
    const seconds = (tokens: number, changes: Partial<PlanRequest> = {}): number =>
      planned({ rates, tokens, ...changes }).decodeSecondsPerToken ?? NaN;
    const channels = 32 * 64 * llama.layerCount;
    assert.ok(Math.abs(seconds(20_000) - seconds(10_000) - (10_000 * channels) / 1e11) < 1e-9);
    assert.ok(seconds(20_000, policy("top-pages:16")) < seconds(20_000));
    assert.ok(seconds(20_000, policy("sinks:4,100")) < seconds(20_000, policy("sinks:4,1000")));
  });

  it("lies on straight lines between measured sizes", () => {
    const times = [
      { tokens: 64, seconds: 1 },
      { tokens: 128, seconds: 1.5 },
      { tokens: 512, seconds: 1.4 },
    ];
    assert.equal(secondsAt(times, 32), 0.5);
    assert.equal(secondsAt(times, 64), 1);
    assert.equal(secondsAt(times, 96), 1.25);
    assert.equal(secondsAt(times, 1024), 1.5, "times do not fall");
    assert.equal(secondsAt(times.slice(0, 1), 128), 2);
    assert.equal(secondsAt([], 128), 0);
  });
});

describe("a prompt over several cards", () => {
  const mha: DecoderSpec = { ...llama, kvHeadCount: 32 };
  /** A100 with NVLink, as in the paper. */
  const nvlink = { flops: 312e12, bytesPerSecond: 300e9 };
  const ring = (tokens: number, changes: Partial<Parameters<typeof ringPlan>[0]> = {}) =>
    ringPlan({ spec: mha, tokens, kv: parseKvFormats("f16"), ranks: 4, layout: "contiguous", rates: nvlink, ...changes });

  it("hides passing behind attending from F / B times G / H tokens per card on", () => {
    assert.equal(ring(8192).leastTokensPerRank, 1040);
    assert.equal(ring(4 * 1040).overlaps, true);
    assert.equal(ring(4 * 1030).overlaps, false);
    assert.equal(ring(8192, { rates: { ...nvlink, bytesPerSecond: 12.5e9 } }).leastTokensPerRank, 24_960);
    assert.equal(ring(8192, { spec: llama }).leastTokensPerRank, 260, "a quarter as many key heads");
    assert.ok(ring(8192, { kv: q8 }).leastTokensPerRank < 600, "half the bytes");
  });

  it("is at best as fast as there are cards, and a causal prompt in equal runs wastes about half", () => {
    const times = (layout: "contiguous" | "zigzag" | "striped") => ring(400_000, { layout });
    for (const layout of ["contiguous", "zigzag", "striped"] as const) {
      assert.ok(times(layout).speedup <= 4.01);
      assert.equal(times(layout).tokensPerRank, 100_000);
    }
    assert.ok(times("zigzag").attentionSeconds < 0.6 * times("contiguous").attentionSeconds);
    assert.ok(times("zigzag").speedup > 3.9);
    assert.ok(Math.abs(times("striped").attentionSeconds / times("zigzag").attentionSeconds - 1) < 0.01);
    assert.equal(ring(400_000, { ranks: 1 }).stepTransferSeconds, 0);
    assert.equal(ring(8000).kvBytesPerRank, 2000 * mha.layerCount * tokenBytes(mha, parseKvFormats("f16")));
  });

  it("refuses more cards than tokens", () => {
    assert.throws(
      () => ring(3),
      (error) => EngineError.is(error, "bad-argument"),
    );
  });
});
