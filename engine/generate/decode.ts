import type { Runner, Sampling } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { mostProbableLine } from "./bestLine.ts";
import type { QuoteIndex, QuoteState } from "./quote.ts";

export interface DecodeOptions {
  /** Holds the whole prompt. */
  runner: Runner;
  /** Token ids of the prompt. */
  prompt: Int32Array;
  tokenizer: Tokenizer;
  sampling: Sampling;
  /** Tokens that end an answer; they are not part of it. */
  stopIds: ReadonlySet<number>;
  maxTokens: number;
  /** Only lines of the pack may be spelt. */
  quotes?: QuoteIndex;
  signal?: AbortSignal;
  /** Text as it becomes complete. */
  onText(text: string): void;
  /** Of a quote, the beginning that leads at the moment: all of its text, which a later call may replace. */
  onCandidate(text: string): void;
}

export interface Decoded {
  /** The answer's tokens; the runner has been given all but perhaps the last. */
  ids: number[];
  text: string;
  stoppedBy: "end" | "length" | "user";
  /** Where the constraint ended, if there was one. */
  quote?: QuoteState;
}

/** The most probable line where a quote is wanted and chance is not, else token by token; an abort keeps what was decoded. */
export async function decodeAnswer(options: DecodeOptions): Promise<Decoded> {
  const { quotes, sampling } = options;
  return quotes && sampling.temperature === 0 ? decodeLine({ ...options, quotes }) : decodeTokens(options);
}

async function decodeLine(options: DecodeOptions & { quotes: QuoteIndex }): Promise<Decoded> {
  const { tokenizer } = options;
  const textOf = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecial: true });
  const { ids, quote, stoppedBy } = await mostProbableLine({
    ...options,
    onLead: (lead) => {
      options.onCandidate(textOf(lead));
    },
  });
  const text = textOf(ids);
  options.onCandidate(text);
  return { ids, text, stoppedBy, quote };
}

/** Samples, streams and appends one token after another. */
async function decodeTokens(options: DecodeOptions): Promise<Decoded> {
  const { runner, tokenizer, quotes, signal } = options;
  const stream = tokenizer.stream({ skipSpecial: true });
  const ids: number[] = [];
  let text = "";
  let quote = quotes?.start;
  const emit = (piece: string) => {
    text += piece;
    if (piece !== "") options.onText(piece);
  };
  const finish = (stoppedBy: Decoded["stoppedBy"]): Decoded => {
    emit(stream.end());
    return { ids, text, stoppedBy, quote };
  };
  while (ids.length < options.maxTokens) {
    if (signal?.aborted) return finish("user");
    const allowed = quotes && quote ? quotes.mask(quote) : undefined;
    const id = await runner.sample(options.sampling, allowed);
    if (quotes && quote) quote = quotes.advance(quote, id);
    if (quote?.end === "line" || (!quote && options.stopIds.has(id))) return finish("end");
    ids.push(id);
    emit(stream.push(id));
    try {
      await runner.append([id], { signal });
    } catch (error) {
      if (EngineError.is(error, "aborted")) return finish("user");
      throw error;
    }
    if (quote?.end === "absent") return finish("end");
  }
  return finish("length");
}
