import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { badgeText, parseTokens, shortShare, shortTokens, spokenShare, spokenTokens } from "../../../extension/budget/numbers.ts";

describe("numbers of the budget", () => {
  it("are short in the tree", () => {
    const shown = [0, 999, 1000, 1049, 9_940, 12_431, 99_949, 99_950, 999_499, 999_500, 1_240_000, 99_950_000].map(shortTokens);
    assert.deepEqual(shown, ["0", "999", "1K", "1K", "9.9K", "12.4K", "99.9K", "100K", "999K", "1M", "1.2M", "100M"]);
  });

  it("are words for a screen reader", () => {
    const spoken = [1, 412, 9_400, 41_234, 1_240_000].map(spokenTokens);
    assert.deepEqual(spoken, ["1 token", "412 tokens", "9.4 thousand tokens", "41 thousand tokens", "1.2 million tokens"]);
  });

  it("say a share of the window, and never 0 % for something", () => {
    assert.deepEqual(
      [0, 1, 12_431, 128_000, 300_000].map((tokens) => shortShare(tokens, 128_000)),
      ["0 %", "<0.1 %", "9.7 %", "100 %", "234 %"],
    );
    assert.equal(spokenShare(41_000, 128_000), "32 percent of the window");
    assert.equal(spokenShare(10, 128_000), "less than 1 percent of the window");
    assert.equal(shortShare(10, 0), "", "no window, no share");
  });

  it("fit a badge of two characters, and grow with the tokens", () => {
    const steps = [50, 420, 949, 950, 9_499, 9_500, 41_000, 99_499, 99_500, 240_000, 500_000, 800_000, 900_000, 3_100_000, 2e7];
    const badges = steps.map(badgeText);
    assert.deepEqual(badges, [".1", ".4", ".9", "1k", "9k", "10", "41", "99", "⅛M", "¼M", "½M", "¾M", "1M", "3M", "∞"]);
    assert.equal(badgeText(49), undefined);
    for (let tokens = 50; tokens < 1e8; tokens = Math.ceil(tokens * 1.07)) {
      const length = badgeText(tokens)?.length ?? 0;
      assert.ok(length === 1 || length === 2, `${tokens}: VS Code refuses ${length} characters`);
    }
  });

  it("are read as people write them", () => {
    assert.deepEqual(
      ["8K", "128k", "1M", "200,000", " 4096 ", "1.5k", "65_536"].map(parseTokens),
      [8000, 128_000, 1_000_000, 200_000, 4096, 1500, 65_536],
    );
    for (const text of ["", "K", "-1", "8KB", "many", "1e3"]) assert.equal(parseTokens(text), undefined, text);
  });
});
