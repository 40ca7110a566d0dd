import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ContextLimit, FrequencyScaling, ModelSpec, RopeScaling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { requestLength, resolveRope } from "../../../engine/position/choose.ts";
import { contextLimit, label } from "../../../engine/position/limits.ts";
import { defaultScaling, defaultYarn, formatRope } from "../../../engine/position/ropeJson.ts";
import { ropeBase, ropeTable } from "../../../engine/position/scaling.ts";
import { randomModel } from "../../support/goldenModels.ts";

const ROOM = 1_000_000;
const { spec } = randomModel({ headDim: 16, maxPositionEmbeddings: 2048 });
const llama31: RopeScaling = { kind: "llama3", factor: 8, originalContext: 8192, lowFreqFactor: 1, highFreqFactor: 4 };
const stretched = { ...spec, rope: llama31, maxPositionEmbeddings: 131072 };

describe("the context limit and its reason", () => {
  const limits: [RopeScaling, tokens: number, because: ContextLimit["because"]][] = [
    [{ kind: "none" }, 2048, "trained length"],
    [{ kind: "linear", factor: 4 }, 8192, "rope scaling"],
    [{ kind: "ntk", factor: 2.5 }, 5120, "rope scaling"],
    [{ kind: "dynamic", factor: 2 }, 4096, "rope scaling"],
    [defaultYarn(8, 1024), 8192, "rope scaling"],
    [defaultScaling("longrope", spec, 4), 8192, "rope scaling"],
    [{ kind: "llama3", factor: 4, originalContext: 2048, lowFreqFactor: 1, highFreqFactor: 4 }, 8192, "rope scaling"],
    [{ kind: "proportional", factor: 2, rotaryShare: 1 }, 4096, "rope scaling"],
    [{ kind: "self_extend", group: 8, window: 512 }, (2048 - 512) * 8 + 512, "rope scaling"],
    [{ kind: "self_extend", group: 8, window: 4096 }, 2048, "trained length"],
    [{ kind: "rerope", window: 1024, leak: 4 }, 1024 + 1024 * 4, "rope scaling"],
    [{ kind: "rerope", window: 2048 }, 2048, "trained length"],
    [{ kind: "rerope", window: 1024 }, ROOM, "kv-cache memory"],
    [{ kind: "dual_chunk", chunkSize: 2048, localSize: 64 }, ROOM, "kv-cache memory"],
    [{ kind: "dual_chunk", chunkSize: 4096, localSize: 64 }, 2048, "trained length"],
  ];
  for (const [scaling, tokens, because] of limits) {
    it(`${JSON.stringify(formatRope(scaling))}: ${tokens}`, () => {
      const limit = contextLimit(spec, scaling, ROOM);
      assert.equal(limit.tokens, tokens);
      assert.equal(limit.because, because);
      assert.match(limit.explanation, new RegExp(tokens.toLocaleString("en-US")));
    });
  }

  it("names a scaling by its kind and as much of its factor as can be read", () => {
    assert.equal(label(defaultYarn(4, 2048)), "YaRN ×4");
    assert.equal(label({ kind: "linear", factor: 1.025391 }), "linear ×1.025");
    assert.equal(label({ kind: "rerope", window: 8 }), "ReRoPE");
  });

  it("is memory where the KV cache holds less, and says what it would be", () => {
    const limit = contextLimit(spec, defaultYarn(8, 2048), 10_000);
    assert.deepEqual([limit.tokens, limit.because, limit.wouldBe], [10_000, "kv-cache memory", 16_384]);
    assert.match(limit.explanation, /10,000 tokens .* YaRN ×8 carries the trained 2,048 tokens to 16,384 tokens/);
  });

  it("says of schemes that show no new distance that they have no limit of their own", () => {
    const limit = contextLimit(spec, { kind: "rerope", window: 1024 }, ROOM);
    assert.equal(
      limit.explanation,
      "The KV cache holds 1,000,000 tokens on this device; ReRoPE itself has no limit: it shows the model no distance that it has not seen.",
    );
    assert.equal(limit.wouldBe, Number.MAX_SAFE_INTEGER);
  });

  it("of a re-indexing counts from the distances that the model has seen under its own scaling", () => {
    assert.equal(
      contextLimit(stretched, { kind: "self_extend", group: 4, window: 1024 }, ROOM).tokens,
      (131072 - 1024) * 4 + 1024,
    );
    assert.equal(contextLimit(stretched, { kind: "rerope", window: 65536, leak: 2 }, ROOM).tokens, 65536 * 3);
    assert.deepEqual(defaultScaling("rerope", stretched), { kind: "rerope", window: 65536 });
  });

  it("of a model that re-indexes itself is the length it states", () => {
    const own: RopeScaling = { kind: "dual_chunk", chunkSize: 512, localSize: 64, originalContext: 1024 };
    const qwen1M = { ...spec, rope: own, maxPositionEmbeddings: 8192 };
    assert.equal(contextLimit(qwen1M, own, ROOM).tokens, 8192);
    assert.equal(contextLimit(qwen1M, { kind: "none" }, ROOM).tokens, 1024);
  });

  it("of a stretched model is what it states, and its original context once the scaling is taken away", () => {
    assert.equal(contextLimit(stretched, llama31, ROOM).tokens, 131072);
    assert.equal(contextLimit(stretched, { kind: "none" }, ROOM).tokens, 8192);
  });
});

