import type { Runner, Sampling } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { QuoteIndex, QuoteState } from "./quote.ts";

export interface DecodeOptions {
  /** Holds the whole prompt. */
  runner: Runner;
  tokenizer: Tokenizer;
  sampling: Sampling;
  /** Tokens that end free text; they are not part of it. */
  stopIds: ReadonlySet<number>;
  maxTokens: number;
  signal?: AbortSignal;
  /** Text as it becomes complete. */
  onText(text: string): void;
}

export interface Decoded {
  /** The runner has been given all but perhaps the last. */
  ids: number[];
  text: string;
  stoppedBy: "end" | "length" | "user";
}

/** Only a line of the pack may be spelt, from here on. */
export interface Constraint {
  quotes: QuoteIndex;
  from: QuoteState;
}

/**
 * Samples, streams and appends one token after another, until a stop token or, under a constraint, the end of the line; an abort keeps what was
 * decoded. `quote` is where the constraint ended.
 */
export async function decodeTokens(
  options: DecodeOptions,
  constraint?: Constraint,
): Promise<Decoded & { quote: QuoteState | undefined }> {
  const { runner, tokenizer, signal } = options;
  const stream = tokenizer.stream({ skipSpecial: true });
  const ids: number[] = [];
  let text = "";
  let quote = constraint?.from;
  const emit = (piece: string) => {
    text += piece;
    if (piece !== "") options.onText(piece);
  };
  const finish = (stoppedBy: Decoded["stoppedBy"]) => {
    emit(stream.end());
    return { ids, text, stoppedBy, quote };
  };
  while (ids.length < options.maxTokens) {
    if (signal?.aborted) return finish("user");
    const allowed = quote && constraint?.quotes.mask(quote);
    const id = await runner.sample(options.sampling, allowed);
    quote = quote && constraint?.quotes.advance(quote, id);
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
