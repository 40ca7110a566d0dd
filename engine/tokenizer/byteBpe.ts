import { abortedError } from "../errors.ts";
import { BpeMerger, type MergeRule } from "./bpe.ts";
import { PieceCache } from "./pieceCache.ts";
import type { PieceScanner } from "./scanner.ts";
import type { TokenTable } from "./tokenTable.ts";
import type { Stop } from "./tokenizer.ts";

/** Takes token ids in order: the first `count` of `ids` from `from` on. */
export interface IdSink {
  push(ids: Int32Array, from: number, count: number): void;
}

/** Byte-level BPE on UTF-8: pieces are looked up by their bytes, and merged only the first time they turn up. */
export class ByteBpe {
  private readonly merger: BpeMerger;
  private readonly cache = new PieceCache();
  private symbols = new Int32Array(256);
  private firsts = new Int32Array(256);

  /** `byteIds`: the token of each byte. `wholeFirst`: a piece that is a token is that token, whatever the merges say. */
  constructor(
    readonly tokens: TokenTable,
    rule: MergeRule,
    private readonly byteIds: Int32Array,
    private readonly wholeFirst: boolean,
  ) {
    this.merger = new BpeMerger(rule);
  }

  /** Tokens of UTF-8 cut by a scanner, or -1 where it is not UTF-8. Throws `aborted` when `stop` says so. */
  count(bytes: Uint8Array, scanner: PieceScanner, stop?: Stop): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { cache } = this;
    const limit = bytes.length;
    let total = 0;
    let poll = POLL_BYTES;
    scanner.valid = true;
    for (let at = 0; at < limit;) {
      const end = scanner.pieceEnd(bytes, at, limit, 0);
      if (end === at + 1) total++;
      else {
        const place = cache.find(bytes, view, at, end);
        total += place >= 0 ? cache.tokensAt(place) : this.merge(bytes, at, end, stop);
      }
      at = end;
      if (at < poll) continue;
      poll = at + POLL_BYTES;
      if (stop?.()) throw abortedError();
      if (!scanner.valid) return -1;
    }
    return scanner.valid ? total : -1;
  }

  /** Gives the sink the tokens of valid UTF-8 cut by a scanner. */
  encode(bytes: Uint8Array, scanner: PieceScanner, sink: IdSink): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { cache } = this;
    const limit = bytes.length;
    for (let at = 0; at < limit;) {
      const end = scanner.pieceEnd(bytes, at, limit, 0);
      const place = cache.find(bytes, view, at, end);
      if (place >= 0) sink.push(cache.ids, cache.idsAt(place), cache.tokensAt(place));
      else {
        const count = this.merge(bytes, at, end, undefined);
        sink.push(this.symbols, 0, count);
      }
      at = end;
    }
  }

  /** Tokens of one piece. Throws `aborted` when `stop` says so. */
  encodePiece(piece: Uint8Array, stop?: Stop): Int32Array {
    const place = this.cache.find(piece, new DataView(piece.buffer, piece.byteOffset, piece.byteLength), 0, piece.length);
    if (place < 0) {
      const count = this.merge(piece, 0, piece.length, stop);
      return this.symbols.slice(0, count);
    }
    const from = this.cache.idsAt(place);
    return this.cache.ids.slice(from, from + this.cache.tokensAt(place));
  }

  /** Tokens of a piece that the cache has just not found; they are left in `symbols`. */
  private merge(bytes: Uint8Array, start: number, end: number, stop: Stop | undefined): number {
    const length = end - start;
    if (length > POLL_BYTES && stop?.()) throw abortedError();
    if (this.symbols.length < length || (this.symbols.length > KEPT_SYMBOLS && length <= KEPT_SYMBOLS)) {
      this.symbols = new Int32Array(Math.max(256, length));
      this.firsts = new Int32Array(this.symbols.length);
    }
    const { symbols } = this;
    const whole = this.wholeFirst ? this.tokens.find(bytes, start, end) : -1;
    let count = 1;
    if (whole >= 0) symbols[0] = whole;
    else {
      for (let i = 0; i < length; i++) symbols[i] = this.byteIds[bytes[start + i]];
      count = this.merger.merge(symbols, this.firsts, length, stop);
    }
    this.cache.add(bytes, start, end, symbols, count);
    return count;
  }
}

/** Bytes between two polls of `stop`: about a millisecond. */
const POLL_BYTES = 1 << 16;
/** Scratch above this size, left behind by one endless piece, is given back. */
const KEPT_SYMBOLS = 1 << 16;
