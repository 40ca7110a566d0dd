import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { openOrtRunner } from "../../../engine/backends/ort.ts";
import type { JsonRecord } from "../../../engine/formats/json.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { resolveRope } from "../../../engine/position/choose.ts";
import { parseRope } from "../../../engine/position/ropeJson.ts";
import { nodeModelFiles } from "../../../extension/models/nodeFiles.ts";
import { goldenFile } from "../../support/goldenModels.ts";

interface SpecimenCase {
  name: string;
  rope_parameters: JsonRecord;
  ids: number[];
  lastLogits: number[];
  sumPerPosition: number[];
  greedyNext?: number[];
}

const { cases } = goldenFile("specimen_logits.json") as { cases: SpecimenCase[] };
const greedy = { temperature: 0, topP: 1, seed: 0 };

/** Both sides compute in f32 with sums in another order; the reference in plain loops is held to the same share of the largest logit. */
const RELATIVE = 2e-4;

describe("the bundled model on the WebAssembly twin against PyTorch", () => {
  for (const specimen of cases) {
    it(specimen.name, async () => {
      const wasm = new Uint8Array(readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")).buffer;
      const files = nodeModelFiles("media/specimens/keyshift-4m");
      const { spec, weights } = await loadModel(files);
      const runner = await openOrtRunner({ spec, weights, weightFormat: "f32", wasm, threads: 1 });
      await files.close();
      const choice = parseRope(specimen.rope_parameters, spec);
      runner.setPositions(resolveRope(choice, spec, specimen.ids.length, runner.capacityTokens).plan);

      const logits = await runner.append(specimen.ids, { logits: "all" });
      assert.ok(logits);
      const scale = Math.max(...specimen.lastLogits.map(Math.abs));
      const last = logits.subarray(-spec.vocabSize);
      const worst = Math.max(...specimen.lastLogits.map((value, token) => Math.abs(value - last[token])));
      assert.ok(worst <= RELATIVE * scale, `logits differ by ${worst} of ${scale}`);
      for (const [position, expected] of specimen.sumPerPosition.entries()) {
        const row = logits.subarray(position * spec.vocabSize, (position + 1) * spec.vocabSize);
        const difference = Math.abs(row.reduce((sum, value) => sum + value, 0) - expected);
        assert.ok(difference <= spec.vocabSize * RELATIVE * scale, `sum of logits at ${position}`);
      }

      const continued: number[] = [];
      for (let step = 0; step < (specimen.greedyNext ?? []).length; step++) {
        const token = await runner.sample(greedy);
        continued.push(token);
        await runner.append([token]);
      }
      assert.deepEqual(continued, specimen.greedyNext ?? []);
      runner.dispose();
    });
  }
});
