import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { formatKvFormats, kvFormats, parseKvFormats } from "../../../engine/kv-cache/kvFormats.ts";

describe("cache formats as they are written", () => {
  it("are one word for both, or keys and then values", () => {
    assert.deepEqual(parseKvFormats("q8"), { keys: "q8", values: "q8" });
    assert.deepEqual(parseKvFormats("q8,f16"), { keys: "q8", values: "f16" });
    assert.deepEqual(parseKvFormats(" f16 , q4 "), { keys: "f16", values: "q4" });
  });

  it("come back as they were written", () => {
    for (const keys of kvFormats)
      for (const values of kvFormats) {
        const written = formatKvFormats({ keys, values });
        assert.deepEqual(parseKvFormats(written), { keys, values });
        assert.equal(written.includes(","), keys !== values);
      }
  });

  it("are refused with the list of those there are", () => {
    for (const text of ["", "q5", "Q8", "q8,", ",q8", "q8,q5", "q8,q8,q8", "q8 q4"])
      assert.throws(
        () => parseKvFormats(text),
        (error) => EngineError.is(error, "bad-argument") && error.remedy.includes("f32, f16, q8, q4"),
        text,
      );
  });
});
