import assert from "node:assert/strict";
import { it } from "node:test";
import { cacheErrorText, denseScoresText, keptMassText } from "../../../engine/attention/costText.ts";

it("says what a pattern kept and what a format rounded, and never all of what is a little less", () => {
  assert.equal(
    keptMassText({ mean: 0.931, least: 0.5, queries: 64, heads: 12 }),
    "93.1 % of the attention on average, 50 % in the head that lost most (on 64 queries)",
  );
  assert.match(keptMassText({ mean: 0.99996, least: 0.9951, queries: 1, heads: 1 }), /^> 99\.99 % .* 99\.51 %/);
  assert.match(keptMassText({ mean: 1, least: 1, queries: 1, heads: 1 }), /^100 % /);
  assert.equal(cacheErrorText({ keys: 0.00612, values: 0.1 }), "0.612 % in keys, 10 % in values");
});

it("says what rows of scores took, and what a square of them would have", () => {
  const once = "rows of scores took 33 MB at once, where flash keeps none";
  assert.equal(denseScoresText({ atOnce: 33e6, square: 69e9 }), `${once}; of all tokens together they would be 69 GB`);
  assert.equal(denseScoresText({ atOnce: 33e6, square: 33e6 }), once);
});
