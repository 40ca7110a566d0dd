/** How long the solver takes for a large workspace, and how close it comes to the best there can be. `node test/run.mjs bench fit`. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { type FitItem, fitToWindow, LEVEL_WORTH } from "../../engine/pack/fit.ts";
import { readMentions } from "../../engine/pack/mentions.ts";
import { nameId } from "../../engine/pack/names.ts";
import { type RankFile, rankFiles } from "../../engine/pack/rank.ts";
import { seeded } from "../support/random.ts";
import { keepResults, median } from "./results.ts";

const FILES = 10_000;
const REPEATS = 15;

const random = seeded(8);
const files = Array.from({ length: FILES }, (_, i): RankFile => {
  const path = `src/${i % 100}/${i % 7 === 0 ? "test/" : ""}file${i}.ts`;
  return { path, mtimeMs: 1e12 + random() * 1e11, definitions: definitionsOf(i), references: referencesOf(i) };
});
const wishes = {
  open: new Set(["src/3/file3.ts"]),
  pinned: new Set<string>(),
  mentions: readMentions(["Where is `name77` used?"]),
};

/** As many names as a file of a few KB has: 20 of its own, and 150 of which most are common and some rare. */
function definitionsOf(file: number): Int32Array {
  return Int32Array.from(new Set(Array.from({ length: 20 }, (_, i) => nameId(`name${file * 20 + i}`)))).sort();
}

function referencesOf(file: number): Int32Array {
  const names = Array.from({ length: 150 }, (_, i) => nameId(`name${Math.floor(FILES * 20 * random() ** (i < 100 ? 4 : 1))}`));
  return Int32Array.from(new Set(names).add(nameId(`name${file}`))).sort();
}

function itemsOf(ranks: ReadonlyMap<string, { rank: number; reasons: readonly string[] }>): FitItem[] {
  const sizes = seeded(9);
  return files.map(({ path }) => {
    const fullTokens = 20 + Math.floor(4000 * sizes() ** 3);
    const outline = sizes() < 0.8 ? { outlineTokens: 10 + Math.floor(fullTokens * 0.2 * sizes()) } : {};
    return { path, fullTokens, nameTokens: 9, ...outline, ...(ranks.get(path) ?? { rank: 0, reasons: [] }) };
  });
}

/** What a solver that could take part of a step would reach: no choice of whole levels is worth more. */
function upperBound(items: readonly FitItem[], budget: number): number {
  const steps: { tokens: number; worth: number }[] = [];
  for (const { fullTokens, outlineTokens, nameTokens, rank } of items) {
    const versions = [
      { tokens: nameTokens, worth: LEVEL_WORTH.name * rank },
      ...(outlineTokens === undefined ? [] : [{ tokens: outlineTokens, worth: LEVEL_WORTH.outline * rank }]),
      { tokens: fullTokens, worth: LEVEL_WORTH.full * rank },
    ];
    let at = { tokens: 0, worth: 0 };
    // The upper hull, found by always going on to the version with the steepest way up.
    for (;;) {
      const from = at;
      const above = versions.filter(({ tokens, worth }) => tokens > from.tokens && worth > from.worth);
      const slope = (to: { tokens: number; worth: number }): number => (to.worth - from.worth) / (to.tokens - from.tokens);
      const next = above.sort((a, b) => slope(b) - slope(a) || b.tokens - a.tokens)[0];
      if (!next) break;
      steps.push({ tokens: next.tokens - from.tokens, worth: next.worth - from.worth });
      at = next;
    }
  }
  steps.sort((a, b) => b.worth / b.tokens - a.worth / a.tokens);
  let left = budget;
  let worth = 0;
  for (const step of steps) {
    const part = Math.min(1, left / step.tokens);
    worth += part * step.worth;
    left -= part * step.tokens;
    if (left <= 0) break;
  }
  return worth;
}

function medianMs(work: () => void): number {
  const took = Array.from({ length: REPEATS }, () => {
    const began = performance.now();
    work();
    return performance.now() - began;
  });
  return median(took);
}

it(`ranks and fits ${FILES} files`, () => {
  const ranks = rankFiles(files, wishes);
  const items = itemsOf(ranks);
  const all = items.reduce((sum, { fullTokens }) => sum + fullTokens, 0);
  const rankMs = medianMs(() => rankFiles(files, wishes));
  process.stdout.write(`ranking: ${rankMs.toFixed(1)} ms\n`);
  const fits: { budget: number; ms: number; shareOfBound: number }[] = [];
  for (const share of [0.001, 0.01, 0.1, 0.5]) {
    const budget = Math.floor(all * share);
    const fit = fitToWindow(items, budget);
    assert.ok(fit.tokens <= budget);
    const best = upperBound(items, budget);
    assert.ok(fit.worth <= best * (1 + 1e-9), "the bound is a bound");
    assert.ok(fit.worth > 0.99 * best, `${fit.worth} of ${best}`);
    const ms = medianMs(() => fitToWindow(items, budget));
    fits.push({ budget, ms: Number(ms.toFixed(1)), shareOfBound: Number((fit.worth / best).toFixed(5)) });
    process.stdout.write(
      `fit to ${budget.toLocaleString("en")} of ${all.toLocaleString("en")} tokens: ${ms.toFixed(1)} ms, ` +
        `${((100 * fit.worth) / best).toFixed(2)} % of the upper bound\n`,
    );
  }
  const rankingMs = Number(rankMs.toFixed(1));
  keepResults("fit", "node test/run.mjs bench fit", { files: FILES, tokens: all, rankingMs, fits });
});
