import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ContextLimit, RopeScaling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { resolveRope } from "../../../engine/position/choose.ts";
import { contextLimit } from "../../../engine/position/limits.ts";
import { defaultScaling, defaultYarn } from "../../../engine/position/ropeJson.ts";
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
  ];
  for (const [scaling, tokens, because] of limits) {
    it(`${scaling.kind}: ${tokens}`, () => {
      const limit = contextLimit(spec, scaling, ROOM);
      assert.equal(limit.tokens, tokens);
      assert.equal(limit.because, because);
      assert.match(limit.explanation, new RegExp(tokens.toLocaleString("en-US")));
    });
  }

  it("is memory where the KV cache holds less, and says what it would be", () => {
    const limit = contextLimit(spec, defaultYarn(8, 2048), 10_000);
    assert.deepEqual([limit.tokens, limit.because, limit.wouldBe], [10_000, "kv-cache memory", 16_384]);
    assert.match(limit.explanation, /10,000 tokens .* YaRN ×8 carries the trained 2,048 tokens to 16,384 tokens/);
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
    const dynamic: RopeScaling = { kind: "dynamic", factor: 4 };
    const { table } = resolveRope(dynamic, spec, 6000, ROOM);
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
