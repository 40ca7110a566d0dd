import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { costOf, type FitItem, fitToWindow, LEVEL_WORTH } from "../../../engine/pack/fit.ts";
import { type Level, levels } from "../../../engine/pack/levels.ts";
import { seeded } from "../../support/random.ts";

function item(path: string, fullTokens: number, rank: number, extra: Partial<FitItem> = {}): FitItem {
  return { path, fullTokens, nameTokens: 6, rank, reasons: [], ...extra };
}

function randomItems(random: () => number, count: number, pins: boolean): FitItem[] {
  return Array.from({ length: count }, (_, i) => {
    const fullTokens = Math.floor(random() ** 3 * 5000);
    // Some outlines are longer than what they outline, some ranks are 0.
    const outlined = random() < 0.6 ? { outlineTokens: Math.floor(fullTokens * random() * 1.2) } : {};
    const pinned = pins && random() < 0.05 ? { pinned: levels[Math.floor(random() * 4)] ?? "name" } : {};
    const rank = random() < 0.1 ? 0 : random() ** 4 * 10;
    return item(`f${i}`, fullTokens, rank, { ...outlined, ...pinned, nameTokens: 3 + Math.floor(random() * 10) });
  });
}

function levelsOf(items: readonly FitItem[], budget: number): Level[] {
  return fitToWindow(items, budget).choices.map(({ level }) => level);
}

