/** Which lines of the files can answer a question whose kind and name are recognised: a line that cannot is not worth asking the model about. */
import { isPlainWord, type QuestionKind, readQuestion } from "../pack/questionKind.ts";
import { holdsWord } from "../pack/wholeWord.ts";
import { bearsOut } from "../pack/bearsOut.ts";
import type { QuotePlace } from "./quote.ts";

/** The lines of one file by their number less 1; undefined for those that are not given. */
export type GivenLines = readonly (string | undefined)[];

/** Whether a line may be quoted; its text without the blanks around it. */
export type MayAnswer = (place: QuotePlace, text: string) => boolean;

/** How the answer is found: among the lines that hold a name, or first the name's definition and then among the lines around it. */
export interface Search {
  kind: QuestionKind;
  name: string;
  /** What is asked first; undefined where the answer itself holds the name. */
  definitionFirst: string | undefined;
}

/** The lines that are searched first for an answer. */
export function firstLines({ kind, name, definitionFirst }: Search, files: Iterable<GivenLines>): Holding | undefined {
  return linesHolding(definitionFirst === undefined ? kind : "definition", name, files);
}

/** Undefined where the wording tells too little, or where the answer may stand anywhere. */
export function searchFor(question: string): Search | undefined {
  const { kind, name } = readQuestion(question);
  if (name === "" || !(HOLDS_NAME.has(kind) || AROUND_DEFINITION.has(kind))) return undefined;
  return { kind, name, definitionFirst: AROUND_DEFINITION.has(kind) ? `Where is \`${name}\` defined?` : undefined };
}

/** Kinds whose answer says the name. Planted variables do not: a chain goes on without its value. */
const HOLDS_NAME: ReadonlySet<QuestionKind> = new Set([
  "definition",
  "file",
  "signature",
  "value",
  "import",
  "caller",
  "key",
  "number",
]);
const AROUND_DEFINITION: ReadonlySet<QuestionKind> = new Set(["return", "comment"]);

/**
 * Lines that bear out what is asked about a name. Where none does: those that hold it as a whole word, and where none does that, in whatever case.
 * Undefined where there is none at all and the name could be a plain word, with which people may mean something that is called otherwise.
 */
function linesHolding(kind: QuestionKind, name: string, files: Iterable<GivenLines>): Holding | undefined {
  const folded = name.toLowerCase();
  let holding = false;
  let ignoringCase = false;
  for (const lines of files) {
    for (const line of lines) {
      if (line === undefined) continue;
      ignoringCase ||= holdsWord(line.toLowerCase(), folded);
      if (!holdsWord(line, name)) continue;
      holding = true;
      if (bearsOut(kind, line.trim(), name)) return { mayAnswer: (_, text) => bearsOut(kind, text, name), found: "borne out" };
    }
  }
  if (holding) return { mayAnswer: (_, text) => holdsWord(text, name), found: "held" };
  if (ignoringCase) return { mayAnswer: (_, text) => holdsWord(text.toLowerCase(), folded), found: "held" };
  return isPlainWord(name) ? undefined : { mayAnswer: () => false, found: "nothing" };
}

export interface Holding {
  mayAnswer: MayAnswer;
  found: "borne out" | "held" | "nothing";
}

/** Lines around the places of a definition that can say what it returns, or how it is documented. */
export function linesAround(kind: QuestionKind, places: readonly QuotePlace[], linesOf: (path: string) => GivenLines): MayAnswer {
  const numbers = new Map<string, Set<number>>();
  for (const { path, line } of places) {
    const found = (kind === "comment" ? commentLines : returnLines)(linesOf(path), line - 1);
    const known = numbers.get(path) ?? new Set();
    for (const index of found) known.add(index + 1);
    numbers.set(path, known);
  }
  return ({ path, line }) => numbers.get(path)?.has(line) ?? false;
}

