import { BpeMerger } from "./bpe.ts";
import type { PieceTokens } from "./bpeModel.ts";
import { invalidTokenizer } from "./fields.ts";
import { IdList } from "./idList.ts";
import { packTokens, TokenTable } from "./tokenTable.ts";
import type { Stop } from "./tokenizer.ts";

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
export class ScoredBpe {
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
    const symbols = new IdList();
    const starts = new IdList();
    const bytes = this.encoder.encode(piece);
    let unit = 0;
    for (let at = 0; at < bytes.length;) {
      const width = charBytes(bytes[at]);
      const known = this.table.find(bytes, at, at + width);
      if (known >= 0 || this.firstByte < 0) {
        // Unknown characters in a row are one token.
        if (known >= 0 || symbols.length === 0 || symbols.from(symbols.length - 1)[0] !== this.unknownId) {
          symbols.pushOne(known >= 0 ? known : this.unknownId);
          starts.pushOne(unit);
        }
      } else {
        for (let i = 0; i < width; i++) {
          symbols.pushOne(this.firstByte + bytes[at + i]);
          starts.pushOne(unit);
        }
      }
      at += width;
      unit += width === 4 ? 2 : 1;
    }
    const ids = symbols.take();
    const firsts = new Int32Array(ids.length);
    const count = this.merger.merge(ids, firsts, ids.length, stop);
    const places = starts.take();
    return {
      ids: ids.slice(0, count).map((place) => this.idOf[place]),
      starts: firsts.slice(0, count).map((first) => places[first]),
    };
  }
}

function charBytes(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}
