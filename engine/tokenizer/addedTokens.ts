import { type Aligned, sliceAligned } from "./aligned.ts";
import { escapeRegex } from "./regex.ts";
import type { AddedToken } from "./vocabulary.ts";

/** A stretch of text, or an added token found in it. */
export interface Segment {
  readonly text: Aligned;
  readonly id: number | undefined;
  /** Nothing stands in front of it. */
  readonly atStart: boolean;
}

/** What finds added tokens: in plain text, and where control tokens are recognised. */
export interface AddedSplitters {
  readonly text: AddedSplitter | undefined;
  readonly recognize: AddedSplitter | undefined;
}

export interface AddedSplitter {
  readonly pattern: RegExp;
  readonly ids: ReadonlyMap<string, number>;
}

export function addedSplitters(added: readonly AddedToken[]): AddedSplitters {
  return {
    text: addedSplitter(added.filter((token) => token.plain)),
    recognize: addedSplitter(added),
  };
}

/** Cuts at the added tokens: leftmost, then longest. */
export function splitAdded(input: Aligned, atStart: boolean, splitter: AddedSplitter | undefined): readonly Segment[] {
  if (!splitter) return [{ text: input, id: undefined, atStart }];
  const segments: Segment[] = [];
  let from = 0;
  const add = (start: number, end: number, id: number | undefined) => {
    if (end > start) segments.push({ text: sliceAligned(input, start, end), id, atStart: atStart && start === 0 });
  };
  for (const match of input.text.matchAll(splitter.pattern)) {
    const id = splitter.ids.get(match[0]) ?? splitter.ids.get(match[0].trim());
    if (id === undefined) continue;
    add(from, match.index, undefined);
    from = match.index + match[0].length;
    add(match.index, from, id);
  }
  add(from, input.text.length, undefined);
  return segments;
}

function addedSplitter(added: readonly AddedToken[]): AddedSplitter | undefined {
  if (added.length === 0) return undefined;
  const alternatives = [...added].sort((a, b) => b.content.length - a.content.length).map(addedPattern);
  // Most places are passed over by their first character, however many tokens there are.
  const firsts = added.map(({ content }) => `\\u{${(content.codePointAt(0) ?? 0).toString(16)}}`);
  const first = [...new Set(firsts), ...(added.some((token) => token.lstrip) ? ["\\p{White_Space}"] : [])].join("");
  return {
    pattern: new RegExp(`(?=[${first}])(?:${alternatives.join("|")})`, "gu"),
    ids: new Map(added.map((token) => [token.content, token.id])),
  };
}

function addedPattern(token: AddedToken): string {
  const word = "[\\p{L}\\p{N}_]";
  const content = token.singleWord ? `(?<!${word})${escapeRegex(token.content)}(?!${word})` : escapeRegex(token.content);
  return `${token.lstrip ? "\\p{White_Space}*" : ""}${content}${token.rstrip ? "\\p{White_Space}*" : ""}`;
}
