import { abortedError } from "../errors.ts";
import type { PieceModel, PieceTokens } from "./pieceModel.ts";
import { asCount, asFlag, asList, asText, type Fields, invalidTokenizer } from "./fields.ts";
import type { Stop } from "./tokenizer.ts";
import { Trie } from "./trie.ts";

/** A vocabulary of pieces with log probabilities; the id is the place in the list. */
export interface UnigramPieces {
  readonly contents: readonly string[];
  readonly scores: ArrayLike<number>;
  readonly unknownId: number | undefined;
  readonly byteFallback: boolean;
  /** Ids that text must not become: control tokens and those that are not used. */
  readonly withheld: ReadonlySet<number>;
}

/**
 * Unigram: of all ways to cut a piece of text into vocabulary entries the one with the highest sum of scores (Viterbi). An
 * unknown character costs 10 more than the least likely entry; unknown ones in a row become one token, or bytes where the
 * vocabulary has them. Time goes with text length times the longest entry.
 */
export class UnigramModel implements PieceModel {
  private readonly trie = new Trie();
  private readonly scores: Float64Array;
  private readonly unknownScore: number;
  private readonly unknownId: number;
  private readonly byteIds: Int32Array | undefined;
  private readonly encoder = new TextEncoder();
  /** Per offset of the text: best score to get there, and the entry that ends there on that way with its start. */
  private best = new Float64Array(256);
  private lastId = new Int32Array(256);
  private lastStart = new Int32Array(256);

  constructor(pieces: UnigramPieces) {
    this.scores = Float64Array.from(pieces.scores);
    this.unknownScore = this.scores.reduce((least, score) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
    this.unknownId = pieces.unknownId ?? -1;
    pieces.contents.forEach((content, id) => {
      if (content !== "" && id !== this.unknownId && !pieces.withheld.has(id)) this.trie.add(unitsOf(content), id);
    });
    this.byteIds = pieces.byteFallback ? readByteIds(pieces.contents) : undefined;
    if (this.unknownId < 0 && !this.byteIds) throw invalidTokenizer("a Unigram model has neither an unknown token nor bytes");
  }

  encode(piece: string, stop?: Stop): PieceTokens {
    this.findBest(piece, stop);
    const ids: number[] = [];
    const starts: number[] = [];
    for (let end = piece.length; end > 0;) {
      let start = this.lastStart[end];
      const id = this.lastId[end];
      if (id >= 0) {
        ids.push(id);
        starts.push(start);
      } else {
        while (start > 0 && this.lastId[start] < 0) start = this.lastStart[start];
        this.pushUnknown(piece.slice(start, end), start, ids, starts);
      }
      end = start;
    }
    return { ids: Int32Array.from(ids).reverse(), starts: Int32Array.from(starts).reverse() };
  }

  /** Fills the tables for one piece; of equal scores the way found first stays. Unknown characters have the id -1. */
  private findBest(piece: string, stop: Stop | undefined): void {
    const { length } = piece;
    if (length >= this.best.length) {
      this.best = new Float64Array(2 * length);
      this.lastId = new Int32Array(2 * length);
      this.lastStart = new Int32Array(2 * length);
    }
    const { best, lastId, lastStart, scores, trie } = this;
    best.fill(-Infinity, 1, length + 1);
    best[0] = 0;
    let poll = 0;
    for (let start = 0; start < length;) {
      if (start >= poll) {
        poll = start + POLL_CHARS;
        if (stop?.()) throw abortedError();
      }
      const next = start + ((piece.codePointAt(start) ?? 0) > 0xffff ? 2 : 1);
      let single = false;
      let node = 0;
      for (let end = start; end < length;) {
        node = trie.child(node, piece.charCodeAt(end));
        if (node === 0) break;
        end++;
        const id = trie.idAt(node);
        if (id < 0) continue;
        single ||= end === next;
        const score = best[start] + scores[id];
        if (score > best[end]) {
          best[end] = score;
          lastId[end] = id;
          lastStart[end] = start;
        }
      }
      if (!single && best[start] + this.unknownScore > best[next]) {
        best[next] = best[start] + this.unknownScore;
        lastId[next] = -1;
        lastStart[next] = start;
      }
      start = next;
    }
  }

  /** One token for all of the text, or its bytes; last byte first, as the tokens are collected from the end. */
  private pushUnknown(text: string, start: number, ids: number[], starts: number[]): void {
    const { byteIds } = this;
    if (!byteIds) {
      ids.push(this.unknownId);
      starts.push(start);
      return;
    }
    const bytes = this.encoder.encode(text);
    let unit = text.length;
    for (let at = bytes.length - 1; at >= 0; at--) {
      // The unit a character begins at is known at its last byte, which comes first.
      if (at === bytes.length - 1 || (bytes[at + 1] & 0xc0) !== 0x80) unit -= isLowOfPair(text, unit - 1) ? 2 : 1;
      ids.push(byteIds[bytes[at]]);
      starts.push(start + unit);
    }
  }
}

function isLowOfPair(text: string, unit: number): boolean {
  return unit > 0 && (text.codePointAt(unit - 1) ?? 0) > 0xffff;
}

/** Reads the `model` of a Unigram tokenizer.json. */
export function readUnigram(model: Fields): Omit<UnigramPieces, "withheld"> {
  const vocab = asList(model.vocab, "model.vocab");
  if (vocab.length === 0) throw invalidTokenizer("model.vocab is empty");
  const contents: string[] = [];
  const scores = new Float64Array(vocab.length);
  vocab.forEach((entry, id) => {
    const [content, score] = asList(entry, `model.vocab[${id}]`);
    contents.push(asText(content, `model.vocab[${id}]`));
    if (typeof score !== "number") throw invalidTokenizer(`model.vocab[${id}] has no score`);
    scores[id] = score;
  });
  const unknownId = model.unk_id === undefined || model.unk_id === null ? undefined : asCount(model.unk_id, "model.unk_id");
  if (unknownId !== undefined && unknownId >= contents.length)
    throw invalidTokenizer(`model.unk_id ${unknownId} is not in the vocabulary`);
  return { contents, scores, unknownId, byteFallback: asFlag(model.byte_fallback, false, "model.byte_fallback") };
}

/** Between two polls of `stop`: a few milliseconds. */
const POLL_CHARS = 1 << 12;
/** How much less likely an unknown character is than the least likely entry. */
const UNKNOWN_PENALTY = 10;

/** Ids of <0x00> to <0xFF>, or undefined unless all are there. */
function readByteIds(contents: readonly string[]): Int32Array | undefined {
  const byteIds = new Int32Array(256).fill(-1);
  contents.forEach((content, id) => {
    const byte = /^<0x([0-9A-F]{2})>$/.exec(content)?.[1];
    if (byte !== undefined) byteIds[parseInt(byte, 16)] = id;
  });
  return byteIds.includes(-1) ? undefined : byteIds;
}

function unitsOf(text: string): Uint16Array {
  return Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
}
