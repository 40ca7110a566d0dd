import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { costText, questionCost, readPrices } from "../../../engine/pack/price.ts";

describe("prices", () => {
  it("become the cost of one question, with the longest answer", () => {
    const [first, second] = readPrices([
      { model: "large", inputPerMillion: 2.5, outputPerMillion: 10 },
      { model: "small", currency: "EUR", inputPerMillion: 0.1 },
    ]);
    assert.ok(first && second);
    assert.equal(costText(questionCost(first, 48_000, 8_000)), "large: $0.12 to ask, up to $0.08 more for the answer");
    assert.equal(costText(questionCost(second, 12_000, 8_000)), "small: EUR 0.0012 to ask");
    assert.equal(costText(questionCost(second, 3, 0)), "small: <EUR 0.0001 to ask", "something is never nothing");
  });

  it("are refused with the row that is wrong and an example", () => {
    const cases: [unknown, RegExp][] = [
      [{}, /not a list/],
      [[3], /row 1/],
      [
        [
          { model: "a", inputPerMillion: 1 },
          { model: " ", inputPerMillion: 1 },
        ],
        /no model in row 2/,
      ],
      [[{ model: "a", inputPerMillion: "free" }], /"free" as inputPerMillion in row 1/],
      [[{ model: "a" }], /nothing as inputPerMillion/],
      [[{ model: "a", inputPerMillion: 1, url: "https://example.org" }], /unknown key "url"/],
      [[{ model: "a", inputPerMillion: 1, outputPerMillion: -1 }], /-1 as outputPerMillion/],
      [[{ model: "a", inputPerMillion: 1, currency: "dollars" }], /currency/],
    ];
    for (const [table, message] of cases) assert.throws(() => readPrices(table), { code: "bad-argument", message });
  });
});
