import { abortedError } from "../errors.ts";
import { BpeMerger, PairTable } from "./bpe.ts";
import { alphabetBytes, byteToChar } from "./byteAlphabet.ts";
import { ByteBpe } from "./byteBpe.ts";
import { asFlag, asText, type Fields, invalidTokenizer } from "./fields.ts";
import { packTokens, TokenTable } from "./tokenTable.ts";
import type { PieceModel, PieceTokens } from "./pieceModel.ts";
import type { Stop } from "./tokenizer.ts";
import { charBytes } from "./utf8.ts";
import { checkBpe, readMerges, type Vocabulary } from "./vocabulary.ts";

/** The `model` of a BPE tokenizer.json over pieces, byte-level or SentencePiece with byte fallback. */
export class BpeModel implements PieceModel {
  private readonly pairs: PairTable;
  private readonly merger: BpeMerger;
  private readonly byteIds: Int32Array;
  private readonly unknownId: number;
  private readonly fuseUnknown: boolean;
  private readonly byteFallback: boolean;
  private readonly ignoreMerges: boolean;
  private readonly encoder = new TextEncoder();

  constructor(
    model: Fields,
    private readonly vocabulary: Vocabulary,
    private readonly byteLevel: boolean,
  ) {
    checkBpe(model);
    this.pairs = new PairTable(readMerges(model, vocabulary.ids));
    this.merger = new BpeMerger(this.pairs);
    this.byteFallback = asFlag(model.byte_fallback, false, "model.byte_fallback");
    this.fuseUnknown = asFlag(model.fuse_unk, false, "model.fuse_unk");
    this.ignoreMerges = asFlag(model.ignore_merges, false, "model.ignore_merges");
    this.unknownId = this.readUnknown(model.unk_token);
    this.byteIds = Int32Array.from({ length: 256 }, (_, byte) => vocabulary.ids.get(this.byteSpelling(byte)) ?? -1);
  }

  /** Throws `aborted` when `stop` says so. */
  encode(piece: string, stop?: Stop): PieceTokens {
    const { ids, starts } = this.byteLevel ? this.byteSymbols(piece) : this.charSymbols(piece, stop);
    if (this.ignoreMerges) {
      const whole = this.vocabulary.ids.get(this.byteLevel ? this.spell(piece) : piece);
      if (whole !== undefined) return { ids: Int32Array.of(whole), starts: Int32Array.of(0) };
    }
    const firsts = new Int32Array(ids.length);
    const count = this.merger.merge(ids, firsts, ids.length, stop);
    return { ids: ids.slice(0, count), starts: Int32Array.from({ length: count }, (_, i) => starts[firsts[i] ?? 0] ?? 0) };
  }

  /** The same model on UTF-8, where it is byte-level and every byte has a token. */
  byteBpe(): ByteBpe | undefined {
    if (!this.byteLevel || this.byteIds.includes(-1)) return undefined;
    const tokens: Uint8Array[] = [];
    for (const [content, id] of this.vocabulary.ids) {
      const bytes = alphabetBytes(content);
      if (bytes) tokens[id] = bytes;
    }
    return new ByteBpe(new TokenTable(packTokens(tokens)), this.pairs, this.byteIds, this.ignoreMerges);
  }

  /** One symbol per UTF-8 byte. */
  private byteSymbols(piece: string): { ids: Int32Array; starts: Int32Array } {
    const bytes = this.encoder.encode(piece);
    const symbols = new Symbols(bytes.length);
    let offset = 0;
    for (let at = 0; at < bytes.length;) {
      const width = charBytes(bytes[at]);
      for (let i = at; i < at + width; i++) this.pushByte(symbols, bytes[i], offset);
      at += width;
      offset += width === 4 ? 2 : 1;
    }
    return symbols.done();
  }

  /** One symbol per character in the vocabulary; others fall back to bytes or to the unknown token. */
  private charSymbols(piece: string, stop: Stop | undefined): { ids: Int32Array; starts: Int32Array } {
    const symbols = new Symbols(piece.length);
    for (let at = 0, poll = POLL_CHARS; at < piece.length;) {
      if (at >= poll) {
        poll = at + POLL_CHARS;
        if (stop?.()) throw abortedError();
      }
      const char = charAt(piece, at);
      const id = this.vocabulary.ids.get(char);
      if (id !== undefined) symbols.push(id, at);
      else if (!this.pushFallback(symbols, char, at)) this.pushUnknown(symbols, at);
      at += char.length;
    }
    return symbols.done();
  }

  private pushFallback(symbols: Symbols, char: string, at: number): boolean {
    const bytes = this.byteFallback ? this.encoder.encode(char) : new Uint8Array();
    if (bytes.length === 0 || bytes.some((byte) => (this.byteIds[byte] ?? -1) < 0)) return false;
    for (const byte of bytes) symbols.push(this.byteIds[byte] ?? 0, at);
    return true;
  }

  private pushByte(symbols: Symbols, byte: number, at: number): void {
    const id = this.byteIds[byte] ?? -1;
    if (id >= 0) symbols.push(id, at);
    else this.pushUnknown(symbols, at);
  }

  /** Without an unknown token such a character is dropped, as the tokenizers library does. */
  private pushUnknown(symbols: Symbols, at: number): void {
    if (this.unknownId < 0 || (this.fuseUnknown && symbols.last === this.unknownId)) return;
    symbols.push(this.unknownId, at);
  }

  private spell(piece: string): string {
    let spelling = "";
    for (const byte of this.encoder.encode(piece)) spelling += byteToChar[byte] ?? "";
    return spelling;
  }

  private byteSpelling(byte: number): string {
    return this.byteLevel ? (byteToChar[byte] ?? "") : `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
  }

  private readUnknown(json: unknown): number {
    if (json === undefined || json === null) return -1;
    const content = asText(json, "model.unk_token");
    const id = this.vocabulary.id(content);
    if (id === undefined) throw invalidTokenizer(`model.unk_token ${content} is not in the vocabulary`);
    return id;
  }
}

/** Between two polls of `stop`: about a millisecond. */
const POLL_CHARS = 1 << 13;

/** The character at an offset; a lone surrogate counts as one. */
function charAt(text: string, at: number): string {
  const code = text.codePointAt(at) ?? 0;
  return code > 0xffff ? text.slice(at, at + 2) : text.charAt(at);
}

/** A growing list of symbols with their offsets. */
class Symbols {
  private ids: Int32Array;
  private starts: Int32Array;
  private count = 0;

  constructor(capacity: number) {
    this.ids = new Int32Array(Math.max(4, capacity));
    this.starts = new Int32Array(this.ids.length);
  }

  get last(): number {
    return this.count === 0 ? -1 : (this.ids[this.count - 1] ?? -1);
  }

  push(id: number, start: number): void {
    if (this.count === this.ids.length) {
      const ids = new Int32Array(2 * this.count);
      const starts = new Int32Array(2 * this.count);
      ids.set(this.ids);
      starts.set(this.starts);
      this.ids = ids;
      this.starts = starts;
    }
    this.ids[this.count] = id;
    this.starts[this.count] = start;
    this.count++;
  }

  done(): { ids: Int32Array; starts: Int32Array } {
    return { ids: this.ids.subarray(0, this.count), starts: this.starts.subarray(0, this.count) };
  }
}
