import { align, type Aligned, originOf, sliceAligned } from "./aligned.ts";
import { BpeModel, type PieceTokens } from "./bpeModel.ts";
import { readDecoder, TokenStream } from "./decoder.ts";
import { asFields, asText, unsupportedTokenizer } from "./fields.ts";
import { readNormalizer, type Step } from "./normalizers.ts";
import { readPrefixIds } from "./postProcessor.ts";
import { readPreTokenizer, type Splitter } from "./preTokenizers.ts";
import { escapeRegex } from "./regex.ts";
import type { DecodeOptions, EncodedText, EncodeOptions, TextStream, Tokenizer } from "./tokenizer.ts";
import { type AddedToken, readAddedTokens, readVocab, Vocabulary } from "./vocabulary.ts";

/**
 * A tokenizer from a parsed Hugging Face tokenizer.json: byte-level BPE, or SentencePiece-style BPE with byte fallback.
 * Throws `tokenizer-invalid` for a malformed file and `unsupported-tokenizer` for another kind.
 */
export function loadTokenizer(json: unknown): Tokenizer {
  const file = asFields(json, "the file");
  const model = asFields(file.model, "model");
  const type = model.type === undefined && Array.isArray(model.merges) ? "BPE" : asText(model.type, "model.type");
  if (type !== "BPE") throw unsupportedTokenizer(`the tokenizer model ${type}`);
  const { splitters, byteLevel } = readPreTokenizer(file.pre_tokenizer);
  const vocabulary = new Vocabulary(readVocab(model), readAddedTokens(file.added_tokens), byteLevel);
  return new BpeTokenizer(
    vocabulary,
    readNormalizer(file.normalizer),
    splitters,
    new BpeModel(model, vocabulary, byteLevel),
    readPrefixIds(file.post_processor),
    readDecoder(file.decoder),
  );
}

/** A stretch of text, or an added token found in it. */
interface Segment {
  text: Aligned;
  id: number | undefined;
  atStart: boolean;
}

class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number;
  private readonly splitRaw: AddedSplitters;
  private readonly splitNormalized: AddedSplitters;

  constructor(
    private readonly vocabulary: Vocabulary,
    private readonly normalizer: readonly Step[],
    private readonly splitters: readonly Splitter[],
    private readonly model: BpeModel,
    readonly prefixIds: readonly number[],
    private readonly decoder: { stripStart: number },
  ) {
    this.vocabSize = vocabulary.size;
    const inNormalized = (token: AddedToken) => token.normalized && normalizer.length > 0;
    this.splitRaw = addedSplitters(vocabulary.added.filter((token) => !inNormalized(token)));
    this.splitNormalized = addedSplitters(vocabulary.added.filter(inNormalized));
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array<ArrayBuffer> {
    const ids = new IdList();
    this.walk(text, options.special ?? "text", (tokens) => {
      for (const id of tokens.ids) ids.push(id);
    });
    return ids.take();
  }

  encodeWithOffsets(text: string): EncodedText {
    const ids = new IdList();
    const starts = new IdList();
    this.walk(text, "text", (tokens, piece) => {
      for (const id of tokens.ids) ids.push(id);
      for (const start of tokens.starts) starts.push(originOf(piece, start));
    });
    return { ids: ids.take(), starts: starts.take() };
  }

  count(text: string): number {
    let count = 0;
    this.walk(text, "text", (tokens) => {
      count += tokens.ids.length;
    });
    return count;
  }

  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = this.stream(options);
    let text = "";
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  tokenBytes(id: number): Uint8Array<ArrayBuffer> {
    return this.vocabulary.tokenBytes(id);
  }

  tokenId(content: string): number | undefined {
    return this.vocabulary.id(content);
  }

  stream(options: DecodeOptions = {}): TextStream {
    return new TokenStream(this.vocabulary, this.decoder.stripStart, options.skipSpecial ?? false);
  }

  /** Added tokens, normalizer, pre-tokenizer, merges, in the order of tokenizer.json; calls `emit` once per piece. */
  private walk(text: string, special: "text" | "recognize", emit: Emit): void {
    for (const raw of splitAdded(align(text), true, this.splitRaw[special])) {
      if (raw.id !== undefined) {
        emit(oneToken(raw.id), raw.text);
        continue;
      }
      let normalized = raw.text;
      for (const step of this.normalizer) normalized = step(normalized);
      for (const segment of splitAdded(normalized, raw.atStart, this.splitNormalized[special])) {
        if (segment.id !== undefined) emit(oneToken(segment.id), segment.text);
        else if (segment.text.text !== "") this.split(0, segment.text, segment.atStart, emit);
      }
    }
  }

  /** Runs the pre-tokenizers from `level` on, each on the pieces of the one before. */
  private split(level: number, piece: Aligned, atStart: boolean, emit: Emit): void {
    const splitter = this.splitters[level];
    if (!splitter) {
      emit(this.model.encode(piece.text), piece);
      return;
    }
    let first = atStart;
    splitter(piece, atStart, (part) => {
      this.split(level + 1, part, first, emit);
      first = false;
    });
  }
}

