import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fitDocument, fitSummary } from "../../../extension/budget/fitPreview.ts";
import { freeTokens, meterSentence, meterText } from "../../../extension/budget/meter.ts";
import { isIncluded, rowDescription, rowIcon, rowSentence, rowTooltip } from "../../../extension/budget/rows.ts";
import type { BudgetRow, FitPreview } from "../../../extension/server/requests.ts";
import type { BudgetSnapshot } from "../../../webview/protocol/panel.ts";

const window = 128_000;

function row(changes: Partial<BudgetRow>): BudgetRow {
  return {
    path: "src/",
    name: "src",
    kind: "folder",
    tokens: 41_234,
    fullTokens: 41_234,
    approximate: false,
    includedFiles: 12,
    files: 12,
    level: "full",
    reason: "",
    marks: [],
    mtimeMs: 0,
    ...changes,
  };
}

describe("a row of the budget", () => {
  it("reads as a sentence", () => {
    assert.equal(rowSentence(row({}), window), "src, folder, 41 thousand tokens, 32 percent of the window, included");
    const half = row({ level: "mixed", includedFiles: 3, approximate: true });
    assert.equal(
      rowSentence(half, window),
      "src, folder, about 41 thousand tokens, 32 percent of the window, 3 of 12 files included",
    );
    const outlined = row({ path: "a.ts", name: "a.ts", kind: "file", files: 1, includedFiles: 1, level: "outline", tokens: 120 });
    assert.equal(
      rowSentence(outlined, window),
      "a.ts, file, 120 tokens, less than 1 percent of the window, included as an outline",
    );
    const dropped = row({ path: "a.ts", name: "a.ts", kind: "file", level: "excluded", includedFiles: 0, tokens: 0 });
    assert.equal(rowSentence(dropped, window), "a.ts, file, would be 41 thousand tokens, excluded");
    const left = row({ path: "out/", name: "out", kind: "excluded", reason: "ignored by .gitignore" });
    assert.equal(rowSentence(left, window), "out, folder, left out: ignored by .gitignore");
  });

  it("says tokens, share and level in short", () => {
    assert.equal(rowDescription(row({}), window), "41.2K · 32.2 %");
    assert.equal(rowDescription(row({ approximate: true }), window), "≈ 41.2K · 32.2 %");
    assert.equal(rowDescription(row({ level: "mixed", includedFiles: 3 }), window), "41.2K · 32.2 % · 3 of 12 files");
    assert.equal(
      rowDescription(row({ kind: "file", level: "outline", tokens: 1_200, fullTokens: 12_400 }), window),
      "1.2K · 0.9 % · outline of 12.4K",
    );
    assert.equal(
      rowDescription(row({ kind: "file", level: "excluded", includedFiles: 0, tokens: 0, fullTokens: 12_400 }), window),
      "excluded · would be 12.4K",
    );
    assert.equal(rowDescription(row({ kind: "excluded", reason: "binary content" }), window), "binary content");
  });

  it("shows every level by an icon of its own", () => {
    const icons = (["full", "outline", "name", "excluded"] as const).map((level) => rowIcon(row({ kind: "file", level })));
    assert.equal(new Set(icons).size, 4, icons.join());
  });

  it("tells exact numbers, marks and reason in the tooltip", () => {
    const marked = row({
      marks: [{ kind: "utf16", message: "UTF-16, converted" }],
      reason: "src/ is outlined",
      level: "outline",
    });
    const text = rowTooltip(marked, window);
    for (const part of ["41,234", "12 of 12 files", "UTF-16, converted", "src/ is outlined"])
      assert.ok(text.includes(part), text);
  });

  it("is checked when anything of it goes into the pack", () => {
    assert.equal(isIncluded(row({ level: "mixed", includedFiles: 1 })), true);
    assert.equal(isIncluded(row({ includedFiles: 0 })), false);
    assert.equal(isIncluded(row({ kind: "file", level: "name" })), true);
    assert.equal(isIncluded(row({ kind: "git", level: "excluded" })), false);
  });
});

