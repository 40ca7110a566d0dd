import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ModelSpec, Runner } from "../../engine/api.ts";
import { openWgslRunner } from "../../engine/backends/wgsl.ts";
import type { JsonRecord } from "../../engine/formats/json.ts";
import { loadModel } from "../../engine/models/load.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { parseRope } from "../../engine/position/ropeJson.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { assertClose } from "../support/gpuArrays.ts";
import { goldenFile } from "../support/goldenModels.ts";
import { requireGpu } from "../support/requireDevice.ts";

interface SpecimenCase {
  name: string;
  rope_parameters: JsonRecord;
  ids: number[];
  lastLogits: number[];
  sumPerPosition: number[];
  greedyNext?: number[];
}

const { cases } = goldenFile("specimen_logits.json") as { cases: SpecimenCase[] };
/** Both sides compute in f32 with sums in another order; a share of the largest logit. */
const RELATIVE = 2e-4;

describe("the bundled model against PyTorch", () => {
  let runner: Runner;
  let spec: ModelSpec;
  before(async () => {
    const test = await requireGpu();
    const files = nodeModelFiles("media/specimens/keyshift-4m");
    const model = await loadModel(files);
    spec = model.spec;
    runner = await openWgslRunner({ ...test, spec, weights: model.weights, weightFormat: "f32" });
    await files.close();
  });
  after(() => runner.dispose());

  for (const { name, rope_parameters: rope, ids, lastLogits, sumPerPosition, greedyNext = [] } of cases) {
    it(name, async () => {
      runner.truncate(0);
      runner.setPositions(resolveRope(parseRope(rope, spec), spec, ids.length, runner.capacityTokens).plan);
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
