/** Needles: lines that were put into files of a context, and that nothing but reading them tells. */
import type { Draw } from "./draw.ts";
import type { Fact } from "./facts.ts";
import type { FactFile } from "./questions.ts";

export interface Needle {
  key: string;
  text: string;
}

/** Where a needle lies; `of` is the number of needles in its context. */
export interface Planted {
  key: string;
  path: string;
  line: number;
  of: number;
}

const FIRST =
  "amber basalt cedar copper ember fennel garnet hazel indigo jasper linen maple nutmeg onyx pewter quartz russet saffron".split(
    " ",
  );
const SECOND =
  "anchor beacon canyon dune estuary falcon glacier heron inlet jetty lagoon meadow orchard prairie ridge summit tundra".split(
    " ",
  );

/** Lines with different keys, none of which stands in `text`. */
export function makeNeedles(count: number, text: string, draw: Draw): Needle[] {
  const needles: Needle[] = [];
  for (let tries = 0; needles.length < count && tries < 50 * count; tries++) {
    const key = `${FIRST[draw(FIRST.length)] ?? ""}-${SECOND[draw(SECOND.length)] ?? ""}`;
    if (text.includes(key) || needles.some((needle) => needle.key === key)) continue;
    needles.push({ key, text: `One of the special magic numbers for ${key} is: ${10 ** 5 + draw(9 * 10 ** 5)}.` });
  }
  return needles;
}

/**
 * The files with each needle on a line of its own, anywhere in the context with the same chance for every line. What the files say moves down
 * with its lines; facts that the needle would come between are dropped.
 */
export function plant(
  files: readonly FactFile[],
  needles: readonly Needle[],
  draw: Draw,
): { files: FactFile[]; planted: Planted[] } {
  const grown = files.map((file) => ({ ...file, lines: [...file.lines], facts: [...file.facts] }));
  for (const { text } of needles) {
    let at = draw(grown.reduce((sum, { lines }) => sum + lines.length + 1, 0));
    for (const file of grown) {
      if (at <= file.lines.length) {
        file.lines.splice(at, 0, text);
        file.facts = file.facts.flatMap((fact) => movedBy(fact, at + 1));
        file.planted = true;
        break;
      }
      at -= file.lines.length + 1;
    }
  }
  // Where they lie is read off at the end: later needles move earlier ones down.
  const planted = needles.flatMap(({ key, text }) =>
    grown.flatMap(({ path, lines }) => {
      const index = lines.indexOf(text);
      return index < 0 ? [] : [{ key, path, line: index + 1, of: needles.length }];
    }),
  );
  return { files: grown, planted };
}

/** A fact when a new line takes the number `line`; a return stays one whatever stands in its function. */
function movedBy(fact: Fact, line: number): Fact[] {
  const move = (old: number): number => (old >= line ? old + 1 : old);
  if (fact.kind !== "return" && fact.first < line && line <= fact.last) return [];
  return [{ ...fact, first: move(fact.first), last: move(fact.last), line: move(fact.line) }];
}
