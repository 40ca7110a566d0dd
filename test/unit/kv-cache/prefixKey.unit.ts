import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import type { WeightStore } from "../../../engine/api.ts";
import { openPageKeys, type PrefixFacts, prefixRoot } from "../../../engine/kv-cache/prefixKey.ts";
import { modelHash } from "../../../engine/kv-cache/prefixModel.ts";
import { goldenDecoder } from "../../support/goldenModels.ts";
import { randomRecurrent } from "../../support/recurrentModels.ts";

const facts: PrefixFacts = {
  model: "m",
  backend: "wgsl",
  weightFormat: "file",
  products: "exact",
  positions: "rope 1",
  kv: { keys: "f16", values: "f16" },
  attention: { policy: { kind: "sinks", sinks: 4, window: 512 } },
  layout: "keys 1",
  tokensPerPage: 4,
};

const others: Partial<PrefixFacts>[] = [
  { model: "n" },
  { backend: "reference" },
  { weightFormat: "q8_0" },
  { products: "fast" },
  { positions: "rope 2" },
  { kv: { keys: "q8", values: "f16" } },
  { kv: { keys: "f16", values: "q8" } },
  { kv: undefined },
  { attention: { policy: { kind: "flash" } } },
  { attention: { policy: { kind: "sinks", sinks: 4, window: 256 } } },
  { attention: { policy: { kind: "sinks", sinks: 4, window: 512 }, topPages: 8 } },
  { attention: undefined },
  { layout: "keys 2" },
  { tokensPerPage: 8 },
];

async function keysOf(ids: number[], of: PrefixFacts = facts): Promise<string[]> {
  const keys = openPageKeys(await prefixRoot(of), Int32Array.from(ids), of.tokensPerPage, 0);
  return Promise.all(Array.from({ length: keys.pages }, (_, page) => keys.at(page)));
}

describe("keys of pages", () => {
  it("are the chain of SHA-256 they are said to be", async () => {
    const root = await prefixRoot(facts);
    const keys = openPageKeys(root, Int32Array.of(1, 2, 3, 4, 5, -6, 7, 8, 9), 4, 0);
    const digest = (before: Uint8Array, ids: number[]) =>
      createHash("sha256")
        .update(before)
        .update(new Uint8Array(Int32Array.from(ids).buffer))
        .digest();
    const first = digest(root.digest, [1, 2, 3, 4]);
    const second = digest(first, [5, -6, 7, 8]);
    assert.equal(keys.pages, 2, "a page that is not whole has none");
    // Asked for out of order: the later one needs the earlier.
    assert.equal(await keys.at(1), second.toString("hex").slice(0, 32));
    assert.equal(await keys.at(0), first.toString("hex").slice(0, 32));
    assert.equal(keys.root, Buffer.from(root.digest).toString("hex").slice(0, 32));
  });

  it("stay before an edit, and change from its page on", async () => {
    const ids = Array.from({ length: 16 }, (_, i) => i);
    const before = await keysOf(ids);
    const after = await keysOf(ids.with(9, 99));
    assert.deepEqual(after.slice(0, 2), before.slice(0, 2));
    assert.notEqual(after[2], before[2]);
    assert.notEqual(after[3], before[3], "the same tokens behind other ones are another page");
  });

  it("are others where anything else computed the numbers", async () => {
    const ids = Array.from({ length: 8 }, (_, i) => i);
    const seen = new Set(await keysOf(ids));
    for (const other of others) {
      for (const key of await keysOf(ids, { ...facts, ...other })) {
        assert.ok(!seen.has(key), JSON.stringify(other));
        seen.add(key);
      }
    }
  });

  it("do not depend on how a setting was written", async () => {
    const ids = [1, 2, 3, 4];
    const turned = { ...facts, attention: { policy: { window: 512, sinks: 4, kind: "sinks" as const } } };
    assert.deepEqual(await keysOf(ids, turned), await keysOf(ids));
  });
});

describe("what tells a model apart", () => {
  const { spec, weights } = goldenDecoder("qwen2");

  it("is the same for the same weights, and whatever ends an answer", async () => {
    assert.equal(await modelHash(spec, weights), await modelHash({ ...spec, eosTokenIds: [1, 2] }, weights));
  });

  it("changes with the spec, a tensor's numbers and a tensor's format", async () => {
    const seen = new Set([await modelHash(spec, weights)]);
    const expectNew = async (hash: Promise<string>, what: string) => {
      const found = await hash;
      assert.ok(!seen.has(found), what);
      seen.add(found);
    };
    await expectNew(modelHash({ ...spec, ropeTheta: spec.ropeTheta * 2 }, weights), "theta");
    const tuned = (name: string): WeightStore => ({
      ...weights,
      readBytes: async (tensor, start, end, signal) => {
        const bytes = await weights.readBytes(tensor, start, end, signal);
        return tensor === name ? bytes.map((byte, index) => (index === 0 ? byte ^ 1 : byte)) : bytes;
      },
    });
    await expectNew(modelHash(spec, tuned("model.layers.1.self_attn.q_proj.weight")), "a matrix");
    await expectNew(modelHash(spec, tuned("model.layers.0.input_layernorm.weight")), "a norm");
    await expectNew(modelHash(spec, tuned("model.embed_tokens.weight")), "the embedding");
    await expectNew(modelHash(spec, { ...weights, format: () => "f16" }), "the format");
  });

  it("tells recurrent models of the same shape apart", async () => {
    const one = randomRecurrent("mamba2");
    const other = randomRecurrent("mamba2", {}, "other ");
    assert.notEqual(await modelHash(one.spec, one.weights), await modelHash(other.spec, other.weights));
  });
});
