import { abortedError } from "../errors.ts";
import { BpeMerger, type MergeRule } from "./bpe.ts";
import type { TokenTable } from "./tokenTable.ts";
import type { Stop } from "./tokenizer.ts";

/** Takes token ids in order: the first `count` of `ids` from `from` on. */
export interface IdSink {
  push(ids: Int32Array, from: number, count: number): void;
}

/** Byte-level BPE of single pieces. */
export class ByteBpe {
  private readonly merger: BpeMerger;
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

  /** Tokens of the piece [start, end), valid until the next call. Throws `aborted` when `stop` says so. */
  merge(bytes: Uint8Array, start: number, end: number, stop?: Stop): Int32Array {
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
    return symbols.subarray(0, count);
  }
}

/** A longer piece asks for `stop` before it is looked at. */
const POLL_BYTES = 1 << 16;
/** Scratch above this size, left behind by one endless piece, is given back. */
const KEPT_SYMBOLS = 1 << 16;
