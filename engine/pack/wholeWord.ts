/**
 * What stands before and behind the first place of a name as a whole word; undefined where it has none. O(length), however often
 * the name is part of a word.
 */
export function aroundWord(text: string, name: string): { before: string; behind: string } | undefined {
  for (let at = text.indexOf(name); at >= 0 && name !== ""; at = text.indexOf(name, at + 1)) {
    const end = at + name.length;
    if (!IN_WORD_BEFORE.test(text.slice(Math.max(0, at - 2), at)) && !IN_WORD_BEHIND.test(text.slice(end, end + 2)))
      return { before: text.slice(0, at), behind: text.slice(end) };
  }
  return undefined;
}

export function holdsWord(text: string, name: string): boolean {
  return aroundWord(text, name) !== undefined;
}

/** Of one character, which may be two UTF-16 units. */
const IN_WORD_BEFORE = /[\p{L}\p{N}_$]$/u;
const IN_WORD_BEHIND = /^[\p{L}\p{N}_$]/u;
