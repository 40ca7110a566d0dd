import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadModel } from "../../../engine/models/load.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { nodeModelFiles } from "../../../extension/models/nodeFiles.ts";
import { checkCases } from "../../support/familyChecks.ts";
import { packedGoldens } from "../../support/packedGoldens.ts";

describe("checkpoints packed by AWQ, GPTQ and as 8-bit floats are read as what they stand for", () => {
  for (const { name, folder, corners, cases } of packedGoldens) {
    it(name, async () => {
      const files = nodeModelFiles(folder);
      const { spec, weights } = await loadModel(files);
      for (const [tensor, expected] of corners) {
        if (!weights.has(tensor)) continue;
        const [rows = 0, columns = 0] = weights.shape(tensor);
        const values = await weights.readRows(tensor);
        const at = (row: number, from: number): number[] => [...values.subarray(row * columns + from, row * columns + from + 4)];
        const found = [0, 1].flatMap((row) => at(row, 0));
        found.push(...[rows - 2, rows - 1].flatMap((row) => at(row, columns - 4)));
        // The stored values are float64, ours the product of two f32.
        for (const [index, value] of expected.entries()) {
          assert.ok(Math.abs((found[index] ?? NaN) - value) <= 1e-6 * Math.max(1, Math.abs(value)), `${tensor} ${index}`);
        }
      }
      await checkCases(await openReferenceRunner({ spec, weights, weightFormat: "f32" }), spec, cases, true);
      await files.close();
    });
  }
});
