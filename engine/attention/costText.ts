/** What attention and rounding cost a run, in the words of the terminal and of the panel. */
import type { CacheError, DenseScores } from "../api.ts";
import { sizeText } from "../planner/words.ts";
import type { KeptMass } from "./api.ts";

/** "93.1 % of the attention on average, 50 % in the head that lost most (on 64 queries)". */
export function keptMassText({ mean, least, queries }: KeptMass): string {
  return `${share(mean)} of the attention on average, ${share(least)} in the head that lost most (on ${queries} ${queries === 1 ? "query" : "queries"})`;
}

/** "0.612 % in keys, 0.58 % in values". */
export function cacheErrorText({ keys, values }: CacheError): string {
  return `${share(keys)} in keys, ${share(values)} in values`;
}

/** "rows of scores took 33 MB at once, where flash keeps none; of all tokens together they would be 69 GB". */
export function denseScoresText({ atOnce, square }: DenseScores): string {
  const whole = square > atOnce ? `; of all tokens together they would be ${sizeText(square)}` : "";
  return `rows of scores took ${sizeText(atOnce)} at once, where flash keeps none${whole}`;
}

/** Never 100 % for what is a little less. */
function share(part: number): string {
  if (part > 0.9999 && part < 1) return "> 99.99 %";
  return `${Number(part > 0.99 ? (100 * part).toFixed(2) : (100 * part).toPrecision(3))} %`;
}