describe("a RoPE choice made definite", () => {
  it("auto keeps the model's own scaling while it reaches", () => {
    assert.deepEqual(resolveRope({ kind: "auto" }, spec, 2048, ROOM).scaling, { kind: "none" });
    assert.deepEqual(resolveRope({ kind: "auto" }, stretched, 131072, ROOM).scaling, llama31);
  });

  it("auto adds YaRN by the smallest power of two that covers the request", () => {
    assert.deepEqual(resolveRope({ kind: "auto" }, spec, 2049, ROOM).scaling, defaultYarn(2, 2048));
    assert.deepEqual(resolveRope({ kind: "auto" }, spec, 8192, ROOM).scaling, defaultYarn(4, 2048));
    assert.deepEqual(resolveRope({ kind: "auto" }, spec, 8193, ROOM).scaling, defaultYarn(8, 2048));
    assert.deepEqual(resolveRope({ kind: "auto" }, stretched, 200_000, ROOM).scaling, defaultYarn(32, 8192));
  });

  it("auto stretches no further than the KV cache holds", () => {
    const { scaling, limit } = resolveRope({ kind: "auto" }, spec, 100_000, 4096);
    assert.deepEqual(scaling, defaultYarn(2, 2048));
    assert.equal(limit.tokens, 4096);
    assert.deepEqual(resolveRope({ kind: "auto" }, spec, 100_000, 1024).scaling, { kind: "none" });
  });

  it("model and named kinds are taken as they are", () => {
    assert.deepEqual(resolveRope({ kind: "model" }, stretched, 200_000, ROOM).scaling, llama31);
    assert.deepEqual(resolveRope({ kind: "ntk", factor: 3 }, spec, 10, ROOM).scaling, { kind: "ntk", factor: 3 });
  });

  it("makes one table for the whole request, which matters to dynamic scaling", () => {
    const dynamic: FrequencyScaling = { kind: "dynamic", factor: 4 };
    const { table } = resolveRope(dynamic, spec, 6000, ROOM).plan;
    assert.equal(table.key, ropeTable(dynamic, ropeBase(spec), 6000).key);
    assert.notEqual(table.key, ropeTable(dynamic, ropeBase(spec), 4000).key);
  });

  it("refuses a request without tokens", () => {
    assert.throws(
      () => resolveRope({ kind: "auto" }, spec, 0, ROOM),
      (error) => EngineError.is(error, "bad-argument"),
    );
  });
});

describe("models without rotation", () => {
  const bloom: ModelSpec = { ...spec, rotaryDim: 0, alibi: { maxBias: 8 } };
  const recurrent: ModelSpec = {
    ...spec,
    kind: "mamba",
    modelType: "mamba",
    innerSize: 64,
    stateSize: 16,
    convKernel: 4,
    timeStepRank: 2,
    projectionBias: false,
    convBias: true,
  };
  for (const model of [bloom, recurrent]) {
    it(`${model.kind}: the trained length, or on past it where that is left to us`, () => {
      const own = resolveRope({ kind: "model" }, model, 100, ROOM);
      assert.deepEqual([own.scaling, own.limit.tokens, own.limit.because], [{ kind: "none" }, 2048, "trained length"]);
      const on = resolveRope({ kind: "auto" }, model, 5000, ROOM);
      assert.deepEqual([on.scaling, on.limit.tokens, on.limit.because], [{ kind: "none" }, 16384, "past the trained length"]);
      assert.match(on.limit.explanation, /trained on 2,048 tokens .* 16,384 tokens; how well/);
      assert.equal(on.plan.key, own.plan.key);
      assert.equal(requestLength({ kind: "auto" }, model, 100_000), 16384);
    });

    it(`${model.kind}: memory comes first, and says so in words that fit`, () => {
      const { limit } = resolveRope({ kind: "auto" }, model, 100, 4096);
      assert.deepEqual([limit.tokens, limit.because, limit.wouldBe], [4096, "kv-cache memory", 16384]);
      assert.match(limit.explanation, model.kind === "decoder" ? /^The KV cache holds 4,096/ : /^This backend reads 4,096/);
    });

    it(`${model.kind}: a scaling is refused, and the remedy is the setting model`, () => {
      assert.throws(
        () => resolveRope({ kind: "linear", factor: 2 }, model, 100, ROOM),
        (error) => EngineError.is(error, "rope-invalid") && /linear/.test(error.message) && /setting model/.test(error.remedy),
      );
    });
  }
});
