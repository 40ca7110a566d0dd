import type { Citation } from "../../generate/api.ts";
import type { AnswerRecord, ExpectedAnswer, QuestionType } from "./api.ts";
import { questionTypes } from "./api.ts";

/** What one answer is worth. */
export interface Score {
  /** The answer is the expected one, blanks aside; of an unanswerable question: it was refused. */
  exact: boolean;
  /** Verified citations that were shown, and those of them at the expected place. */
  shown: number;
  right: number;
  refused: boolean;
  /** What `exact` would be of the first line that holds the name, and of the first that the model chose from. */
  firstMention: boolean;
  withoutModel: boolean;
  /** Whether the planted line is one of the attended ones; undefined where nothing was planted or measured. */
  attended: boolean | undefined;
}

export function scoreOf({ question, answer, absent, citations, firstMention, withoutModel, attended }: AnswerRecord): Score {
  const { type, expected } = question;
  const verified = citations.filter((citation) => citation.verified);
  const isRight = (citation: { path: string; startLine: number; endLine: number }): boolean =>
    expected?.path === citation.path &&
    (type === "file" || (citation.startLine <= expected.line && expected.line <= citation.endLine));
  return {
    exact: expected ? !absent && (isAnswer(answer, expected, type) || namesFile(verified, expected, type)) : absent,
    shown: verified.length,
    right: verified.filter(isRight).length,
    refused: absent,
    firstMention: controlOf(firstMention, expected, type),
    withoutModel: controlOf(withoutModel, expected, type),
    attended: attended && expected && attended.some(isRight),
  };
}

/** A file is also named by quotes that all stand in it: the sentence in front of them says so. */
function namesFile(verified: readonly Pick<Citation, "path">[], expected: ExpectedAnswer, type: QuestionType): boolean {
  return type === "file" && verified.length > 0 && verified.every(({ path }) => path === expected.path);
}

/** An answer as models write one: between backticks, or the header line of a file instead of its path. */
function isAnswer(answer: string, expected: ExpectedAnswer, type: QuestionType): boolean {
  const given = normalized(answer)
    .replace(/^(`+)(.*)\1$/, "$2")
    .trim();
  return given === normalized(expected.text) || (type === "file" && given === `=== ${expected.path} ===`);
}

function controlOf(first: ExpectedAnswer | undefined, expected: ExpectedAnswer | undefined, type: QuestionType): boolean {
  if (expected === undefined || first === undefined) return expected === first;
  return type === "file" ? first.path === expected.path : normalized(first.text) === normalized(expected.text);
}

function normalized(text: string): string {
  return text.trim().replace(/\s+/g, " ");
}

/** What answers of one type at one length are worth; shares are in [0, 1], undefined of nothing. */
export interface AnswerRow {
  lengthTokens: number;
  type: QuestionType | "answerable" | "unanswerable";
  n: number;
  exact: number;
  citationPrecision: number | undefined;
  citationRecall: number | undefined;
  /** Share of unanswerable questions that were refused. */
  refused: number | undefined;
  /** Share of answerable questions that were refused. */
  falselyRefused: number | undefined;
  firstMention: number;
  withoutModel: number;
  attended: number | undefined;
  /** Medians, and for the time the 90th percentile too. */
  promptTokens: number;
  firstTokenMs: { median: number; p90: number };
}

/** Rows by length and type, each length with the sum of what can be answered and of what cannot. */
export function answerRows(records: readonly AnswerRecord[]): AnswerRow[] {
  const lengths = [...new Set(records.map(({ lengthTokens }) => lengthTokens))].sort((a, b) => a - b);
  return lengths.flatMap((lengthTokens) => {
    const here = records.filter((record) => record.lengthTokens === lengthTokens);
    const byType = questionTypes.map((type) => [type, here.filter(({ question }) => question.type === type)] as const);
    const sums = [
      ["answerable", here.filter(({ question }) => question.expected !== undefined)],
      ["unanswerable", here.filter(({ question }) => question.expected === undefined)],
    ] as const;
    return [...byType, ...sums].flatMap(([type, group]) => (group.length === 0 ? [] : [rowOf(lengthTokens, type, group)]));
  });
}

function rowOf(lengthTokens: number, type: AnswerRow["type"], records: readonly AnswerRecord[]): AnswerRow {
  const scores = records.map(scoreOf);
  const n = records.length;
  const share = (part: (score: Score) => boolean): number => scores.filter(part).length / n;
  const isAnswerable = records.every(({ question }) => question.expected !== undefined);
  const shown = scores.reduce((sum, score) => sum + score.shown, 0);
  const right = scores.reduce((sum, score) => sum + score.right, 0);
  const measured = scores.filter(({ attended }) => attended !== undefined);
  const times = records.map(({ firstTokenMs }) => firstTokenMs);
  return {
    ...{ lengthTokens, type, n },
    exact: share(({ exact }) => exact),
    citationPrecision: shown === 0 ? undefined : right / shown,
    citationRecall: isAnswerable ? share((score) => score.right > 0) : undefined,
    refused: isAnswerable ? undefined : share(({ refused }) => refused),
    falselyRefused: isAnswerable ? share(({ refused }) => refused) : undefined,
    firstMention: share((score) => score.firstMention),
    withoutModel: share((score) => score.withoutModel),
    attended: measured.length === 0 ? undefined : measured.filter(({ attended }) => attended).length / measured.length,
    promptTokens: percentile(
      records.map(({ promptTokens }) => promptTokens),
      0.5,
    ),
    firstTokenMs: { median: percentile(times, 0.5), p90: percentile(times, 0.9) },
  };
}

/** The smallest value that at least this share of all values does not exceed (nearest rank). */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

/** How often the planted line was among the attended ones, with the tokens that were read (median). */
export interface AttendedShare {
  hits: number;
  asked: number;
  contextTokens: number;
}

/** Undefined where attention was measured for no planted line. */
export function attendedShare(records: readonly AnswerRecord[]): AttendedShare | undefined {
  const measured = records.filter((record) => scoreOf(record).attended !== undefined);
  if (measured.length === 0) return undefined;
  return {
    hits: measured.filter((record) => scoreOf(record).attended).length,
    asked: measured.length,
    contextTokens: percentile(
      measured.map(({ promptTokens }) => promptTokens),
      0.5,
    ),
  };
}

/** Time to the first token of one length: where the context was read anew, and where its prefix was kept from the question before. */
export interface FirstTokenTimes {
  lengthTokens: number;
  kept: boolean;
  n: number;
  /** Milliseconds. */
  median: number;
  p90: number;
}

export function firstTokenTimes(records: readonly AnswerRecord[]): FirstTokenTimes[] {
  const lengths = [...new Set(records.map(({ lengthTokens }) => lengthTokens))].sort((a, b) => a - b);
  return lengths.flatMap((lengthTokens) =>
    [false, true].flatMap((kept) => {
      const group = records.filter((record) => record.lengthTokens === lengthTokens && isKept(record) === kept);
      const times = group.map(({ firstTokenMs }) => firstTokenMs);
      if (times.length === 0) return [];
      return [{ lengthTokens, kept, n: times.length, median: percentile(times, 0.5), p90: percentile(times, 0.9) }];
    }),
  );
}

/** Contexts may begin with the same files, so that some tokens are kept even where most are read. */
function isKept({ reusedTokens, promptTokens }: AnswerRecord): boolean {
  return 2 * reusedTokens >= promptTokens;
}
