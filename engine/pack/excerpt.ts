/** Of a file that does not fit whole: the lines that are asked for, and as many around them as there is room for. */
import type { FileBody } from "./body.ts";
import type { LineRange } from "./levels.ts";

/** Lines on either side, the most first. */
const AROUND = [80, 40, 20, 10, 5] as const;

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
  for (const around of AROUND) {
    narrowest = rangesAround(wanted, around, lines.length);
    if (narrowest.reduce((sum, range) => sum + costOf(range), 0) <= space) return narrowest;
  }
  let left = space;
  const end = narrowest.findIndex((range) => (left -= costOf(range)) < 0);
  return end <= 0 ? undefined : narrowest.slice(0, end);
}

function rangesAround(wanted: readonly number[], around: number, lineCount: number): LineRange[] {
  const ranges: { first: number; last: number }[] = [];
  for (const line of wanted) {
    const [first, last] = [Math.max(1, line - around), Math.min(lineCount, line + around)];
    const before = ranges.at(-1);
    if (before && first <= before.last + 1) before.last = last;
    else ranges.push({ first, last });
  }
  return ranges;
}