type Emit = (tokens: PieceTokens, piece: Aligned) => void;

function oneToken(id: number): PieceTokens {
  return { ids: Int32Array.of(id), starts: Int32Array.of(0) };
}

interface AddedSplitters {
  text: AddedSplitter | undefined;
  recognize: AddedSplitter | undefined;
}

interface AddedSplitter {
  pattern: RegExp;
  ids: ReadonlyMap<string, number>;
}

/** In plain text only runs of blanks count as added tokens (GPT-NeoX, Phi): they carry no control meaning. */
function addedSplitters(added: readonly AddedToken[]): AddedSplitters {
  return {
    text: addedSplitter(added.filter((token) => !token.special && token.content.trim() === "")),
    recognize: addedSplitter(added),
  };
}

/** Leftmost, then longest. */
function addedSplitter(added: readonly AddedToken[]): AddedSplitter | undefined {
  if (added.length === 0) return undefined;
  const alternatives = [...added].sort((a, b) => b.content.length - a.content.length).map(addedPattern);
  return { pattern: new RegExp(alternatives.join("|"), "gu"), ids: new Map(added.map((token) => [token.content, token.id])) };
}

function addedPattern(token: AddedToken): string {
  const word = "[\\p{L}\\p{N}_]";
  const content = token.singleWord ? `(?<!${word})${escapeRegex(token.content)}(?!${word})` : escapeRegex(token.content);
  return `${token.lstrip ? "\\p{White_Space}*" : ""}${content}${token.rstrip ? "\\p{White_Space}*" : ""}`;
}

function splitAdded(input: Aligned, atStart: boolean, splitter: AddedSplitter | undefined): readonly Segment[] {
  if (!splitter) return [{ text: input, id: undefined, atStart }];
  const segments: Segment[] = [];
  let from = 0;
  const add = (start: number, end: number, id: number | undefined) => {
    if (end > start) segments.push({ text: sliceAligned(input, start, end), id, atStart: atStart && start === 0 });
  };
  for (const match of input.text.matchAll(splitter.pattern)) {
    const id = splitter.ids.get(match[0]) ?? splitter.ids.get(match[0].trim());
    if (id === undefined) continue;
    add(from, match.index, undefined);
    from = match.index + match[0].length;
    add(match.index, from, id);
  }
  add(from, input.text.length, undefined);
  return segments;
}

/** A growing Int32Array. */
class IdList {
  private items = new Int32Array(256);
  private length = 0;

  push(id: number): void {
    if (this.length === this.items.length) {
      const grown = new Int32Array(2 * this.length);
      grown.set(this.items);
      this.items = grown;
    }
    this.items[this.length++] = id;
  }

  take(): Int32Array<ArrayBuffer> {
    return this.items.slice(0, this.length);
  }
}
