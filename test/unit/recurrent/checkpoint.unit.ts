import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { WeightStore } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { checkpointView } from "../../../engine/models/checkpoint.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { checkWeights, tensorShapes } from "../../../engine/models/weights.ts";
import { rwkvConfigFromWeights, withRanksOf } from "../../../engine/recurrent/checkpoint.ts";
import { storeOf } from "../../support/goldenModels.ts";
import { randomRecurrent, underBlinkNames, type RandomRecurrent, type Tensors } from "../../support/recurrentModels.ts";

describe("original Mamba files", () => {
  for (const kind of ["mamba", "mamba2"] as const) {
    it(`${kind}: say embedding for embeddings`, async () => {
      const model = randomRecurrent(kind);
      const renamed = new Map([...model.tensors].map(([name, tensor]) => [name.replace("embeddings.", "embedding."), tensor]));
      assert.ok(renamed.has("backbone.embedding.weight"));
      await sees(checkpointView(model.spec, storeOf(renamed)), model);
    });
  }
});

describe("RWKV-7 files of flash-linear-attention", () => {
  const model = randomRecurrent("rwkv7");

  it("hold mixes as [1, 1, E]", async () => {
    const files: Tensors = new Map(
      [...model.tensors].map(([name, { shape, values }]) => [
        name,
        { shape: /attn\.x_/.test(name) ? [1, 1, ...shape] : shape, values },
      ]),
    );
    await sees(checkpointView(model.spec, storeOf(files)), model);
  });

  it("held them in one tensor once, in the order r, w, k, v, a, g", async () => {
    const files: Tensors = new Map([...model.tensors].filter(([name]) => !/attn\.x_/.test(name)));
    for (let layer = 0; layer < model.spec.layerCount; layer++) {
      const rows = ["r", "w", "k", "v", "a", "g"].flatMap((mix) => [
        ...(model.tensors.get(`model.layers.${layer}.attn.x_${mix}`)?.values ?? []),
      ]);
      files.set(`model.layers.${layer}.attn.x_x`, { shape: [6, model.spec.hiddenSize], values: Float64Array.from(rows) });
    }
    await sees(checkpointView(model.spec, storeOf(files)), model);
  });

  it("give the ranks that config.json leaves to defaults", () => {
    const stated = parseSpec({
      model_type: "rwkv7",
      vocab_size: 37,
      hidden_size: 64,
      num_hidden_layers: 3,
      head_dim: 16,
      intermediate_size: 96,
    });
    assert.ok(stated.kind === "rwkv7");
    assert.throws(() => checkWeights(stated, model.weights), { code: "bad-weights" });
    const spec = withRanksOf(stated, model.weights);
    assert.deepEqual([spec.decayRank, spec.gateRank, spec.aRank, spec.vRank], [7, 10, 6, 5]);
    checkWeights(spec, model.weights);
  });
});

describe("RWKV-7 files as BlinkDL publishes them", () => {
  const model = randomRecurrent("rwkv7");
  const files = underBlinkNames(model.tensors);

  it("give every tensor, low-rank matrices transposed", async () => {
    await sees(checkpointView(model.spec, storeOf(files)), model);
  });

  it("give rows of a transposed matrix too, and say that it is f32", async () => {
    const view = checkpointView(model.spec, storeOf(files));
    const name = "model.layers.1.attn.g_lora.lora.2.weight";
    assert.equal(view.format(name), "f32");
    const rows = await view.readRows(name, 5, 8);
    assert.deepEqual([...rows], [...Float32Array.from(model.tensors.get(name)?.values.slice(50, 80) ?? [])]);
    assert.deepEqual(new Float32Array((await view.readBytes(name, 5, 8)).buffer), rows);
  });

  it("need no config.json: shapes tell the model", () => {
    const spec = parseSpec(rwkvConfigFromWeights(storeOf(files)));
    assert.deepEqual(spec, { ...model.spec, bosTokenId: 0, eosTokenIds: [0] });
    assert.equal(rwkvConfigFromWeights(model.weights), undefined);
    assert.ok(spec.kind === "rwkv7");
    assert.deepEqual(withRanksOf({ ...spec, gateRank: 1, vRank: 9 }, storeOf(files)), spec);
  });

  it("are refused where a matrix is not transposed, or a vector has another length", () => {
    const wrong: [name: string, shape: number[]][] = [
      ["blocks.1.att.w1", [7, 64]],
      ["blocks.1.att.k_k", [1, 1, 63]],
    ];
    for (const [name, shape] of wrong) {
      const count = shape.reduce((product, size) => product * size, 1);
      const damaged = new Map(files).set(name, { shape, values: new Float64Array(count) });
      assert.throws(
        () => checkWeights(model.spec, checkpointView(model.spec, storeOf(damaged))),
        (error) => EngineError.is(error, "bad-weights") && error.message.includes(name),
      );
    }
    const short = new Map(files);
    short.delete("blocks.2.att.a0");
    assert.throws(() => checkWeights(model.spec, checkpointView(model.spec, storeOf(short))), { code: "weights-missing" });
  });
});

async function sees(view: WeightStore, { spec, tensors }: RandomRecurrent): Promise<void> {
  checkWeights(spec, view);
  for (const name of tensorShapes(spec).keys()) {
    assert.deepEqual(await view.readRows(name), Float32Array.from(tensors.get(name)?.values ?? []), name);
  }
}
