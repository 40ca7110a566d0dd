import { abortedError } from "../errors.ts";
import { BpeMerger } from "./bpe.ts";
import type { PieceModel, PieceTokens } from "./pieceModel.ts";
import { invalidTokenizer } from "./fields.ts";
import { packTokens, TokenTable } from "./tokenTable.ts";
import type { Stop } from "./tokenizer.ts";
import { charBytes } from "./utf8.ts";

/** A SentencePiece BPE vocabulary as the SentencePiece model itself and GGUF files have it: with scores in place of merges. */
export interface ScoredTokens {
  /** Tokens that text can become, by id; others are undefined. A blank is U+2581. */
  readonly contents: readonly (string | undefined)[];
  readonly scores: ArrayLike<number>;
  /** Ids of the 256 byte tokens, or undefined where characters that are not in the vocabulary become `unknownId`. */
  readonly byteIds: Int32Array | undefined;
  readonly unknownId: number | undefined;
}

/** Two neighbours merge where they make a token together, and the token with the highest score goes first. */
export class ScoredBpe implements PieceModel {
  /**
   * Tokens in the order of their scores, so that a place in it is a rank. Behind them stand the byte tokens, written as
   * 0xFF and the byte: no text holds 0xFF, so that they never merge.
   */
  private readonly table: TokenTable;
  /** Place in the table -> id. */
  private readonly idOf: Int32Array;
  private readonly firstByte: number;
  private readonly unknownId: number;
  private readonly merger: BpeMerger;
  private readonly encoder = new TextEncoder();

  constructor({ contents, scores, byteIds, unknownId }: ScoredTokens) {
    const encoder = new TextEncoder();
    const order: number[] = [];
    contents.forEach((content, id) => {
      if (content !== undefined && content !== "") order.push(id);
    });
    order.sort((a, b) => scores[b] - scores[a] || a - b);
    const packed: Uint8Array[] = order.map((id) => encoder.encode(contents[id]));
    this.firstByte = byteIds ? packed.length : -1;
    for (const [byte, id] of (byteIds ?? []).entries()) {
      packed.push(Uint8Array.of(0xff, byte));
      order.push(id);
    }
    if (!byteIds && unknownId === undefined)
      throw invalidTokenizer("has neither byte tokens nor an unknown token", "the vocabulary");
    this.unknownId = packed.length;
    packed.push(Uint8Array.of(0xff));
    order.push(unknownId ?? -1);
    this.table = new TokenTable(packTokens(packed));
    this.idOf = Int32Array.from(order);
    this.merger = new BpeMerger(this.table);
  }

  encode(piece: string, stop?: Stop): PieceTokens {
    const bytes = this.encoder.encode(piece);
    const ids = new Int32Array(bytes.length);
    const places = new Int32Array(bytes.length);
    let length = 0;
    let unit = 0;
    const push = (id: number): void => {
      ids[length] = id;
      places[length++] = unit;
    };
    for (let at = 0, poll = POLL_BYTES; at < bytes.length;) {
      if (at >= poll) {
        poll = at + POLL_BYTES;
        if (stop?.()) throw abortedError();
      }
      const width = charBytes(bytes[at]);
      const known = this.table.find(bytes, at, at + width);
      if (known >= 0) push(known);
      else if (this.firstByte >= 0) for (let i = at; i < at + width; i++) push(this.firstByte + bytes[i]);
      // Unknown characters in a row are one token.
      else if (length === 0 || ids[length - 1] !== this.unknownId) push(this.unknownId);
      at += width;
      unit += width === 4 ? 2 : 1;
    }
    const firsts = new Int32Array(length);
    const count = this.merger.merge(ids, firsts, length, stop);
    return {
      ids: ids.slice(0, count).map((place) => this.idOf[place]),
      starts: firsts.slice(0, count).map((first) => places[first]),
    };
  }
}

/** Between two polls of `stop`: a few milliseconds. */
const POLL_BYTES = 1 << 14;
