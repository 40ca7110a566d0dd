import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { ModelFiles, Runner } from "../../../engine/api.ts";
import type { JsonRecord } from "../../../engine/formats/json.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { resolveRope } from "../../../engine/position/choose.ts";
import { parseRope } from "../../../engine/position/ropeJson.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { goldenFile } from "../../support/goldenModels.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";

interface SpecimenCase {
  name: string;
  rope_parameters: JsonRecord;
  ids: number[];
  lastLogits: number[];
  sumPerPosition: number[];
  argmaxPerPosition: number[];
  greedyNext?: number[];
}

const FOLDER = "media/specimens/keyshift-4m";
const { cases } = goldenFile("specimen_logits.json") as { cases: SpecimenCase[] };

/**
 * Both sides compute in f32 with sums in another order; over four layers that stays below 2e-4 of the largest logit, which is the
 * tolerance the other backends have too.
 */
const RELATIVE = 2e-4;

describe("the bundled model against PyTorch", () => {
  for (const specimen of cases) {
    it(specimen.name, async () => {
      const { runner, vocabSize } = await openSpecimen(specimen);
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
      for (const token of specimen.greedyNext ?? []) {
        continued.push(await runner.sample({ temperature: 0, topP: 1, seed: 0 }));
        await runner.append([token]);
      }
      assert.deepEqual(continued, specimen.greedyNext ?? []);
    });
  }
});

async function openSpecimen(specimen: SpecimenCase): Promise<{ runner: Runner; vocabSize: number }> {
  const { spec, weights } = await loadModel(specimenFiles());
  const runner = await openReferenceRunner({ spec, weights, weightFormat: "f32" });
  const choice = parseRope(specimen.rope_parameters, spec);
  runner.setPositions(resolveRope(choice, spec, specimen.ids.length, runner.capacityTokens).plan);
  return { runner, vocabSize: spec.vocabSize };
}

function specimenFiles(): ModelFiles {
  const names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
  const present = names.filter((name) => existsSync(`${FOLDER}/${name}`));
  return memoryFiles(Object.fromEntries(present.map((name) => [name, new Uint8Array(readFileSync(`${FOLDER}/${name}`))])));
}
