/** Questions about a repository whose answers are known, and what a model said to them: plain-data types. */
import type { Attended, Citation } from "../../generate/api.ts";

/** Whatever an outline says of one declaration; lines are 1-based, both ends included. */
export interface DeclaredSymbol {
  name: string;
  /** As outlines say it: function, method, class, constant, … */
  kind: string;
  nameLine: number;
  endLine: number;
}

/** A file as questions are made from it. */
export interface SourceFile {
  path: string;
  /** Without line breaks. */
  lines: readonly string[];
  /** Those of its outline, outer and inner ones in one list; empty where it has none. */
  symbols: readonly DeclaredSymbol[];
}

/** Types of questions, in the order of the table. */
export const questionTypes = [
  "definition",
  "definition-hard",
  "signature",
  "constant",
  "return",
  "import",
  "caller",
  "comment",
  "key",
  "file",
  "needle",
  "needle-multi",
  "absent-unseen",
  "absent-used",
] as const;

export type QuestionType = (typeof questionTypes)[number];

/** What each type asks, and how its answer is known. */
export const typeMeanings: Readonly<Record<QuestionType, string>> = {
  definition: "the line that defines a name, where it is the first that mentions it",
  "definition-hard": "the same, where other lines mention it before",
  signature: "the line that the definition of a function begins with",
  constant: "the line that gives a constant its literal value",
  return: "the only return of a function",
  import: "the only line that imports a name",
  caller: "the only line that calls a function",
  comment: "the one line of documentation at a definition",
  key: "the line of a configuration key with a plain value",
  file: "the path of the file that defines a name",
  needle: "a planted line, the only one of its kind",
  "needle-multi": "one of four planted lines with other keys",
  "absent-unseen": "a name that occurs nowhere in the context: to be refused",
  "absent-used": "a name that is used and nowhere defined in the context: to be refused",
};

/** Where an answer is; for a type `file` the text is the path. */
export interface ExpectedAnswer {
  path: string;
  /** 1-based, in the file as it is given to the model. */
  line: number;
  /** The line without the blanks around it. */
  text: string;
}

export interface Question {
  type: QuestionType;
  name: string;
  text: string;
  /** Undefined: to be refused. */
  expected: ExpectedAnswer | undefined;
}

/** A file of one context; `planted` where it has lines that the repository's file has not. */
export interface ContextFile {
  path: string;
  lines: readonly string[];
  planted: boolean;
}

/** Some whole files of a repository, and what is asked about them. */
export interface QuestionContext {
  /** Tokens that prompt and answer may take. */
  lengthTokens: number;
  /** The file that the others were put around. */
  anchor: string;
  /** In the order of the prompt: by path. */
  files: readonly ContextFile[];
  questions: readonly Question[];
}

/** One question, asked. */
export interface AnswerRecord {
  lengthTokens: number;
  /** Which of the contexts of that length, from 0. */
  context: number;
  question: Question;
  answer: string;
  absent: boolean;
  citations: readonly Citation[];
  promptTokens: number;
  reusedTokens: number;
  /** From the question to the first text of the answer, in milliseconds. */
  firstTokenMs: number;
  /** From the question to the whole answer, in milliseconds. */
  answeredMs: number;
  /** Controls without a model: the first line of the context that holds the name, and the first of those that the model chose from. */
  firstMention: ExpectedAnswer | undefined;
  withoutModel: ExpectedAnswer | undefined;
  /** Where something was planted: the attended lines that were shown; absent where attention was not kept. */
  attended?: readonly Attended[] | undefined;
}
