/** What stands before and behind the first place of a name as a whole word; undefined where it has none. */
export function aroundWord(text: string, name: string): { before: string; behind: string } | undefined {
  for (let at = text.indexOf(name); at >= 0 && name !== ""; at = text.indexOf(name, at + 1)) {
    const before = text.slice(0, at);
    const behind = text.slice(at + name.length);
    if (!/[\p{L}\p{N}_$]$/u.test(before) && !/^[\p{L}\p{N}_$]/u.test(behind)) return { before, behind };
  }
  return undefined;
}

export function holdsWord(text: string, name: string): boolean {
  return aroundWord(text, name) !== undefined;
}
