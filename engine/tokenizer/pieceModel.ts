import type { ByteBpe } from "./byteBpe.ts";
import type { Stop } from "./tokenizer.ts";

/** Tokens of one piece; `starts[i]` is the UTF-16 offset in the piece of the first character of token i. */
export interface PieceTokens {
  readonly ids: Int32Array;
  readonly starts: Int32Array;
}

/** Turns the pieces of a text into tokens. */
export interface PieceModel {
  /** Throws `aborted` when `stop` says so. */
  encode(piece: string, stop?: Stop): PieceTokens;
  /** The same on UTF-8, where the model is a byte-level BPE in which every byte has a token. */
  byteBpe?(): ByteBpe | undefined;
}

/** Pieces seen lately: two generations of bounded size, so that a long run neither grows nor forgets everything at once. */
export class PieceTokensCache {
  private young = new Map<string, PieceTokens>();
  private old = new Map<string, PieceTokens>();

  get(piece: string): PieceTokens | undefined {
    const hit = this.young.get(piece);
    if (hit) return hit;
    const aged = this.old.get(piece);
    if (aged) this.set(piece, aged);
    return aged;
  }

  set(piece: string, tokens: PieceTokens): void {
    if (piece.length > MAX_CACHED_PIECE) return;
    if (this.young.size >= MAX_CACHED_PIECES) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(piece, tokens);
  }
}

const MAX_CACHED_PIECE = 64;
const MAX_CACHED_PIECES = 32_768;
