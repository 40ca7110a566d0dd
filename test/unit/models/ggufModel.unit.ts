/** GGUF files that llama.cpp's converter made of the tiny models of test/golden/families: the same model must be read from both. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { ModelSpec, WeightStore } from "../../../engine/api.ts";
import { checkpointView } from "../../../engine/models/checkpoint.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { familyModel } from "../../support/familyGoldens.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";

const filesOf = (name: string) => {
  const fileName = `${name}.gguf`;
  return { ...memoryFiles({ [fileName]: readFileSync(`test/golden/gguf/converted/${fileName}`) }), ggufName: fileName };
};
const EOT = 3;

describe("models in GGUF are those of their config.json", () => {
  /** Facts that the file does not hold as config.json does; of several ends of an answer it names one. */
  const differences: Readonly<Record<string, (spec: ModelSpec) => object>> = {
    llama_3: () => ({}),
    llama_biases: () => ({}),
    llama_yarn: () => ({}),
    // The architecture is called llama.
    mistral_nemo: () => ({ modelType: "llama" }),
    qwen2_untied: () => ({}),
    qwen3: () => ({}),
    smollm3: () => ({}),
    phi3_4_mini: () => ({}),
    // query_pre_attn_scalar is not in the file: what published models have, the head's length, is taken.
    gemma2: () => ({ attentionScale: 16 ** -0.5 }),
    gemma3_defaults: () => ({ attentionScale: 8 ** -0.5 }),
    // Nor is which layers slide: every sixth sees everything.
    gemma3: () => ({ layers: Array.from({ length: 3 }, () => ({ window: 4, rotation: "local" })) }),
    // Where config.json has no length the converter writes the hidden size.
    bloom_prefixed: () => ({ maxPositionEmbeddings: 32 }),
    // The configuration class has other special tokens than our vocabulary.
    mpt: () => ({ bosTokenId: 1, eosTokenIds: [2, EOT] }),
    mamba: () => ({ bosTokenId: 1, eosTokenIds: [2, EOT] }),
    // The length of the chunks of prefill and that of training are not in the file; neither changes a number.
    mamba2_groups_2: () => ({ bosTokenId: 1, eosTokenIds: [2, EOT], chunkSize: 256 }),
    rwkv7: () => ({ bosTokenId: 1, eosTokenIds: [2, EOT], maxPositionEmbeddings: 4096 }),
  };
  for (const [name, different] of Object.entries(differences)) {
    it(`${name}: facts`, async () => {
      const { spec } = await loadModel(filesOf(name));
      const expected = parseSpec(familyModel(name).config);
      assert.deepEqual(spec, { ...expected, eosTokenIds: [expected.eosTokenIds[0], EOT], ...different(expected) });
    });

    it(`${name}: weights under the engine's names, in the file's formats`, async () => {
      const { spec, weights } = await loadModel(filesOf(name));
      const checkpoint = checkpointView(parseSpec(familyModel(name).config), familyModel(name).weights);
      for (const [tensor, shape] of tensorShapes(spec)) await assertSameTensor(tensor, shape, weights, checkpoint);
    });
  }

  it("quantised weights keep their blocks: rows of queries, keys and fused projections are picked whole", async () => {
    for (const name of ["llama_3", "phi3_4_mini", "bloom_prefixed"]) {
      const { spec, weights } = await loadModel(filesOf(name));
      assert.equal(spec.kind, "decoder");
      const tensor = "model.layers.1.self_attn.k_proj.weight";
      assert.equal(weights.format(tensor), "q8_0");
      const [rows = 0, columns = 0] = weights.shape(tensor);
      const whole = await weights.readBytes(tensor, 0, rows);
      assert.equal(whole.length, (rows * columns * 34) / 32);
      assert.deepEqual(await weights.readBytes(tensor, 3, 6), whole.slice(whole.length * (3 / rows), whole.length * (6 / rows)));
    }
  });

  it("answers are those of the checkpoint, but for the rounding of weights to eight bits", async () => {
    for (const name of ["llama_3", "phi3_4_mini", "qwen3", "bloom_prefixed"]) {
      const { spec, weights } = await loadModel(filesOf(name));
      const { cases } = familyModel(name);
      const run = cases.find(({ inputIds }) => inputIds.length >= 5) ?? assert.fail("no prompt");
      const runner = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
      runner.setPositions(positionPlan(spec.kind === "decoder" ? spec.rope : { kind: "none" }, spec, run.inputIds.length));
      const logits = (await runner.append(run.inputIds, { logits: "all" })) ?? assert.fail("no logits");
      for (const [index, position] of run.positions.entries()) {
        const row = logits.subarray(position * spec.vocabSize, (position + 1) * spec.vocabSize);
        const expected = run.logits[index] ?? [];
        const worst = row.reduce((most, value, id) => Math.max(most, Math.abs(value - (expected[id] ?? NaN))), 0);
        const range = Math.max(...expected) - Math.min(...expected);
        // A wrong row order or scale changes logits by their whole range.
        assert.ok(worst < 0.05 * range, `${name} position ${position}: off by ${worst} of ${range}`);
      }
    }
  });
});

async function assertSameTensor(
  tensor: string,
  shape: readonly number[],
  weights: WeightStore,
  checkpoint: WeightStore,
): Promise<void> {
  assert.deepEqual(weights.shape(tensor), shape, tensor);
  const [found, expected] = [await weights.readRows(tensor), await checkpoint.readRows(tensor)];
  assert.equal(found.length, expected.length);
  const format = weights.format(tensor);
  // Half a step of a block's 127, and the rounding of its scale to f16; half a unit of f16; of f32, the rounding of 1 + w, log and exp.
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const tolerance =
    { q8_0: 0.5 / 127 + 2 ** -11, f16: 2 ** -11, f32: 3e-7 }[format as "q8_0" | "f16" | "f32"] * Math.max(largest, 1);
  for (const [index, value] of expected.entries()) {
    assert.ok(
      Math.abs((found[index] ?? NaN) - value) <= tolerance,
      `${tensor}[${index}] is ${found[index]} and should be ${value} (${format})`,
    );
  }
  const middle = Math.floor((shape[0] ?? 1) / 2);
  const width = expected.length / (shape[0] ?? 1);
  assert.deepEqual(await weights.readRows(tensor, middle, middle + 1), found.slice(middle * width, (middle + 1) * width), tensor);
}
