import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { openOrtRunner } from "../../../engine/backends/ort.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { nodeModelFiles } from "../../../extension/models/nodeFiles.ts";
import { place, RELATIVE, specimens } from "../../support/specimens.ts";

const greedy = { temperature: 0, topP: 1, seed: 0 };

for (const { name, folder, cases } of specimens) {
  describe(`the bundled ${name} on the WebAssembly twin against PyTorch`, () => {
    for (const specimen of cases) {
      it(specimen.name, async () => {
        const wasm = new Uint8Array(readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")).buffer;
        const files = nodeModelFiles(folder);
        const { spec, weights } = await loadModel(files);
        const runner = await openOrtRunner({ spec, weights, weightFormat: "f32", wasm, threads: 1 });
        await files.close();
        place(runner, spec, specimen);

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
}
