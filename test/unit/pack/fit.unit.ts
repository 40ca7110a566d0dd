import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { costOf, type FitItem, fitToWindow } from "../../../engine/pack/fit.ts";
import { levels } from "../../../engine/pack/levels.ts";
import { seeded } from "../../support/random.ts";

function item(path: string, fullTokens: number, rank: number, extra: Partial<FitItem> = {}): FitItem {
  return { path, fullTokens, nameTokens: 6, rank, ...extra };
}

function randomItems(random: () => number, count: number, pins: boolean): FitItem[] {
  return Array.from({ length: count }, (_, i) => {
    const fullTokens = Math.floor(random() ** 3 * 5000);
    const outlined = random() < 0.6 ? { outlineTokens: Math.floor(fullTokens * random()) } : {};
    const pinned = pins && random() < 0.05 ? { pinned: levels[Math.floor(random() * 4)] ?? "name" } : {};
    return item(`f${i}`, fullTokens, random() * 10, { ...outlined, ...pinned, nameTokens: 3 + Math.floor(random() * 10) });
  });
}

describe("fit to window", () => {
  it("never exceeds the budget, adds up, and keeps every pin, whatever the files", () => {
    const random = seeded(7);
    for (let round = 0; round < 300; round++) {
      const items = randomItems(random, Math.floor(random() * 60), true);
      const budget = Math.floor(random() * 40000);
      let result;
      try {
        result = fitToWindow(items, budget);
      } catch (error) {
        assert.ok(EngineError.is(error, "context-too-long"));
        const pinned = items.reduce((sum, one) => sum + (one.pinned ? costOf(one, one.pinned) : 0), 0);
        assert.ok(pinned > budget);
        continue;
      }
      assert.ok(result.tokens <= budget, `${result.tokens} of ${budget}`);
      assert.equal(
        result.choices.reduce((sum, one) => sum + one.tokens, 0),
        result.tokens,
      );
      result.choices.forEach((choice, i) => {
        const given = items[i];
        assert.ok(given);
        assert.equal(choice.path, given.path);
        assert.equal(choice.tokens, costOf(given, choice.level));
        if (given.pinned) assert.equal(choice.level, given.pinned);
        assert.ok(choice.reason.length > 10);
      });
    }
  });

  it("keeps everything where everything fits, and nothing costs where nothing may", () => {
    const items = [item("a", 100, 1), item("b", 50, 2, { outlineTokens: 10 })];
    assert.deepEqual(
      fitToWindow(items, 150).choices.map(({ level }) => level),
      ["full", "full"],
    );
    assert.equal(fitToWindow(items, 0).tokens, 0);
  });

  it("prefers rank, and outlines what is worth it before it drops it", () => {
    const items = [item("low", 1000, 1, { outlineTokens: 100 }), item("high", 1000, 10, { outlineTokens: 100 })];
    const [low, high] = fitToWindow(items, 1110).choices;
    assert.equal(high?.level, "full");
    assert.equal(low?.level, "outline");
    assert.match(low.reason, /outlined: whole it would cost 1,000 tokens \(rank 2 of 2\)/);
    assert.equal(fitToWindow(items, 1010).choices[0]?.level, "name");
  });

  it("is close to the best choice on small inputs", () => {
    const random = seeded(31);
    const worth = { full: 1, outline: 0.45, name: 0.04, excluded: 0 };
    for (let round = 0; round < 40; round++) {
      const items = randomItems(random, 6, false);
      const budget = Math.floor(random() * 8000);
      const valueOf = (chosen: readonly (keyof typeof worth)[]) =>
        chosen.reduce((sum, level, i) => sum + worth[level] * (items[i]?.rank ?? 0), 0);
      const found = valueOf(fitToWindow(items, budget).choices.map(({ level }) => level));
      let best = 0;
      for (let code = 0; code < 4 ** items.length; code++) {
        const chosen = items.map((_, i) => levels[Math.floor(code / 4 ** i) % 4] ?? "excluded");
        const cost = chosen.reduce((sum, level, i) => sum + costOf(items[i] ?? item("", 0, 0), level), 0);
        if (cost <= budget) best = Math.max(best, valueOf(chosen));
      }
      // One file more than what fits is the most that greedy steps lose.
      const largest = Math.max(...items.map(({ rank }) => rank));
      assert.ok(found >= best - largest - 1e-9, `${found} of ${best}`);
    }
  });

  it("names what does not fit when the user's own choices exceed the window", () => {
    const items = [item("big.ts", 900, 1, { pinned: "full" }), item("small.ts", 20, 1, { pinned: "full" })];
    assert.throws(
      () => fitToWindow(items, 500),
      (error) => EngineError.is(error, "context-too-long") && /920 of 500 tokens, 900 of them big\.ts/.test(error.message),
    );
    assert.throws(() => fitToWindow([item("x", Number.NaN, 1)], 5), /below 0/);
  });

  it("gives the same answer for the same input", () => {
    const items = randomItems(seeded(5), 500, false);
    assert.deepEqual(fitToWindow(items, 60000), fitToWindow(items, 60000));
  });
});
