/** An answer in plain sentences around its verbatim quotes. They claim what the quotes show, and no more. */
import { missingRows, type PackRow } from "../pack/api.ts";
import { headerLine } from "../pack/pack.ts";
import type { AskResult, Citation } from "./api.ts";
import { MAX_CITATIONS } from "./cite.ts";
import type { AnswerLines } from "./narrow.ts";
import { type QuestionKind, readQuestion } from "../pack/questionKind.ts";
import { holdsWord } from "../pack/wholeWord.ts";
import { bearsOut, defines } from "../pack/bearsOut.ts";

export type ProseOptions = Pick<AskResult, "question" | "answer" | "absent" | "citations" | "rows"> & {
  /** The answer is lines of the files, or text that may quote some. */
  form: "lines" | "text";
  /** Where it was looked for, if not everywhere. */
  among?: AnswerLines | undefined;
};

/**
 * One or two sentences that stand in front of the quotes, with code between backticks. The kind of question decides on the wording, and only where
 * every quote bears it out; otherwise it is said what the files say and where. Empty where nothing was answered.
 */
export function proseOf(options: ProseOptions): string {
  const { question, answer, absent, citations, rows, form, among } = options;
  if (absent) return absentProse(rows, among?.nothing);
  if (answer.trim() === "") return "";
  const verified = citations.filter((citation) => citation.verified);
  if (form === "text") return textProse(verified);
  const [first] = verified;
  if (!first) return "The model wrote this, and no line of the files says it word for word:";
  const named = filesNamed(answer, verified);
  if (named.length > 0) return `The model names the ${named.length === 1 ? "file" : "files"} ${listed(named)}.`;
  return `${claim(question, verified, first)}${placesProse(verified)}${definitionProse(among?.found)}:`;
}

/** The text in pieces, of which every second one is code. */
export function proseParts(prose: string): readonly string[] {
  return prose.split("`");
}

function absentProse(rows: readonly PackRow[], nothing: string | undefined): string {
  const read = rows.filter(({ included }) => included).length;
  const left = missingRows(rows).length;
  const orPart = left > rows.length - read ? ", or only in part," : "";
  const first = nothing ?? `The model says that nothing in the ${files(read)} it read answers this.`;
  if (left === 0) return first;
  return `${first} ${files(left)} did not fit${orPart} and may hold the answer.`;
}

function textProse(verified: readonly Citation[]): string {
  const [first] = verified;
  if (!first) return "Nothing of this answer was found word for word in the files.";
  const more = new Set(verified.map(({ path, startLine }) => `${path}:${startLine}`)).size - 1;
  return `Found word for word in the files: ${lineOf(first)}${more === 0 ? "" : `, and ${more} more ${more === 1 ? "place" : "places"}`}.`;
}

/** The files whose header lines are the whole answer. */
function filesNamed(answer: string, verified: readonly Citation[]): string[] {
  const lines = answer.trim().split("\n");
  const paths = lines.map((line) => verified.find(({ path }) => headerLine(path) === line.trim())?.path);
  return paths.every((path) => path !== undefined) ? paths.map(shownPath) : [];
}

/** What the quotes say of the question, and where they stand. */
function claim(question: string, verified: readonly Citation[], first: Citation): string {
  const { kind, name } = readQuestion(question);
  const quotes = [...new Set(verified.map(({ quote }) => quote))];
  const where = quotes.length === 1 ? `in ${lineOf(first)}` : `in ${quotes.length} lines of ${files(filesOf(verified))}`;
  const shown = name !== "" && quotes.every((quote) => bearsOut(kind, quote, name)) ? WORDS[kind](`\`${name}\``) : undefined;
  if (shown !== undefined) return `${shown} ${where}`;
  if (name !== "" && quotes.every((quote) => holdsWord(quote, name))) return `\`${name}\` stands ${where}`;
  return quotes.length === 1 ? `The files say, in ${shownPath(first.path)} line ${first.startLine}` : `The files say, ${where}`;
}

/** Where one line stands in several places, how many. */
function placesProse(verified: readonly Citation[]): string {
  const quotes = new Set(verified.map(({ quote }) => quote)).size;
  if (quotes === verified.length) return "";
  if (quotes > 1) return "; some of these lines stand in several places";
  const count = verified.length >= MAX_CITATIONS ? `at least ${MAX_CITATIONS}` : `${verified.length}`;
  return `; this line stands in ${count} places`;
}

/** The definition that the answer was read around, where its line shows that it is one. */
function definitionProse(found: AnswerLines["found"]): string {
  const [first] = found?.places ?? [];
  if (!found || !first || !defines(found.text, found.name)) return "";
  return `; \`${found.name}\` is defined in ${shownPath(first.path)}, line ${first.line}`;
}

/** What the sentence says once the quotes bear it out. `unknown` has no words of its own. */
const WORDS: Readonly<Record<QuestionKind, (name: string) => string | undefined>> = {
  definition: (name) => `${name} is defined`,
  value: (name) => `${name} is set`,
  signature: (name) => `The parameters of ${name} stand`,
  // The line alone does not show which function it belongs to.
  return: (name) => `The model takes this as what ${name} returns,`,
  import: (name) => `${name} is imported`,
  caller: (name) => `${name} is called`,
  comment: (name) => `The model takes this comment as the one on ${name},`,
  key: (name) => `The key ${name} is set`,
  file: (name) => `${name} is defined`,
  number: (name) => `A number for ${name} stands`,
  variables: (name) => `Assignments with ${name} stand`,
  unknown: () => undefined,
};

function lineOf({ path, startLine, endLine }: Citation): string {
  const lines = endLine > startLine ? `lines ${startLine}-${endLine}` : `line ${startLine}`;
  return `${shownPath(path)}, ${lines}`;
}

/** Backticks mark code. */
function shownPath(path: string): string {
  return path.replaceAll("`", "'");
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1) ?? ""}`;
}

function filesOf(citations: readonly Citation[]): number {
  return new Set(citations.map(({ path }) => path)).size;
}

function files(count: number): string {
  return count === 1 ? "1 file" : `${count} files`;
}