/** Lines of the body that return; else the definition's own line where it says what, else all of these, for the last value may be what is returned. */
function returnLines(lines: GivenLines, definition: number): number[] {
  const body = bodyOf(lines, definition);
  const returning = body.filter((index) => RETURNS.test(withoutComment(lines[index] ?? "")));
  if (returning.length > 0) return returning;
  const own = lines[definition] ?? "";
  return RETURNS.test(own) || /=>\s*[^\s{]/.test(own)
    ? [definition]
    : [definition, ...body.filter((index) => /[\p{L}\p{N}]/u.test(lines[index] ?? ""))];
}

const RETURNS = /(?:^|[^\p{L}\p{N}_$.])(?:return|yield)(?![\p{L}\p{N}_$])/u;

function withoutComment(line: string): string {
  return /^\s*(?:\/\/|\/?\*|#|--)/.test(line) ? "" : line;
}

/** Lines below one that are indented deeper, until one that is not and does not only close or open a bracket. */
function bodyOf(lines: GivenLines, definition: number): number[] {
  const level = indentation(lines[definition] ?? "");
  const body: number[] = [];
  for (let index = definition + 1; index < lines.length; index++) {
    const line = lines[index];
    if (line === undefined || line.trim() === "") continue;
    if (indentation(line) <= level && !/^\s*[){\]]/.test(line)) break;
    body.push(index);
  }
  return body;
}

function indentation(line: string): number {
  return line.length - line.trimStart().length;
}

/** Of the comment that ends directly above a definition, and of the docstring below it: the first line with words. */
function commentLines(lines: GivenLines, definition: number): number[] {
  const hasWords = (index: number): boolean => /\p{L}{2}/u.test(lines[index] ?? "");
  return [commentAbove(lines, definition).find(hasWords), docstringBelow(lines, definition).find(hasWords)].filter(
    (index) => index !== undefined,
  );
}

function commentAbove(lines: GivenLines, definition: number): number[] {
  const found: number[] = [];
  let index = definition - 1;
  // Decorators and attributes stand between the two.
  while (/^\s*(?:@\w|#!?\[)/.test(lines[index] ?? "")) index--;
  const last = lines[index]?.trim() ?? "";
  if (last.endsWith("*/") || last.endsWith("-->")) {
    const opening = last.endsWith("*/") ? "/*" : "<!--";
    for (; index >= 0 && lines[index] !== undefined; index--) {
      found.unshift(index);
      if (lines[index]?.includes(opening)) return found;
    }
    return [];
  }
  for (; COMMENT_LINE.test(lines[index] ?? ""); index--) found.unshift(index);
  return found;
}

// Not a preprocessor's line, nor a private field's.
const COMMENT_LINE = /^\s*(?:\/\/|#(?!!?\[|\s*(?:include|define|if|endif|pragma)\b|[\w$]+\s*[=;(:])|--|;;|%)/;

/** Behind the head of a definition that has a body, which ends with a colon once its brackets are closed. */
function docstringBelow(lines: GivenLines, definition: number): number[] {
  if (!/^\s*(?:async\s+)?(?:def|class)\s/.test(lines[definition] ?? "")) return [];
  let index = definition;
  for (let open = 0; ; index++) {
    const line = lines[index] ?? "";
    for (const sign of line) open += "([{".includes(sign) ? 1 : ")]}".includes(sign) ? -1 : 0;
    if (open <= 0 && /:\s*(?:#.*)?$/.test(line)) break;
    if (open <= 0 || index - definition >= LONGEST_HEAD) return [];
  }
  const opening = /^\s*[rRuUbB]*("""|''')/.exec(lines[++index] ?? "");
  const [all = "", quote = ""] = opening ?? [];
  if (quote === "") return [];
  const found = [index];
  if ((lines[index] ?? "").slice(all.length).includes(quote)) return found;
  for (index++; index < lines.length && lines[index] !== undefined; index++) {
    found.push(index);
    if (lines[index]?.includes(quote)) return found;
  }
  return [];
}

/** Lines of a definition's head. */
const LONGEST_HEAD = 30;
