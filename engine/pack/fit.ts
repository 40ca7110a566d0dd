import { EngineError } from "../errors.ts";
import { type Level, levels } from "./levels.ts";

/** One file as the solver sees it. */
export interface FitItem {
  path: string;
  /** Tokens that each level costs in the pack; a file without an outline has none. */
  fullTokens: number;
  outlineTokens?: number;
  nameTokens: number;
  /** How much it matters, at least 0; only proportions count. */
  rank: number;
  /** The user's choice, which is kept. */
  pinned?: Level;
  /** What raised its rank, in words; shown with the level. */
  reasons: readonly string[];
  /** What lowered its rank, in words: "a test". */
  lowered?: string;
}

export interface FitChoice {
  path: string;
  level: Level;
  tokens: number;
  /** A sentence without its full stop: "kept whole: open in an editor". */
  reason: string;
}

export interface FitResult {
  /** In the order of the items. */
  choices: FitChoice[];
  tokens: number;
  /** Rank of the files times the share of it that their levels keep, added up; what the solver maximises. */
  worth: number;
}

/** Share of a file's worth that a level keeps: declarations tell less than half of what a question may be about, a name hardly anything. */
export const LEVEL_WORTH: Readonly<Record<Level, number>> = { full: 1, outline: 0.45, name: 0.04, excluded: 0 };

/**
 * Chooses a level for each file so that the tokens stay within the budget: a knapsack with several versions of each thing. The versions
 * of a file that pay (the upper hull of worth over tokens) become steps with falling worth per token, and the steps of all files are
 * taken best first while they fit. One that does not fit ends its file there, but for versions below the hull, which are steps of
 * their own and have their turn later; smaller steps of other files still get their chance.
 *
 * Within one step of the optimum, O(n log n), the same result for the same input. More budget never keeps less worth: where a growing budget
 * first admits a step, that step fills what was left to the token, and with more worth per token than anything behind it.
 * Pinned files keep their level. Throws `context-too-long` where they alone exceed the budget, and `bad-argument` for tokens or ranks
 * that are no numbers of at least 0.
 */
export function fitToWindow(items: readonly FitItem[], budgetTokens: number): FitResult {
  checkItems(items, budgetTokens);
  const chosen = items.map((item): Level => item.pinned ?? "excluded");
  const pinned = items.reduce((sum, item) => sum + (item.pinned === undefined ? 0 : costOf(item, item.pinned)), 0);
  if (pinned > budgetTokens) throw pinsTooLarge(items, pinned, budgetTokens);
  // A file that nothing speaks for still goes in where there is room.
  const least = 1e-9 * (items.reduce((most, { rank }) => Math.max(most, rank), 0) || 1);
  const steps = items.flatMap((item, index) => (item.pinned === undefined ? stepsOf(item, index, least) : []));
  // The steps of one file stay in their order where they pay alike: none may be taken before the one it begins at.
  steps.sort((a, b) => b.density - a.density || a.item - b.item);
  let left = budgetTokens - pinned;
  for (const { item, from, to, tokens } of steps) {
    if (tokens > left || chosen[item] !== from) continue;
    left -= tokens;
    chosen[item] = to;
  }
  const places = placesByRank(items);
  const all = grouped(items.length);
  const choices = items.map((item, i): FitChoice => {
    const level = chosen[i] ?? "excluded";
    const place = `rank ${grouped(places[i] ?? 0)} of ${all}`;
    return { path: item.path, level, tokens: costOf(item, level), reason: reasonFor(item, level, place) };
  });
  return {
    choices,
    tokens: choices.reduce((sum, { tokens }) => sum + tokens, 0),
    worth: items.reduce((sum, { rank }, i) => sum + rank * LEVEL_WORTH[chosen[i] ?? "excluded"], 0),
  };
}

/** Tokens of a file at a level; without an outline, `outline` costs what the whole file costs. */
export function costOf(item: Pick<FitItem, "fullTokens" | "outlineTokens" | "nameTokens">, level: Level): number {
  switch (level) {
    case "full":
      return item.fullTokens;
    case "outline":
      return item.outlineTokens ?? item.fullTokens;
    case "name":
      return item.nameTokens;
    case "excluded":
      return 0;
  }
}

/** A step of one file to a higher level. */
interface Step {
  item: number;
  from: Level;
  to: Level;
  /** Tokens on top of `from`. */
  tokens: number;
  /** Worth per token. */
  density: number;
}

