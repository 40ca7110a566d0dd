/** Softmax over 131,072 keys: f32 sums against float64 loops, where all scores are equal and where they are Gaussian. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { requireDevice } from "../../support/requireDevice.ts";
import type { EngineDevice } from "../../../engine/gpu/device.ts";
import { openLongAttention, relativeErrors, type LongAttention, type LongRows } from "../../support/longAttention.ts";

const KEYS = 131_072;
/** What a long context may cost: f32 sums of 131,072 weights and products, in blocks of 32 or 64 keys, are off by some 1e-5 at most. */
const TOLERANCE = 1e-3;

let gpu: EngineDevice;
let long: LongAttention;
before(async () => {
  gpu = await requireDevice();
  long = await openLongAttention(gpu, KEYS);
});
after(() => gpu.destroy());

describe(`softmax over ${KEYS} keys`, () => {
  const rows: [what: string, scores: LongRows["scores"]][] = [
    ["all scores equal", "flat"],
    ["Gaussian scores", "gaussian"],
  ];
  for (const [what, scores] of rows) {
    it(`${what}: one decoded query is within a thousandth of float64 loops`, async () => {
      const { found, expected } = await long.run({ scores, queries: 1 });
      assert(Math.max(...relativeErrors(found, expected)) <= TOLERANCE, `${relativeErrors(found, expected)[0]}`);
    });

    it(`${what}: so is every query of a prefilled chunk`, async () => {
      const { found, expected } = await long.run({ scores, queries: 24 });
      const errors = relativeErrors(found, expected);
      assert.equal(errors.length, 24);
      assert(Math.max(...errors) <= TOLERANCE, `${Math.max(...errors)}`);
    });
  }

  it("equal scores give the mean of the values", async () => {
    const { found, values } = await long.run({ scores: "flat", queries: 1 });
    const mean = new Float64Array(found.length);
    for (let i = 0; i < values.length; i++) mean[i % found.length] += values[i] / KEYS;
    assert(relativeErrors(found, mean)[0] <= TOLERANCE);
  });
});
