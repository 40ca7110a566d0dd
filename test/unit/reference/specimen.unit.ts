import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadModel } from "../../../engine/models/load.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { nodeModelFiles } from "../../../extension/models/nodeFiles.ts";
import { place, RELATIVE, specimens, type SpecimenCase } from "../../support/specimens.ts";

for (const { name, folder, cases } of specimens) {
  describe(`the bundled ${name} against PyTorch`, () => {
    for (const specimen of cases) {
      it(specimen.name, async () => {
        const { runner, vocabSize } = await open(folder, specimen);
        const logits = await runner.append(specimen.ids, { logits: "all" });
        assert.ok(logits);
        const scale = Math.max(...specimen.lastLogits.map(Math.abs));
        const last = logits.subarray(-vocabSize);
        const worst = Math.max(...specimen.lastLogits.map((value, token) => Math.abs(value - last[token])));
        assert.ok(worst <= RELATIVE * scale, `logits differ by ${worst} of ${scale}`);

        specimen.ids.forEach((_, position) => {
          const row = logits.subarray(position * vocabSize, (position + 1) * vocabSize);
          const expected = specimen.argmaxPerPosition[position];
          // Two tokens closer than the tolerance may change places.
          assert.ok(row[expected] >= row.reduce((a, b) => Math.max(a, b)) - 2 * RELATIVE * scale, `largest logit at ${position}`);
          const sum = row.reduce((total, value) => total + value, 0);
          assert.ok(
            Math.abs(sum - specimen.sumPerPosition[position]) <= vocabSize * RELATIVE * scale,
            `sum of logits at ${position}`,
          );
        });

        const continued: number[] = [];
        while (continued.length < (specimen.greedyNext ?? []).length) {
          continued.push(await runner.sample({ temperature: 0, topP: 1, seed: 0 }));
          await runner.append(continued.slice(-1));
        }
        assert.deepEqual(continued, specimen.greedyNext ?? []);
      });
    }
  });
}

async function open(folder: string, specimen: SpecimenCase) {
  const files = nodeModelFiles(folder);
  const { spec, weights } = await loadModel(files);
  const runner = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
  await files.close();
  place(runner, spec, specimen);
  return { runner, vocabSize: spec.vocabSize };
}