/** Steps from nothing upwards along the hull, each paying less per token than the one before, and to the versions below it. */
function stepsOf(item: FitItem, index: number, leastRank: number): Step[] {
  const rank = Math.max(item.rank, leastRank);
  const versionOf = (level: Level): Version => ({ level, tokens: costOf(item, level), worth: LEVEL_WORTH[level] * rank });
  const versions = levels
    .filter((level) => level !== "excluded" && (level !== "outline" || item.outlineTokens !== undefined))
    .map(versionOf)
    .sort((a, b) => a.tokens - b.tokens || b.worth - a.worth);
  const hull = [versionOf("excluded")];
  const below: Version[] = [];
  for (const version of versions) {
    if (version.worth <= (hull.at(-1)?.worth ?? 0)) continue;
    for (;;) {
      const [lower, top] = [hull.at(-2), hull.at(-1)];
      if (!lower || !top || slope(lower, top) >= slope(top, version)) break;
      below.push(top);
      hull.pop();
    }
    hull.push(version);
  }
  const step = (from: Version, to: Version): Step => {
    return { item: index, from: from.level, to: to.level, tokens: to.tokens - from.tokens, density: slope(from, to) };
  };
  const start = hull[0] ?? versionOf("excluded");
  const upwards = hull.slice(1).map((version, i) => step(hull[i] ?? start, version));
  const aside = below.map((version) => {
    const at = Math.max(
      0,
      hull.findLastIndex(({ tokens }) => tokens < version.tokens),
    );
    const own = step(hull[at] ?? start, version);
    // Never before the step of the hull that begins where it does, which it would bar: rounding may tell two that pay alike apart.
    return { ...own, density: Math.min(own.density, upwards[at]?.density ?? own.density) };
  });
  return [...upwards, ...aside];
}

interface Version {
  level: Level;
  tokens: number;
  worth: number;
}

function slope(from: Version, to: Version): number {
  return (to.worth - from.worth) / Math.max(to.tokens - from.tokens, 1e-9);
}

function reasonFor(item: FitItem, level: Level, place: string): string {
  const why = item.reasons.join(", ");
  const lowered = item.lowered === undefined ? "" : `${item.lowered} counts less`;
  const notes = [why, lowered].filter((note) => note !== "").join(", ");
  const aside = notes === "" ? "" : ` (${notes})`;
  if (item.pinned !== undefined) return `${NAMES[level]}: chosen by you`;
  const full = grouped(item.fullTokens);
  switch (level) {
    case "full":
      return why === "" ? `kept whole: ${place}` : `kept whole: ${why}`;
    case "outline":
      return `outlined: full would cost ${full} tokens, ${place}${aside}`;
    case "name":
      return `name only: full would cost ${full} tokens, ${place}${aside}`;
    case "excluded":
      return `dropped: ${place}, no room left for ${full} tokens${aside}`;
  }
}

const NAMES: Readonly<Record<Level, string>> = {
  full: "kept whole",
  outline: "outlined",
  name: "name only",
  excluded: "left out",
};

/** 1 for the highest rank; equal ranks in the order of the items. */
function placesByRank(items: readonly FitItem[]): Int32Array {
  const order = items.map((_, i) => i).sort((a, b) => (items[b]?.rank ?? 0) - (items[a]?.rank ?? 0) || a - b);
  const places = new Int32Array(items.length);
  order.forEach((item, place) => (places[item] = place + 1));
  return places;
}

function checkItems(items: readonly FitItem[], budgetTokens: number): void {
  if (!(budgetTokens >= 0)) throw new EngineError("bad-argument", `a budget of ${budgetTokens} tokens`, "give 0 or more");
  for (const { path, fullTokens, outlineTokens = 0, nameTokens, rank } of items) {
    if ([fullTokens, outlineTokens, nameTokens, rank].every((value) => value >= 0 && Number.isFinite(value))) continue;
    throw new EngineError("bad-argument", `"${path}" has tokens or a rank that is no number of at least 0`, "report it");
  }
}

/** Names the largest, which are the ones to release. */
function pinsTooLarge(items: readonly FitItem[], tokens: number, budgetTokens: number): EngineError {
  const pins = items
    .flatMap((item) => (item.pinned === undefined ? [] : [{ path: item.path, tokens: costOf(item, item.pinned) }]))
    .filter((pin) => pin.tokens > 0)
    .sort((a, b) => b.tokens - a.tokens);
  const named = pins.slice(0, MOST_NAMED).map((pin) => `${pin.path} (${grouped(pin.tokens)})`);
  const others = pins.length - named.length;
  const list = [...named, ...(others > 0 ? [`${grouped(others)} more`] : [])].join(", ");
  return new EngineError(
    "context-too-long",
    `what you chose to keep takes ${grouped(tokens)} of ${grouped(budgetTokens)} tokens: ${list}`,
    "release or outline some of it, or choose a larger window",
    { tokens, budgetTokens, largest: pins[0]?.path ?? "" },
  );
}

const MOST_NAMED = 3;

/** "12,345": by hand, because formatting tens of thousands of numbers by locale takes longer than solving. */
function grouped(value: number): string {
  if (value < 1000) return String(value);
  return `${grouped(Math.floor(value / 1000))},${String(Math.floor(value % 1000)).padStart(3, "0")}`;
}
