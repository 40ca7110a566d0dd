/** An answer that quotes: one line of the files after another, for as long as the model says that there are more. */
import { EngineError } from "../errors.ts";
import { ANSWER_OPENING } from "../pack/prompt.ts";
import { mostProbableLine } from "./bestLine.ts";
import { type Decoded, type DecodeOptions, decodeTokens } from "./decode.ts";
import type { QuoteIndex, QuoteState } from "./quote.ts";

/** More lines than this are a list that nobody asked for. */
export const MAX_ANSWER_LINES = 16;

/** One line of an answer, and where the constraint ended. */
export interface QuotedLine {
  text: string;
  quote: QuoteState;
}

export interface QuotedOptions extends DecodeOptions {
  /** Token ids of the prompt. */
  prompt: Int32Array;
  /** Only lines of the pack may be spelt. */
  quotes: QuoteIndex;
  maxLines: number;
  /** Without chance, the beginning that leads at the moment: all of the answer's text, which a later call may replace. */
  onCandidate(text: string): void;
}

export interface QuotedAnswer extends Decoded {
  /** Of which the last may be unfinished, or the word that there is none. */
  lines: readonly QuotedLine[];
}

/**
 * The first line, then others while the model, greedily asked, begins another one behind the line break, at most `maxLines`. A line that was said
 * before ends the answer and is no part of it. `ids` are the lines with what stands between them: a line break and `A: `, as in training.
 */
export async function decodeQuotedLines(options: QuotedOptions): Promise<QuotedAnswer> {
  const { quotes, maxTokens, maxLines } = options;
  const between = [quotes.newlineId, ...options.tokenizer.encode(ANSWER_OPENING)];
  const ids: number[] = [];
  const lines: QuotedLine[] = [];
  const answer = (stoppedBy: Decoded["stoppedBy"]): QuotedAnswer => ({ ids, text: textOf(lines), stoppedBy, lines });
  for (;;) {
    const isFirst = lines.length === 0;
    const opening = isFirst ? [] : between;
    const line = await decodeLine(options, [...ids, ...opening], lines);
    // Nothing was said of this line, or nothing new.
    if (!isFirst && (line.ids.length === 0 || isRepeated(line, lines))) return answer(line.stoppedBy);
    ids.push(...opening, ...line.ids);
    lines.push({ text: line.text, quote: line.quote });
    if (line.stoppedBy !== "end" || line.quote.end !== "line" || lines.length >= maxLines) return answer(line.stoppedBy);
    if (ids.length + between.length >= maxTokens) return answer("length");
    const next = await openNext(options, between);
    if (next !== "more") return answer(next);
  }
}

interface DecodedLine {
  ids: readonly number[];
  text: string;
  quote: QuoteState;
  stoppedBy: Decoded["stoppedBy"];
}

/** One line behind the tokens of the answer so far: the most probable one, or where chance is wanted one that was sampled. */
async function decodeLine(options: QuotedOptions, before: number[], said: readonly QuotedLine[]): Promise<DecodedLine> {
  const { quotes, sampling, tokenizer } = options;
  const from = said.length === 0 ? quotes.start : quotes.further;
  const maxTokens = options.maxTokens - before.length;
  const whole = (text: string): string => textOf([...said, { text }]);
  if (sampling.temperature > 0) {
    const isFirst = said.length === 0;
    let held = "";
    const onText = (text: string): void => {
      if (isFirst) options.onText(text);
      else held += text;
    };
    const line = await decodeTokens({ ...options, maxTokens, onText }, { quotes, from });
    const decoded = { ...line, quote: line.quote ?? from };
    // A further line is shown once it is known not to be one that was shown.
    if (!isFirst && !isRepeated(decoded, said)) options.onText(`\n${held}`);
    return decoded;
  }
  const prompt = Int32Array.from([...options.prompt, ...before]);
  const textOfIds = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecial: true });
  const line = await mostProbableLine({
    ...options,
    ...{ prompt, from, maxTokens },
    onLead: (lead) => options.onCandidate(whole(textOfIds(lead))),
  });
  const text = textOfIds(line.ids);
  const decoded = { ...line, text };
  options.onCandidate(line.ids.length === 0 || isRepeated(decoded, said) ? textOf(said) : whole(text));
  return decoded;
}

/** Ends the line, and where the model most probably opens another one makes the cache end in its opening. */
async function openNext(options: QuotedOptions, between: readonly number[]): Promise<"more" | "end" | "user"> {
  const { runner, signal } = options;
  const [newline = 0, opening = 0, ...rest] = between;
  try {
    await runner.append([newline], { signal });
    const next = await runner.sample(GREEDY);
    if (next !== opening) return "end";
    await runner.append([opening, ...rest], { signal });
    return "more";
  } catch (error) {
    if (EngineError.is(error, "aborted")) return "user";
    throw error;
  }
}

function isRepeated({ text, quote }: { text: string; quote: QuoteState }, said: readonly QuotedLine[]): boolean {
  return quote.end === "line" && said.some((line) => line.text === text);
}

function textOf(lines: readonly Pick<QuotedLine, "text">[]): string {
  return lines.map(({ text }) => text).join("\n");
}

const GREEDY = { temperature: 0, topP: 1, seed: 1 };
