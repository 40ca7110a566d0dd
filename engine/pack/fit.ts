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
  because?: string;
}

export interface FitChoice {
  path: string;
  level: Level;
  tokens: number;
  reason: string;
}

export interface FitResult {
  /** In the order of the items. */
  choices: FitChoice[];
  tokens: number;
}

/** Share of a file's worth that a level keeps: declarations tell less than half of what a question may be about, a name hardly anything. */
const WORTH: Record<Level, number> = { full: 1, outline: 0.45, name: 0.04, excluded: 0 };

/** A step of one file to a higher level. */
interface Step {
  item: number;
  level: Level;
  /** Tokens on top of the level below. */
  tokens: number;
  /** Rank gained per token. */
  density: number;
}

/**
 * Chooses a level for each file so that the tokens stay within the budget: a knapsack with several versions of each thing. The
 * versions that pay (the upper hull of worth over tokens) become steps with falling worth per token, and the steps of all files are
 * taken best first while they fit; a step that does not fit ends its file there, and smaller ones behind it still get their chance. Within the
 * largest single step of the optimum, O(n log n), the same result for the same input. Pinned files keep their level; throws
 * `context-too-long` where they alone exceed the budget, and `bad-argument` for tokens or ranks that are no numbers of at least 0.
 */
export function fitToWindow(items: readonly FitItem[], budgetTokens: number): FitResult {
  checkItems(items, budgetTokens);
  const chosen = items.map((item): Level => item.pinned ?? "excluded");
  let tokens = items.reduce((sum, item, i) => sum + costOf(item, chosen[i] ?? "excluded"), 0);
  if (tokens > budgetTokens) throw pinsTooLarge(items, tokens, budgetTokens);
  const steps = items.flatMap((item, index) => (item.pinned === undefined ? stepsOf(item, index) : []));
  steps.sort((a, b) => b.density - a.density || a.item - b.item || a.tokens - b.tokens);
  const stuck = new Uint8Array(items.length);
  for (const step of steps) {
    if (stuck[step.item]) continue;
    if (tokens + step.tokens > budgetTokens) {
      stuck[step.item] = 1;
      continue;
    }
    tokens += step.tokens;
    chosen[step.item] = step.level;
  }
  const places = placesByRank(items);
  const choices = items.map((item, i): FitChoice => {
    const level = chosen[i] ?? "excluded";
    const place = `rank ${(places[i] ?? 0).toLocaleString("en-US")} of ${items.length.toLocaleString("en-US")}`;
    return { path: item.path, level, tokens: costOf(item, level), reason: reasonFor(item, level, place) };
  });
  return { choices, tokens };
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

/** Steps from nothing upwards along the upper hull of (tokens, worth), so that each step pays less per token than the one before. */
function stepsOf(item: FitItem, index: number): Step[] {
  const versionOf = (level: Level) => ({ level, tokens: costOf(item, level), worth: WORTH[level] * item.rank });
  const rising = levels
    .filter((level) => level !== "excluded" && (level !== "outline" || item.outlineTokens !== undefined))
    .map(versionOf)
    .sort((a, b) => a.tokens - b.tokens || b.worth - a.worth);
  const hull = [versionOf("excluded")];
  for (const version of rising) {
    if (version.worth <= (hull.at(-1)?.worth ?? 0)) continue;
    for (;;) {
      const [below, top] = [hull.at(-2), hull.at(-1)];
      if (!below || !top || slope(below, top) > slope(top, version)) break;
      hull.pop();
    }
    hull.push(version);
  }
  return hull.slice(1).map((version, i) => {
    const below = hull[i] ?? version;
    return { item: index, level: version.level, tokens: version.tokens - below.tokens, density: slope(below, version) };
  });
}

interface Version {
  tokens: number;
  worth: number;
}

function slope(from: Version, to: Version): number {
  return (to.worth - from.worth) / Math.max(to.tokens - from.tokens, 1e-9);
}

function reasonFor(item: FitItem, level: Level, place: string): string {
  if (item.pinned !== undefined) return `${level === "excluded" ? "left out" : NAMES[level]}: you chose it`;
  const because = item.because ?? place;
  const full = item.fullTokens.toLocaleString("en-US");
  switch (level) {
    case "full":
      return `kept whole: ${because}`;
    case "outline":
      return `outlined: whole it would cost ${full} tokens (${place})`;
    case "name":
      return `name only: whole it would cost ${full} tokens (${place})`;
    case "excluded":
      return `dropped: no room left (${place}, ${full} tokens)`;
  }
}

const NAMES: Record<Exclude<Level, "excluded">, string> = { full: "kept whole", outline: "outlined", name: "name only" };

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
    throw new EngineError("bad-argument", `"${path}" has tokens or a rank below 0`, "report it");
  }
}

function pinsTooLarge(items: readonly FitItem[], tokens: number, budgetTokens: number): EngineError {
  const largest = items
    .flatMap((item) => (item.pinned === undefined ? [] : [{ path: item.path, tokens: costOf(item, item.pinned) }]))
    .sort((a, b) => b.tokens - a.tokens)[0];
  const count = (value: number): string => value.toLocaleString("en-US");
  return new EngineError(
    "context-too-long",
    `what you chose to keep takes ${count(tokens)} of ${count(budgetTokens)} tokens` +
      (largest ? `, ${count(largest.tokens)} of them ${largest.path}` : ""),
    "release or outline some of it, or choose a larger window",
    { tokens, budgetTokens },
  );
}
