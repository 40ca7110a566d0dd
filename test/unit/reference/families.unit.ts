import { describe, it } from "node:test";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { checkFamily } from "../../support/familyChecks.ts";
import { familyNames } from "../../support/familyGoldens.ts";

describe("the reference against Hugging Face transformers", () => {
  for (const name of familyNames()) {
    it(name, () => checkFamily(name, (model) => openReferenceRunner({ ...model, weightFormat: "f32" })));
  }
});
