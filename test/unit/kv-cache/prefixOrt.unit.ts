/** Pages of the WASM decoder: what is taken out of one runner goes on in another. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { DecoderSpec, RopeScaling, Runner, WeightStore } from "../../../engine/api.ts";
import { openOrtRunner } from "../../../engine/backends/ort.ts";
import type { CachedPages } from "../../../engine/kv-cache/api.ts";
import { resolveRope } from "../../../engine/position/choose.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { gemmaLike } from "../../support/decoderShapes.ts";
import { assertClose } from "../../support/gpuArrays.ts";
import { randomModel } from "../../support/goldenModels.ts";

const wasm = new Uint8Array(readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")).buffer;
const PAGE = 256;
const TOKENS = 2 * PAGE + 60;
/** Chunks are cut by time, so sums come in another order. */
const TOLERANCE = 2e-4;

const cases: [string, Partial<DecoderSpec>, RopeScaling][] = [
  ["a model that shifts keys", { headDim: 16, keyShift: true, qkNorm: true }, { kind: "none" }],
  ["windows and a rotation of their own", gemmaLike, { kind: "none" }],
  ["two copies of the keys", { keyShift: true }, { kind: "self_extend", group: 4, window: 64 }],
];

async function opened(
  { spec, weights }: { spec: DecoderSpec; weights: WeightStore },
  rope: RopeScaling,
): Promise<{ runner: Runner; pages: CachedPages }> {
  const runner = await openOrtRunner({ spec, weights, weightFormat: "f32", wasm, threads: 1 });
  runner.setPositions(resolveRope(rope, spec, TOKENS, runner.capacityTokens).plan);
  assert.ok(runner.pages);
  return { runner, pages: runner.pages };
}

describe("pages of the WASM backend", () => {
  for (const [name, overrides, rope] of cases) {
    it(`${name}: goes on from pages as from what was computed`, async () => {
      const model = randomModel(overrides);
      const ids = Array.from({ length: TOKENS }, (_, index) => (index * 7919 + 3) % model.spec.vocabSize);
      const reference = await openReferenceRunner({ ...model, weightFormat: "f32" });
      reference.setPositions(resolveRope(rope, model.spec, TOKENS, 65536).plan);
      const logits = (await reference.append(ids, { logits: "all" })) ?? new Float32Array();
      const V = model.spec.vocabSize;

      const first = await opened(model, rope);
      await first.runner.append(ids);
      const blobs = await first.pages.export(0, 2);
      const pages = blobs.filter((blob) => blob !== undefined);
      assert.deepEqual(
        pages.map(({ length }) => length),
        [first.pages.bytesPerPage, first.pages.bytesPerPage],
      );
      await assert.rejects(first.pages.export(2, 1), { code: "bad-argument" });
      first.runner.dispose();

      const other = await opened(model, rope);
      await assert.rejects(other.pages.import(pages, 1), { code: "bad-argument" });
      await other.pages.import(pages, 0);
      assert.equal(other.runner.length, 2 * PAGE);
      const rest = await other.runner.append(ids.slice(2 * PAGE), { logits: "all" });
      assertClose(rest ?? [], logits.slice(2 * PAGE * V), TOLERANCE, "behind the pages");
      assert.equal(other.runner.truncate(PAGE + 40), PAGE + 32);
      const again = await other.runner.append(ids.slice(PAGE + 32), { logits: "all" });
      assertClose(again ?? [], logits.slice((PAGE + 32) * V), TOLERANCE, "behind a cut inside of a page");
      assert.equal(other.runner.tap.from, PAGE + 32, "queries are there from where something was computed");
      const edges = { queryEdges: Uint32Array.of(PAGE + 32, TOKENS), keyEdges: Uint32Array.of(0, PAGE, TOKENS) };
      const pooled = await other.runner.pool({ layer: "mean", head: "mean", ...edges });
      const expected = await reference.pool({ layer: "mean", head: "mean", ...edges });
      assertClose(pooled.cells, expected.cells, TOLERANCE, "attention");
      await assert.rejects(other.runner.pool({ layer: "mean", head: "mean", ...edges, queryEdges: Uint32Array.of(0, TOKENS) }), {
        code: "bad-argument",
      });
      other.runner.dispose();
    });
  }
});
