import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { loadModel } from "../../../engine/models/load.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { checkCases } from "../../support/familyChecks.ts";
import { ggufGoldens } from "../../support/ggufGoldens.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";

describe("GGUF files with blocks of every kind give the logits of the numbers they hold", () => {
  for (const { name, path, cases } of ggufGoldens) {
    it(name, async () => {
      const ggufName = `${name}.gguf`;
      const { spec, weights } = await loadModel({ ...memoryFiles({ [ggufName]: readFileSync(path) }), ggufName });
      await checkCases(await openReferenceRunner({ spec, weights, weightFormat: "f32" }), spec, cases, false);
    });
  }
});
