import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DISTANCE_BUCKETS, type HeadFacts } from "../../../engine/attention/api.ts";
import { distanceRows, headNumber, headPlace, headWords } from "../../../webview/state/headShade.ts";

function head(given: Partial<HeadFacts>, shares: Record<number, number> = { 0: 1 }): HeadFacts {
  const distances = Array.from({ length: DISTANCE_BUCKETS }, (_, bucket) => shares[bucket] ?? 0);
  return { layer: 0, head: 0, sinkMass: 0, entropy: 0, distances, ...given };
}

describe("what the grid of heads shows", () => {
  it("sink mass in percent, as many keys as the entropy says, and the distance that half of the attention stays within", () => {
    assert.equal(headWords(head({ sinkMass: 0.456 }), "sinks"), "46 %");
    assert.equal(headWords(head({ entropy: Math.log(12) }), "keys"), "12");
    assert.equal(headNumber(head({}, { 0: 0.25, 3: 0.5, 7: 0.25 }), "distance"), 6, "the middle of 4 to 7");
    assert.equal(headNumber(head({}, { 0: 1 }), "distance"), 0);
  });

  it("is shaded by the share itself, and by the logarithm of numbers up to the largest", () => {
    const wide = head({ entropy: Math.log(100) });
    const narrow = head({ entropy: Math.log(10) });
    assert.equal(headPlace(head({ sinkMass: 0.3 }), [wide], "sinks"), 0.3);
    assert.ok(Math.abs(headPlace(narrow, [wide, narrow], "keys") - 0.5) < 1e-12);
    assert.equal(headPlace(wide, [wide, narrow], "keys"), 1);
    assert.equal(headPlace(head({}), [head({})], "keys"), 0, "every head looks at one key");
  });

  it("distances end with the last that holds something, and name their ranges", () => {
    const rows = distanceRows(head({}, { 0: 0.5, 1: 0.2, 4: 0.3 }));
    assert.deepEqual(
      rows.map(({ range }) => range),
      ["itself", "1", "2–3", "4–7", "8–15"],
    );
    assert.equal(rows[4]?.share, 0.3);
  });
});
