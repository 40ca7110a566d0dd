import { abortedError, EngineError } from "../errors.ts";
import { type AddedSplitters, addedSplitters, type Segment, splitAdded } from "./addedTokens.ts";
import { align, type Aligned, originOf } from "./aligned.ts";
import { PairTable } from "./bpe.ts";
import { alphabetBytes } from "./byteAlphabet.ts";
import { ByteBpe } from "./byteBpe.ts";
import { TokenStream } from "./decoder.ts";
import { invalidTokenizer } from "./fields.ts";
import { IdList } from "./idList.ts";
import type { Step } from "./normalizers.ts";
import type { PreTokenizer } from "./preTokenizers.ts";
import { type PieceModel, type PieceTokens, PieceTokensCache } from "./pieceModel.ts";
import { type PieceMachine, pieceMachine } from "./pieceMachine.ts";
import type { DecodeOptions, EncodedText, EncodeOptions, Stop, TextStream, Tokenizer } from "./tokenizer.ts";
import { type PackedTokens, TokenTable } from "./tokenTable.ts";
import { charBytes, isAscii } from "./utf8.ts";
import type { AddedToken, Vocabulary } from "./vocabulary.ts";

/** A byte-level BPE vocabulary as tiktoken rank files and GGUF metadata have it. */
export interface BpeVocabulary {
  /** Bytes of the tokens that text can become, by id (see `packTokens`). All 256 single bytes must be among them. */
  readonly tokens: PackedTokens;
  /**
   * Left id, right id and merged id of every merge, in rank order. Undefined is tiktoken's rule: ids are ranks, and two
   * neighbours merge where their bytes together are a token.
   */
  readonly merges?: Int32Array | undefined;
  /** A piece that is a token as a whole is that token, whatever the merges say; always so without `merges`. */
  readonly ignoreMerges?: boolean | undefined;
  /** From `readPreTokenizer` or `preTokenizerOf`; its `byteLevel` is taken as true. */
  readonly preTokenizer: PreTokenizer;
  readonly normalizer?: readonly Step[] | undefined;
  /** Special and other added tokens; their ids may lie beyond `tokens`. */
  readonly added: readonly AddedToken[];
  readonly prefixIds?: readonly number[] | undefined;
}

/** A tokenizer from a vocabulary of bytes. Throws `tokenizer-invalid` where a byte has no token. */
export function bpeTokenizer(vocabulary: BpeVocabulary): Tokenizer {
  const tokens = new TokenTable(vocabulary.tokens);
  const byteIds = Int32Array.from({ length: 256 }, (_, byte) => tokens.find(Uint8Array.of(byte), 0, 1));
  const missing = byteIds.indexOf(-1);
  if (missing >= 0) throw invalidTokenizer(`the vocabulary has no token for byte ${missing}`, "the vocabulary");
  const { merges } = vocabulary;
  const bpe = new ByteBpe(
    tokens,
    merges ? new PairTable(merges) : tokens,
    byteIds,
    merges ? (vocabulary.ignoreMerges ?? false) : true,
  );
  return new BpeTokenizer(
    new PackedVocabulary(tokens, vocabulary.added),
    vocabulary.normalizer ?? [],
    vocabulary.preTokenizer,
    new BytePieces(bpe),
    vocabulary.prefixIds ?? [],
    { stripStart: 0 },
  );
}

/** Ids and bytes of all tokens. */
export type TokenBook = Pick<Vocabulary, "size" | "added" | "specialIds" | "id" | "tokenBytes">;

/**
 * Added tokens, normalizer, pre-tokenizer, model, in the order of tokenizer.json. Where the pre-tokenizer consists of
 * patterns and the model is a byte-level BPE, text is cut and looked up as UTF-8; everything else goes by strings.
 */