const budget: BudgetSnapshot = {
  revision: 1,
  state: "ready",
  tokenizer: "o200k",
  doneFiles: 12,
  totalFiles: 12,
  tokens: 50_000,
  packTokens: 41_234,
  approximate: false,
  window,
  reserve: 8_000,
  bytes: 1,
  excluded: 3,
};

describe("the meter", () => {
  it("has three segments, and exact numbers in the tooltip", () => {
    const { text, tooltip, over } = meterText(budget);
    assert.equal(text, "41.2K used · 8K reserved · 78.8K free");
    assert.equal(over, false);
    for (const part of ["41,234", "8,000", "78,766", "128,000", "50,000", "o200k"]) assert.ok(tooltip.includes(part), tooltip);
    assert.equal(freeTokens(budget), 78_766);
  });

  it("says by how much a pack is too large", () => {
    const { text, over, sentence } = meterText({ ...budget, packTokens: 130_000 });
    assert.equal(text, "130K used · 8K reserved · 10K over");
    assert.equal(over, true);
    assert.match(sentence, /the pack is 10 thousand tokens too large/);
  });

  it("says where the window is one that the loaded model does not have", () => {
    const other = meterText({ ...budget, modelWindow: 2048 });
    assert.equal(other.text, "41.2K used · 8K reserved · 78.8K free of 128K, model 2K");
    assert.match(
      other.tooltip,
      /Window: 128,000, set by longContext\.window for another model\n.* trained on 2,048; Fit to Window/,
    );
    assert.match(other.sentence, /free\. The loaded model was trained on 2 thousand tokens only\.$/);
    assert.deepEqual(meterText({ ...budget, modelWindow: 131_072 }), meterText(budget), "a model that holds the window");
  });

  it("is a sentence for a screen reader, also while counting and when that failed", () => {
    assert.equal(
      meterSentence(budget),
      "The pack uses 41 thousand tokens of a window of 128 thousand tokens; 8 thousand tokens are reserved for the answer, " +
        "79 thousand tokens free.",
    );
    assert.match(
      meterSentence({ ...budget, state: "counting", approximate: true, doneFiles: 3 }),
      /about 41 .* 3 of 12 files done/,
    );
    const error = { message: "no such tokenizer", remedy: "choose another" };
    assert.equal(
      meterSentence({ ...budget, state: "failed", error }),
      "Tokens are not counted: no such tokenizer. To do: choose another.",
    );
  });
});

describe("the preview of a fit", () => {
  const preview: FitPreview = {
    revision: 4,
    budgetTokens: 24_000,
    tokens: 23_000,
    kept: 1,
    outlined: 1,
    named: 0,
    dropped: 1,
    hiddenRows: 7,
    elapsedMs: 2,
    rows: [
      { path: "b.ts", from: "full", to: "excluded", tokens: 0, fullTokens: 90_000, reason: "ranks lowest" },
      { path: "a.ts", from: "full", to: "full", tokens: 20_000, fullTokens: 20_000, reason: "open in an editor" },
      { path: "c.ts", from: "full", to: "outline", tokens: 3_000, fullTokens: 30_000, reason: "used by a.ts" },
    ],
  };

  it("lists what is kept, outlined and dropped, each with its reason and what it was", () => {
    const text = fitDocument(preview, 32_000, 8_000);
    const order = ["Kept in full", "a.ts", "open in an editor", "Outlined", "c.ts", "Dropped", "b.ts", "ranks lowest"];
    const places = order.map((part) => text.indexOf(part));
    assert.ok(
      places.every((place, index) => place > (places[index - 1] ?? -1)),
      text,
    );
    assert.match(text, /c\.ts: 3K of 30K tokens, was full\. used by a\.ts/);
    assert.ok(!text.includes("Name only"), "an empty group is not shown");
    assert.equal(fitSummary(preview), "23,000 of 24,000 tokens: 1 kept, 1 outlined, 0 by name, 1 dropped");
  });
});
