import type { ModelSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ChatMessage, ChatTemplate } from "./chatTemplate.ts";
import { partsAround, placeholder } from "./templateParts.ts";
import { trainedWording } from "./trainedWording.ts";

export interface Turn {
  question: string;
  answer: string;
}

/** What stands around the files: token ids of the whole prompt are `before`, the files, `after`. */
export interface Prompt {
  before: Int32Array<ArrayBuffer>;
  after: Int32Array<ArrayBuffer>;
}

export interface PromptOptions {
  tokenizer: Tokenizer;
  spec: ModelSpec;
  /** Needed by the prompt format `chat`. */
  chatTemplate: ChatTemplate | undefined;
  question: string;
  history: readonly Turn[];
}

/** The answer's text where an extractive model says that the context does not hold it; in a history it becomes that token again. */
export const ABSENT_ANSWER = "Not found in the files.";

/**
 * Prompts in which the files come first and every turn is appended, so that a follow-up shares all tokens before it.
 * Extractive models see `Q: ...\nA: ` and a verbatim line; chat models their template; base models a completion.
 * Only template text can hold control tokens: questions, answers and files are encoded as plain text.
 */
export function planPrompt(options: PromptOptions): Prompt {
  switch (options.spec.promptFormat) {
    case "extractive":
      return extractivePrompt(options);
    case "plain":
      return plainPrompt(options);
    case "chat":
      return chatPrompt(options);
  }
}

/** In front of every line of an extractive model's answer. */
export const ANSWER_OPENING = "A: ";

/** As trained: the question, in trained words, and `A: ` in one piece, the answer in another, a line break behind it; further lines begin with `A: ` again. */
function extractivePrompt({ tokenizer, spec, question, history }: PromptOptions): Prompt {
  const ask = (text: string) => tokenizer.encode(`Q: ${oneLine(trainedWording(text))}\n${ANSWER_OPENING}`);
  const newline = tokenizer.encode("\n");
  const between = [newline, tokenizer.encode(ANSWER_OPENING)];
  const answered = (answer: string): Int32Array[] => {
    if (answer === ABSENT_ANSWER && spec.absentTokenId !== undefined) return [Int32Array.of(spec.absentTokenId)];
    const lines = spec.answerLines === "many" ? answer.trim().split(/\s*\n\s*/) : [oneLine(answer)];
    return lines.flatMap((line, i) => [...(i === 0 ? [] : between), tokenizer.encode(line)]);
  };
  const after = [...history.flatMap((turn) => [ask(turn.question), ...answered(turn.answer), newline]), ask(question)];
  return { before: Int32Array.from(tokenizer.prefixIds), after: concat(after) };
}

function plainPrompt({ tokenizer, question, history }: PromptOptions): Prompt {
  const turns = history.map((turn) => `\nQuestion: ${turn.question}\nAnswer: ${turn.answer}\n`);
  return {
    before: Int32Array.from(tokenizer.prefixIds),
    after: tokenizer.encode(`${turns.join("")}\nQuestion: ${question}\nAnswer:`),
  };
}

/** What a chat model is asked to say, and nothing else, where the files do not hold the answer. */
const ABSENT_WORDS = "Not in the files.";

const INSTRUCTION =
  "Here are files of a repository, each behind a line with its path. Answer from them alone. Quote every line you rely on word for word between " +
  "backticks, and name the path of its file in front of it. If nothing in these files answers the question, reply with exactly: " +
  `${ABSENT_WORDS}\n\n`;

/** Whether a chat model's whole answer is that the files do not hold it; an answer that only says so among other things is one. */
export function saysAbsent(answer: string): boolean {
  return /^["“`*]*not in the files[."”`*]*$/i.test(answer.trim());
}

/** Renders the template around placeholders, then encodes what the template wrote and what stands for them each in its own way. */
function chatPrompt({ tokenizer, chatTemplate, question, history }: PromptOptions): Prompt {
  if (!chatTemplate)
    throw new EngineError("unsupported-model", "the model has no chat template", "add chat_template.jinja to its folder");
  const texts = [...history.flatMap((turn) => [turn.question, turn.answer]), question];
  const messages = texts.map((_, i): ChatMessage => {
    const content = placeholder(i + 1);
    if (i % 2 === 1) return { role: "assistant", content };
    return { role: "user", content: i === 0 ? `${INSTRUCTION}${placeholder(0)}\n${content}` : content };
  });
  const [before = "", ...around] = partsAround(chatTemplate, messages, texts.length + 1);
  const written = (text: string) => tokenizer.encode(text, { special: "recognize" });
  // The first text is the files, which come between the two halves.
  const [behindFiles = "", ...behindTexts] = around;
  const after = [written(behindFiles), ...texts.flatMap((text, i) => [tokenizer.encode(text), written(behindTexts[i] ?? "")])];
  return { before: written(before), after: concat(after) };
}

/** A turn of an extractive model is one line. */
function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ");
}

function concat(parts: readonly Int32Array[]): Int32Array<ArrayBuffer> {
  const joined = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