export class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number;
  private readonly splitRaw: AddedSplitters;
  private readonly splitNormalized: AddedSplitters;
  private readonly encoder = new TextEncoder();
  private readonly cache = new PieceTokensCache();
  /** Undefined until first asked for: making it takes some 100 ms for a large vocabulary. */
  private fast: FastPath | "none" | undefined;

  constructor(
    private readonly vocabulary: TokenBook,
    private readonly normalizer: readonly Step[],
    private readonly preTokenizer: PreTokenizer,
    private readonly model: PieceModel,
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
    this.walk(text, options.special ?? "text", undefined, {
      one: (id) => ids.pushOne(id),
      fast: ({ machine }, { text }) => machine.encode(text, ids),
      piece: (tokens) => ids.push(tokens.ids, 0, tokens.ids.length),
    });
    return ids.take();
  }

  encodeWithOffsets(text: string): EncodedText {
    const ids = new IdList();
    const starts = new IdList();
    this.walk(text, "text", undefined, {
      one: (id, segment) => {
        ids.pushOne(id);
        starts.pushOne(originOf(segment, 0));
      },
      fast: ({ machine, bpe }, segment) => {
        const first = ids.length;
        const bytes = this.encoder.encode(segment.text);
        machine.encode(bytes, ids);
        eachStart(bytes, ids.from(first), bpe, (start) => starts.pushOne(originOf(segment, start)));
      },
      piece: (tokens, piece) => {
        ids.push(tokens.ids, 0, tokens.ids.length);
        for (const start of tokens.starts) starts.pushOne(originOf(piece, start));
      },
    });
    return { ids: ids.take(), starts: starts.take() };
  }

  count(text: string): number {
    return this.countText(text, undefined);
  }

  countUtf8(bytes: Uint8Array, stop?: Stop): number {
    const fast = this.fastPath();
    if (fast && !this.splitRaw.text && !this.splitNormalized.text && this.keeps(bytes)) {
      const count = fast.machine.count(bytes, stop);
      if (count >= 0) return count;
    }
    return this.countText(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes), stop);
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

  private countText(text: string, stop: Stop | undefined): number {
    let count = 0;
    this.walk(text, "text", stop, {
      one: () => count++,
      fast: ({ machine }, { text }) => (count += machine.count(text, stop)),
      piece: (tokens) => (count += tokens.ids.length),
    });
    return count;
  }

  private walk(text: string, special: "text" | "recognize", stop: Stop | undefined, visit: Visit): void {
    const fast = this.fastPath();
    const pieces = new PiecePolling(stop);
    for (const raw of splitAdded(align(text), true, this.splitRaw[special])) {
      if (raw.id !== undefined) {
        visit.one(raw.id, raw.text);
        continue;
      }
      let normalized = raw.text;
      const poll = () => pieces.now();
      for (const step of this.normalizer) {
        pieces.now();
        normalized = step(normalized, poll);
      }
      for (const segment of splitAdded(normalized, raw.atStart, this.splitNormalized[special])) {
        if (segment.id !== undefined) visit.one(segment.id, segment.text);
        else if (segment.text.text === "") continue;
        else if (fast) visit.fast(fast, segment.text);
        else this.split(0, segment, pieces, visit);
      }
    }
  }

  /** Runs the pre-tokenizers from `level` on, each on the pieces of the one before. */
  private split(level: number, { text: piece, atStart }: Omit<Segment, "id">, pieces: PiecePolling, visit: Visit): void {
    const splitter = this.preTokenizer.splitters[level];
    if (!splitter) {
      pieces.passed(piece.text.length);
      visit.piece(this.tokensOf(piece.text, pieces.stop), piece);
      return;
    }
    let first = atStart;
    splitter(piece, atStart, (part) => {
      this.split(level + 1, { text: part, atStart: first }, pieces, visit);
      first = false;
    });
  }

  private tokensOf(piece: string, stop: Stop | undefined): PieceTokens {
    const known = this.cache.get(piece);
    if (known) return known;
    const made = this.model.encode(piece, stop);
    this.cache.set(piece, made);
    return made;
  }

  private fastPath(): FastPath | undefined {
    if (this.fast === undefined) {
      const { byteLevel, cuts } = this.preTokenizer;
      const bpe = byteLevel && cuts ? this.model.byteBpe?.() : undefined;
      const machine = bpe && pieceMachine(cuts ?? [], bpe);
      this.fast = machine ? { machine, bpe } : "none";
    }
    return this.fast === "none" ? undefined : this.fast;
  }

  /** Whether the normalizer leaves a text as it is, as far as its bytes tell. */
  private keeps(bytes: Uint8Array): boolean {
    if (this.normalizer.length === 0) return true;
    return this.normalizer.every((step) => step.keepsAscii === true) && isAscii(bytes);
  }
}

