/** What attention and rounding cost a run, in the words of the terminal and of the panel. */
import type { CacheError } from "../api.ts";
import type { KeptMass } from "./api.ts";

/** "93.1 % of the attention on average, 50 % in the head that lost most (on 64 queries)". */
export function keptMassText({ mean, least, queries }: KeptMass): string {
  return `${share(mean)} of the attention on average, ${share(least)} in the head that lost most (on ${queries} queries)`;
}

/** "0.612 % in keys, 0.58 % in values". */
export function cacheErrorText({ keys, values }: CacheError): string {
  return `${share(keys)} in keys, ${share(values)} in values`;
}

/** Never 100 % for what is a little less. */
function share(part: number): string {
  if (part > 0.9999 && part < 1) return "> 99.99 %";
  return `${Number(part > 0.99 ? (100 * part).toFixed(2) : (100 * part).toPrecision(3))} %`;
}