describe("fit to window", () => {
  it("never exceeds the budget, adds up, and keeps every pin, whatever the files", () => {
    const random = seeded(7);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const items = randomItems(random, Math.floor(random() * 60), true);
      const budget = Math.floor(random() ** 2 * 40000);
      const pinned = items.reduce((sum, one) => sum + (one.pinned ? costOf(one, one.pinned) : 0), 0);
      if (pinned > budget) {
        refused++;
        assert.throws(
          () => fitToWindow(items, budget),
          (error) => EngineError.is(error, "context-too-long"),
        );
        continue;
      }
      const result = fitToWindow(items, budget);
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
        assert.match(choice.reason, /^(kept whole|outlined|name only|dropped|left out): \S/);
      });
    }
    assert.ok(refused > 0 && refused < 400, `${refused} with pins that are too large`);
  });

  it("keeps no less for more tokens", () => {
    const random = seeded(11);
    const rising = (items: readonly FitItem[], budgets: readonly number[]) => {
      let before = 0;
      for (const budget of budgets) {
        const { worth } = fitToWindow(items, budget);
        assert.ok(worth >= before - 1e-6 * before, `${worth} of ${budget} tokens after ${before}`);
        before = worth;
      }
    };
    // Every file that comes to fit pushes out others that were there before.
    const sizes = [1000, 700, 510, 300, 210, 200, 130, 90, 50, 20];
    rising(
      sizes.map((tokens, i) => item(`f${i}`, tokens, tokens * (20 - i), { outlineTokens: Math.floor(tokens / 3) })),
      Array.from({ length: 3300 }, (_, budget) => budget),
    );
    for (let round = 0; round < 30; round++) {
      const items = randomItems(random, 1 + Math.floor(random() * 30), false);
      const from = Math.floor(random() * 20000);
      rising(
        items,
        Array.from({ length: 60 }, (_, i) => from + i * (1 + round * 7)),
      );
    }
  });

  it("keeps a file whole where there is room, also where its levels pay exactly alike", () => {
    // A name of 11 tokens and a whole of 275 are worth the same per token.
    for (let nameTokens = 1; nameTokens <= 20; nameTokens++) {
      for (let fullTokens = nameTokens; fullTokens <= 600; fullTokens++) {
        for (const rank of [0, 0.1, 1]) {
          const plain = item("a", fullTokens, rank, { nameTokens });
          assert.deepEqual(levelsOf([plain], fullTokens), ["full"], `${nameTokens} and ${fullTokens} tokens`);
          const outlineTokens = Math.round(fullTokens * (0.1 + 0.35 * rank));
          assert.deepEqual(levelsOf([{ ...plain, outlineTokens }], fullTokens), ["full"], `with an outline of ${outlineTokens}`);
        }
      }
    }
    const random = seeded(13);
    for (let round = 0; round < 300; round++) {
      const items = randomItems(random, 40, false);
      const all = items.reduce((sum, { fullTokens }) => sum + fullTokens, 0);
      assert.ok(levelsOf(items, all + 1000).every((level) => level === "full"));
    }
  });

  it("keeps everything where everything fits to the token, and nothing costs where nothing may", () => {
    const items = [item("a", 100_003, 1), item("b", 50, 0, { outlineTokens: 10 })];
    assert.deepEqual(levelsOf(items, 100_053), ["full", "full"]);
    assert.deepEqual(fitToWindow(items, 100_053).tokens, 100_053);
    assert.notDeepEqual(levelsOf(items, 100_052), ["full", "full"]);
    assert.equal(fitToWindow(items, 0).tokens, 0);
    assert.deepEqual(fitToWindow([], 10).choices, []);
  });

  it("prefers rank, and outlines what is worth it before it drops it", () => {
    const items = [item("low", 1000, 1, { outlineTokens: 100 }), item("high", 1000, 10, { outlineTokens: 100 })];
    assert.deepEqual(levelsOf(items, 1110), ["outline", "full"]);
    assert.deepEqual(levelsOf(items, 1010), ["name", "full"]);
  });

  it("outlines what does not fit whole, even where the outline alone would not pay", () => {
    const items = [item("half", 1000, 1, { outlineTokens: 700 })];
    assert.deepEqual(levelsOf(items, 1000), ["full"]);
    assert.deepEqual(levelsOf(items, 800), ["outline"]);
    assert.deepEqual(levelsOf(items, 600), ["name"]);
  });

  it("is close to the best choice on small inputs", () => {
    const random = seeded(31);
    for (let round = 0; round < 40; round++) {
      const items = randomItems(random, 6, false);
      const budget = Math.floor(random() * 8000);
      const worthOf = (chosen: readonly Level[]) =>
        chosen.reduce((sum, level, i) => sum + LEVEL_WORTH[level] * (items[i]?.rank ?? 0), 0);
      const { worth, choices } = fitToWindow(items, budget);
      assert.ok(Math.abs(worth - worthOf(choices.map(({ level }) => level))) < 1e-9);
      let best = 0;
      for (let code = 0; code < 4 ** items.length; code++) {
        const chosen = items.map((_, i) => levels[Math.floor(code / 4 ** i) % 4] ?? "excluded");
        const cost = chosen.reduce((sum, level, i) => sum + costOf(items[i] ?? item("", 0, 0), level), 0);
        if (cost <= budget) best = Math.max(best, worthOf(chosen));
      }
      // One file more than what fits is the most that greedy steps lose.
      const largest = Math.max(...items.map(({ rank }) => rank));
      assert.ok(worth >= best - largest - 1e-6, `${worth} of ${best}`);
    }
  });

  it("says for every file why", () => {
    const reasonOf = (one: FitItem, budget: number) => fitToWindow([item("other", 1, 99), one], budget).choices[1]?.reason;
    const file = item("a.ts", 4210, 1, { outlineTokens: 300, reasons: ["open in the editor", "uses retry"] });
    assert.equal(reasonOf(file, 9000), "kept whole: open in the editor, uses retry");
    assert.equal(reasonOf({ ...file, reasons: [] }, 9000), "kept whole: rank 2 of 2");
    assert.equal(reasonOf(file, 400), "outlined: full would cost 4,210 tokens, rank 2 of 2 (open in the editor, uses retry)");
    assert.equal(reasonOf({ ...file, reasons: [] }, 20), "name only: full would cost 4,210 tokens, rank 2 of 2");
    assert.equal(reasonOf({ ...file, reasons: [] }, 2), "dropped: rank 2 of 2, no room left for 4,210 tokens");
    const test = { ...file, reasons: [], lowered: "a test" };
    assert.equal(reasonOf(test, 9000), "kept whole: rank 2 of 2");
    assert.equal(reasonOf(test, 2), "dropped: rank 2 of 2, no room left for 4,210 tokens (a test counts less)");
    assert.equal(reasonOf({ ...file, pinned: "excluded" }, 2), "left out: chosen by you");
  });

  it("names what does not fit when the user's own choices exceed the window", () => {
    const pins = [900, 20, 30, 40].map((tokens) => item(`${tokens}.ts`, tokens, 1, { pinned: "full" }));
    assert.throws(
      () => fitToWindow([...pins, item("free.ts", 5, 1)], 500),
      (error) =>
        EngineError.is(error, "context-too-long") &&
        error.message === "what you chose to keep takes 990 of 500 tokens: 900.ts (900), 40.ts (40), 30.ts (30), 1 more",
    );
    assert.throws(() => fitToWindow([item("x", Number.NaN, 1)], 5), /"x" has tokens or a rank/);
    assert.throws(() => fitToWindow([], -1), /a budget of -1/);
  });

  it("gives the same answer for the same input", () => {
    const items = randomItems(seeded(5), 500, false);
    assert.deepEqual(fitToWindow(items, 60000), fitToWindow(items, 60000));
  });
});