interface FastPath {
  readonly machine: PieceMachine;
  readonly bpe: ByteBpe;
}

/** What a walk over a text meets, in order. */
interface Visit {
  one(id: number, segment: Aligned): void;
  /** A stretch that the fast path can do. */
  fast(fast: FastPath, segment: Aligned): void;
  piece(tokens: PieceTokens, piece: Aligned): void;
}

/** Polls `stop` between pieces, every so many characters. */
class PiecePolling {
  private left = POLL_CHARS;

  constructor(readonly stop: Stop | undefined) {}

  passed(chars: number): void {
    this.left -= chars;
    if (this.left < 0) this.now();
  }

  now(): void {
    this.left = POLL_CHARS;
    if (this.stop?.()) throw abortedError();
  }
}

const POLL_CHARS = 1 << 14;

/** Packed tokens and added ones. */
class PackedVocabulary implements TokenBook {
  readonly size: number;
  readonly specialIds: ReadonlySet<number>;
  private readonly contents: ReadonlyMap<number, string>;
  private readonly ids: ReadonlyMap<string, number>;

  constructor(
    private readonly tokens: TokenTable,
    readonly added: readonly AddedToken[],
  ) {
    this.size = added.reduce((size, token) => Math.max(size, token.id + 1), tokens.ranks);
    this.specialIds = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.contents = new Map(added.map((token) => [token.id, token.content]));
    this.ids = new Map(added.map((token) => [token.content, token.id]));
  }

  /** Written forms are spelt in the byte-level alphabet. */
  id(content: string): number | undefined {
    const added = this.ids.get(content);
    if (added !== undefined) return added;
    const bytes = alphabetBytes(content);
    const id = bytes ? this.tokens.find(bytes, 0, bytes.length) : -1;
    return id < 0 ? undefined : id;
  }

  tokenBytes(id: number): Uint8Array<ArrayBuffer> {
    const content = this.contents.get(id);
    if (content !== undefined) return new TextEncoder().encode(content);
    const bytes = id >= 0 && id < this.tokens.ranks ? this.tokens.bytesOf(id) : undefined;
    if (bytes === undefined || bytes.length === 0) {
      throw new EngineError("bad-argument", `token ${id} is not in the vocabulary`, `ids run from 0 to ${this.size - 1}`, { id });
    }
    return bytes;
  }
}

/** Pieces of a pattern that no scanner knows, merged as UTF-8. */
class BytePieces implements PieceModel {
  private readonly encoder = new TextEncoder();

  constructor(private readonly bpe: ByteBpe) {}

  encode(piece: string, stop?: Stop): PieceTokens {
    const bytes = this.encoder.encode(piece);
    const ids = this.bpe.merge(bytes, 0, bytes.length, stop).slice();
    const starts = new IdList();
    eachStart(bytes, ids, this.bpe, (start) => starts.pushOne(start));
    return { ids, starts: starts.take() };
  }

  byteBpe(): ByteBpe {
    return this.bpe;
  }
}

/** Calls `found` with the UTF-16 offset of the character in which each token begins; tokens are behind each other in `bytes`. */
function eachStart(bytes: Uint8Array, ids: Int32Array, bpe: ByteBpe, found: (start: number) => void): void {
  let tokenAt = 0;
  let charAt = 0;
  let offset = 0;
  for (const id of ids) {
    for (let width = charBytes(bytes[charAt]); charAt + width <= tokenAt; width = charBytes(bytes[charAt])) {
      charAt += width;
      offset += width === 4 ? 2 : 1;
    }
    found(offset);
    tokenAt += bpe.tokens.length(id);
  }
}
