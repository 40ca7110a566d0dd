import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ModelSpec, Runner } from "../../engine/api.ts";
import { openWgslRunner } from "../../engine/backends/wgsl.ts";
import { loadModel } from "../../engine/models/load.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { assertClose } from "../support/gpuArrays.ts";
import { requireGpu } from "../support/requireDevice.ts";
import { place, RELATIVE, specimens } from "../support/specimens.ts";

for (const { name, folder, cases } of specimens) {
  describe(`the bundled ${name} against PyTorch`, () => {
    let runner: Runner;
    let spec: ModelSpec;
    before(async () => {
      const test = await requireGpu();
      const files = nodeModelFiles(folder);
      const model = await loadModel(files);
      spec = model.spec;
      runner = await openWgslRunner({ ...test, spec, weights: model.weights, weightFormat: "f32" });
      await files.close();
    });
    after(() => runner.dispose());

    for (const specimen of cases) {
      const { ids, lastLogits, sumPerPosition, greedyNext = [] } = specimen;
      it(specimen.name, async () => {
        runner.truncate(0);
        place(runner, spec, specimen);
        const logits = await runner.append(ids, { logits: "all" });
        assert(logits !== undefined);
        const bound = RELATIVE * Math.max(...lastLogits.map(Math.abs));
        const V = spec.vocabSize;
        assertClose(logits.subarray(-V), lastLogits, bound, "last position");
        const sums = sumPerPosition.map((_, i) => logits.subarray(i * V, (i + 1) * V).reduce((sum, value) => sum + value, 0));
        assertClose(sums, sumPerPosition, V * bound, "sums of each position");
        for (const [step, expected] of greedyNext.entries()) {
          const token = await runner.sample({ temperature: 0, topP: 1, seed: 0 });
          assert.equal(token, expected, `token ${step} of the continuation`);
          await runner.append([token]);
        }
      });
    }
  });
}
