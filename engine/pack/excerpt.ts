/** Of a file that does not fit whole: the lines that are asked for, and as many around them as there is room for. */
import type { FileBody } from "./body.ts";
import type { LineRange } from "./levels.ts";

/** Lines in front, the most first; behind stand twice as many, because what a definition says follows it. */
const IN_FRONT = [80, 40, 20, 10, 5] as const;

/**
 * Ranges of lines in ascending order, not touching each other, around `wanted` (1-based, ascending): as wide as `space` tokens allow, and where
 * the narrowest take more, those that come first. Tokens are counted as the whole file has them; undefined where not one fits.
 */
export function excerptOf(
  { lines, ids, lineTokens }: FileBody,
  wanted: readonly number[],
  space: number,
): LineRange[] | undefined {
  const startOf = (line: number): number => (line > lines.length ? ids.length : (lineTokens[line - 1] ?? ids.length));
  const costOf = ({ first, last }: LineRange): number => startOf(last + 1) - startOf(first);
  if (wanted.length === 0) return undefined;
  let narrowest: LineRange[] = [];
  for (const inFront of IN_FRONT) {
    narrowest = rangesAround(wanted, inFront, lines.length);
    if (narrowest.reduce((sum, range) => sum + costOf(range), 0) <= space) return narrowest;
  }
  let left = space;
  const end = narrowest.findIndex((range) => (left -= costOf(range)) < 0);
  return end <= 0 ? undefined : narrowest.slice(0, end);
}

function rangesAround(wanted: readonly number[], inFront: number, lineCount: number): LineRange[] {
  const ranges: { first: number; last: number }[] = [];
  for (const line of wanted) {
    const [first, last] = [Math.max(1, line - inFront), Math.min(lineCount, line + 2 * inFront)];
    const before = ranges.at(-1);
    if (before && first <= before.last + 1) before.last = last;
    else ranges.push({ first, last });
  }
  return ranges;
}
