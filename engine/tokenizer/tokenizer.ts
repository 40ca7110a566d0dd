/** What the rest of the engine asks of a tokenizer; made by `loadTokenizer`. */
export interface Tokenizer {
  /** One more than the largest token id. */
  readonly vocabSize: number;
  /** Tokens the post-processor puts in front of a text (a BOS, or nothing). */
  readonly prefixIds: readonly number[];
  /** Token ids of a text, without `prefixIds`. */
  encode(text: string, options?: EncodeOptions): Int32Array<ArrayBuffer>;
  /** Ids of plain text, and for each the UTF-16 offset of its first character (tokens inside one character share its offset). */
  encodeWithOffsets(text: string): EncodedText;
  /** Length of `encode(text)`. */
  count(text: string): number;
  /**
   * Tokens of UTF-8 bytes, bad sequences counted as the U+FFFD that TextDecoder puts in their place; a byte order mark is
   * a character like others. `stop` is polled every few milliseconds of work; once it says true, throws `aborted`.
   */
  countUtf8(bytes: Uint8Array, stop?: Stop): number;
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** Bytes one token stands for; throws `bad-argument` for an id outside the vocabulary. */
  tokenBytes(id: number): Uint8Array<ArrayBuffer>;
  /** Id of the token with exactly this written form, special tokens included. */
  tokenId(content: string): number | undefined;
  /** Decodes token by token, holding back incomplete UTF-8. */
  stream(options?: DecodeOptions): TextStream;
}

/** Says whether work should end; polled by long loops. */
export type Stop = () => boolean;

export interface EncodeOptions {
  /**
   * `text` (default): characters that spell a special token stay characters, so nothing in a file can become a control
   * token. `recognize`: they become the token; for chat templates only.
   */
  special?: "text" | "recognize";
}

export interface DecodeOptions {
  /** Leaves special tokens out (default false). */
  skipSpecial?: boolean;
}

export interface EncodedText {
  ids: Int32Array<ArrayBuffer>;
  starts: Int32Array<ArrayBuffer>;
}

export interface TextStream {
  /** Text that is complete once this token is known. */
  push(id: number): string;
  /** What was held back; bytes that never became a character show as U+FFFD. */
  end(): string;
}
