/**
 * Patterns as git matches them, byte by byte. All strings here hold one character per byte (see `byteString`): "?" stands for one byte,
 * as it does for git. Compiled to one code per element and matched with at most two points to return to, so that the time is bounded
 * by the square of the path's length times the pattern's, whatever the pattern.
 */

/** Ends a pattern's literal beginning. */
const special = /[*?[\\]/;

/** Codes above the 256 bytes; from `firstClass` on they are places in `classes`. */
const anyByte = 256;
const star = 257;
const deep = 258;
const deepFolder = 259;
const firstClass = 260;

export interface GlobOptions {
  /** Whether "/" is matched only by "/" and "**" between slashes reaches any depth; otherwise it is a byte like others. */
  paths: boolean;
  ignoreCase: boolean;
}

/** Says whether `text` from `start` on is matched; where case is ignored, `text` has been through `foldCase`. */
export type Glob = (text: string, start: number) => boolean;

/** The pattern as a test, or undefined where it is malformed and git therefore never matches it. */
export function compileGlob(pattern: string, options: GlobOptions): Glob | undefined {
  const classes: Uint8Array[] = [];
  const codes = codesOf(pattern, options, classes);
  if (!codes) return undefined;
  // Nearly every text lacks it, and the engine looks for it far faster than the loop below goes through the codes.
  const needed = longestLiteral(codes);
  return (text, start) => text.includes(needed, start) && matches(codes, classes, text, start, options.paths);
}

/** Bytes before the first special character. */
export function literalLength(pattern: string): number {
  const at = pattern.search(special);
  return at < 0 ? pattern.length : at;
}

/** Text as one character per byte of its UTF-8. */
export function byteString(text: string): string {
  for (let at = 0; at < text.length; at++) {
    if (text.charCodeAt(at) > 127) return Buffer.from(text, "utf8").toString("latin1");
  }
  return text;
}

/** Text of a byte string, to be shown. */
export function textOf(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** ASCII letters in lower case; git folds no others. */
export function foldCase(bytes: string): string {
  return bytes.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** The patterns that "{a,b}" stands for, nested ones too; from about a thousand on the rest is taken literally. */
export function expandBraces(pattern: string): string[] {
  const done: string[] = [];
  const open = [pattern];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const braces = firstBraces(next);
    if (!braces || done.length + open.length > 1000) done.push(next);
    else for (const choice of braces.choices.reverse()) open.push(next.slice(0, braces.start) + choice + next.slice(braces.end));
  }
  return done;
}

function codesOf(pattern: string, { paths, ignoreCase }: GlobOptions, classes: Uint8Array[]): number[] | undefined {
  const codes: number[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at];
    if (char === "*") {
      const first = at;
      while (pattern[at + 1] === "*") at++;
      const next = pattern[at + 1];
      const bounded =
        (first === 0 || pattern[first - 1] === "/") && (next === undefined || /^\\?\//.test(pattern.slice(at + 1, at + 3)));
      if (!paths || at === first || !bounded) codes.push(star);
      else if (next === "/") {
        codes.push(deepFolder);
        at++;
      } else codes.push(deep);
    } else if (char === "?") codes.push(anyByte);
    else if (char === "[") {
      const found = classAt(pattern, at + 1, paths, ignoreCase);
      if (!found) return undefined;
      codes.push(firstClass + classes.length);
      classes.push(found.members);
      at = found.end;
    } else if (char === "\\") {
      at++;
      if (at === pattern.length) return undefined;
      // Git does not fold an escaped letter, and neither do we.
      codes.push(pattern.charCodeAt(at));
    } else codes.push((ignoreCase ? foldCase(char ?? "") : (char ?? "")).charCodeAt(0));
  }
  return codes;
}

/** The longest run of bytes that stand for themselves. */
function longestLiteral(codes: readonly number[]): string {
  let longest: readonly number[] = [];
  for (let at = 0; at < codes.length; at++) {
    const from = at;
    while ((codes[at] ?? anyByte) < anyByte) at++;
    if (at - from > longest.length) longest = codes.slice(from, at);
  }
  return Buffer.from(longest).toString("latin1");
}

/**
 * Only the last "*" and the last "**" before the failure need to be tried again: "*" does not reach past a slash, so that an earlier one
 * could only end at the same slash, and what follows a "**" is found from any place it can be found from a later one.
 */
function matches(codes: readonly number[], classes: readonly Uint8Array[], text: string, start: number, paths: boolean): boolean {
  let code = 0;
  let at = start;
  let starCode = -1;
  let starAt = 0;
  let deepCode = -1;
  let deepAt = 0;
  let toFolder = false;
  for (;;) {
    const wanted = codes[code];
    if (wanted === undefined) {
      if (at === text.length) return true;
    } else if (wanted === star) {
      starCode = ++code;
      starAt = at;
      continue;
    } else if (wanted === deep || wanted === deepFolder) {
      deepCode = ++code;
      deepAt = at;
      toFolder = wanted === deepFolder;
      starCode = -1;
      if (wanted === deep && deepCode === codes.length) return true;
      continue;
    } else if (at < text.length && matchesByte(wanted, classes, text.charCodeAt(at), paths)) {
      code++;
      at++;
      continue;
    }
    if (starCode >= 0 && starAt < text.length && !(paths && text.charCodeAt(starAt) === slash)) {
      at = ++starAt;
      code = starCode;
      continue;
    }
    if (deepCode < 0) return false;
    deepAt = toFolder ? text.indexOf("/", deepAt) + 1 : deepAt + 1;
    if (deepAt === 0 || deepAt > text.length) return false;
    at = deepAt;
    code = deepCode;
    starCode = -1;
  }
}

const slash = 0x2f;

function matchesByte(wanted: number, classes: readonly Uint8Array[], byte: number, paths: boolean): boolean {
  if (wanted < anyByte) return wanted === byte;
  if (wanted === anyByte) return !paths || byte !== slash;
  return classes[wanted - firstClass]?.[byte] === 1;
}

/** A bracket expression from behind its "[": 1 for each byte it matches, and where its "]" is; undefined where it is malformed. */
function classAt(
  pattern: string,
  begin: number,
  paths: boolean,
  ignoreCase: boolean,
): { members: Uint8Array; end: number } | undefined {
  const members = new Uint8Array(256);
  let at = begin;
  const negated = pattern[at] === "!" || pattern[at] === "^";
  if (negated) at++;
  let before = -1;
  for (let first = true; first || pattern[at] !== "]"; first = false, at++) {
    const char = pattern[at];
    if (char === undefined) return undefined;
    if (char === "-" && before >= 0 && at + 1 < pattern.length && pattern[at + 1] !== "]") {
      at++;
      if (pattern[at] === "\\") at++;
      if (at >= pattern.length) return undefined;
      addRange(members, before, pattern.charCodeAt(at), ignoreCase);
      before = -1;
      continue;
    }
    if (char === "[" && pattern[at + 1] === ":") {
      const close = pattern.indexOf("]", at + 2);
      if (close < 0) return undefined;
      if (close > at + 2 && pattern[close - 1] === ":") {
        const named = namedClass(pattern.slice(at + 2, close - 1), ignoreCase);
        if (!named) return undefined;
        for (let byte = 0; byte < 128; byte++) if (named.test(String.fromCharCode(byte))) members[byte] = 1;
        at = close;
        before = -1;
        continue;
      }
    } else if (char === "\\") {
      at++;
      if (at >= pattern.length) return undefined;
    }
    before = pattern.charCodeAt(at);
    members[before] = 1;
  }
  if (negated) for (let byte = 0; byte < 256; byte++) members[byte] = 1 - (members[byte] ?? 0);
  if (paths) members[slash] = 0;
  return { members, end: at };
}

/** The text is folded to lower case where case is ignored, so that a range of capitals has to take the small ones as well. */
function addRange(members: Uint8Array, low: number, high: number, ignoreCase: boolean): void {
  for (let byte = low; byte <= high; byte++) {
    members[byte] = 1;
    if (ignoreCase && byte >= 65 && byte <= 90) members[byte + 32] = 1;
  }
}

const namedClasses = new Map<string, RegExp>([
  ["alnum", /[A-Za-z0-9]/],
  ["alpha", /[A-Za-z]/],
  ["blank", /[ \t]/],
  ["cntrl", /[\x00-\x1f\x7f]/],
  ["digit", /[0-9]/],
  ["graph", /[!-~]/],
  ["lower", /[a-z]/],
  ["print", /[ -~]/],
  ["punct", /[!-/:-@[-`{-~]/],
  // Git's own table of blanks has neither the vertical tab nor the form feed.
  ["space", /[ \t\n\r]/],
  ["upper", /[A-Z]/],
  ["xdigit", /[A-Fa-f0-9]/],
]);

function namedClass(name: string, ignoreCase: boolean): RegExp | undefined {
  return ignoreCase && name === "upper" ? /[A-Za-z]/ : namedClasses.get(name);
}

/** The first complete "{…,…}" outside brackets and escapes. */
function firstBraces(pattern: string): { start: number; end: number; choices: string[] } | undefined {
  for (let start = 0; start < pattern.length; start++) {
    if (pattern[start] === "\\") start++;
    else if (pattern[start] === "{") {
      const braces = bracesAt(pattern, start);
      if (braces) return braces;
    }
  }
  return undefined;
}

function bracesAt(pattern: string, start: number): { start: number; end: number; choices: string[] } | undefined {
  const choices: string[] = [];
  let from = start + 1;
  for (let at = from, depth = 0; at < pattern.length; at++) {
    const char = pattern[at];
    if (char === "\\") at++;
    else if (char === "{") depth++;
    else if (char === "," && depth === 0) {
      choices.push(pattern.slice(from, at));
      from = at + 1;
    } else if (char === "}") {
      if (depth === 0) return { start, end: at + 1, choices: [...choices, pattern.slice(from, at)] };
      depth--;
    }
  }
  return undefined;
}
