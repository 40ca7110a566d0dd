import { EngineError } from "../errors.ts";
import { alphabetBytes } from "./byteAlphabet.ts";
import { asCount, asFields, asFlag, asList, asText, type Fields, invalidTokenizer, unsupportedTokenizer } from "./fields.ts";

/** A token written out in `added_tokens`. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /**
   * Plain text becomes it too: blanks, and what a SentencePiece vocabulary holds itself, such as the tags of HTML in Gemma's.
   * What was added to a vocabulary later directs the model, whether it is called special or not, and no file may do that.
   */
  readonly plain: boolean;
  /** Matched in the normalised text instead of the raw one. */
  readonly normalized: boolean;
  /** Takes the blanks on that side with it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly singleWord: boolean;
}

/** Ids, written forms and bytes of all tokens. */
export class Vocabulary {
  readonly size: number;
  readonly specialIds: ReadonlySet<number>;
  private readonly contents: (string | undefined)[] = [];
  private readonly bytes: (Uint8Array<ArrayBuffer> | undefined)[] = [];
  private readonly addedIds: ReadonlyMap<string, number>;
  private readonly addedContents: ReadonlyMap<number, string>;

  constructor(
    readonly ids: ReadonlyMap<string, number>,
    readonly added: readonly AddedToken[],
    private readonly byteLevel: boolean,
  ) {
    for (const [content, id] of ids) this.contents[id] = content;
    for (const token of added) this.contents[token.id] = token.content;
    this.size = this.contents.length;
    this.specialIds = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.addedIds = new Map(added.map((token) => [token.content, token.id]));
    this.addedContents = new Map(added.map((token) => [token.id, token.content]));
  }

  id(content: string): number | undefined {
    return this.addedIds.get(content) ?? this.ids.get(content);
  }

  /** Bytes a token stands for; a SentencePiece blank is a space and <0xNN> is that byte. */
  tokenBytes(id: number): Uint8Array<ArrayBuffer> {
    const known = this.bytes[id];
    if (known) return known;
    const content = this.contents[id];
    if (content === undefined) throw unknownToken(id, this.size);
    const made = this.makeBytes(id, content);
    this.bytes[id] = made;
    return made;
  }

  private makeBytes(id: number, content: string): Uint8Array<ArrayBuffer> {
    const encoder = new TextEncoder();
    if (this.addedContents.has(id)) return encoder.encode(content);
    if (this.byteLevel) return alphabetBytes(content) ?? encoder.encode(content);
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(content)?.[1];
    return byte === undefined ? encoder.encode(content.replaceAll("\u2581", " ")) : Uint8Array.of(parseInt(byte, 16));
  }
}

/** The error for an id that no token has; `size` is one more than the largest. */
export function unknownToken(id: number, size: number): EngineError {
  return new EngineError("bad-argument", `token ${id} is not in the vocabulary`, `ids run from 0 to ${size - 1}`, { id });
}

/** A control token that is matched as it is written, and only where control tokens are recognised. */
export function specialToken(content: string, id: number): AddedToken {
  return { id, content, special: true, plain: false, normalized: false, lstrip: false, rstrip: false, singleWord: false };
}

/** Reads `added_tokens`; `sentencePieces` are the tokens of a SentencePiece vocabulary. */
export function readAddedTokens(json: unknown, sentencePieces: ReadonlyMap<string, number> | undefined): AddedToken[] {
  return asList(json ?? [], "added_tokens").map((item, i) => {
    const where = `added_tokens[${i}]`;
    const fields = asFields(item, where);
    const content = asText(fields.content, `${where}.content`);
    if (content === "") throw invalidTokenizer(`${where}.content is empty`);
    const special = asFlag(fields.special, false, `${where}.special`);
    return {
      id: asCount(fields.id, `${where}.id`),
      content,
      special,
      plain: !special && (content.trim() === "" || sentencePieces?.has(content) === true),
      normalized: asFlag(fields.normalized, !special, `${where}.normalized`),
      lstrip: asFlag(fields.lstrip, false, `${where}.lstrip`),
      rstrip: asFlag(fields.rstrip, false, `${where}.rstrip`),
      singleWord: asFlag(fields.single_word, false, `${where}.single_word`),
    };
  });
}

/** Reads the `vocab` of a BPE model. */
export function readVocab(model: Fields): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [content, id] of Object.entries(asFields(model.vocab, "model.vocab"))) {
    // What the place is called costs more than the check, so that it is put together only for the message.
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0) asCount(id, `model.vocab["${content}"]`);
    else if (id >= MAX_IDS) throw invalidTokenizer(`model.vocab has an id above ${MAX_IDS}`);
    else ids.set(content, id);
  }
  if (ids.size === 0) throw invalidTokenizer("model.vocab is empty");
  return ids;
}

/** Left, right and merged id of every merge, in rank order; merges are "a b" strings (old) or ["a", "b"] pairs (new). */
export function readMerges(model: Fields, ids: ReadonlyMap<string, number>): Int32Array {
  const merges = asList(model.merges, "model.merges");
  const triples = new Int32Array(3 * merges.length);
  merges.forEach((merge, rank) => {
    const [left, right] = mergeParts(merge, rank);
    const leftId = ids.get(left);
    const rightId = ids.get(right);
    const mergedId = ids.get(left + right);
    if (leftId === undefined || rightId === undefined || mergedId === undefined) {
      throw invalidTokenizer(`model.merges[${rank}] ("${left}" + "${right}") names a token that is not in the vocabulary`);
    }
    triples[3 * rank] = leftId;
    triples[3 * rank + 1] = rightId;
    triples[3 * rank + 2] = mergedId;
  });
  return triples;
}

function mergeParts(merge: unknown, rank: number): readonly [string, string] {
  if (typeof merge === "string") {
    const blank = merge.indexOf(" ");
    if (blank >= 0 && !merge.includes(" ", blank + 1)) return [merge.slice(0, blank), merge.slice(blank + 1)];
  } else if (Array.isArray(merge) && merge.length === 2) {
    const pair: readonly unknown[] = merge;
    const [left, right] = pair;
    if (typeof left === "string" && typeof right === "string") return [left, right];
  }
  throw invalidTokenizer(`model.merges[${rank}] is not a pair`);
}

/** Refuses what would change the tokens and is not implemented. */
export function checkBpe(model: Fields): void {
  for (const field of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    const value = model[field];
    if (value !== undefined && value !== null && value !== "") throw unsupportedTokenizer(`a BPE with ${field}`);
  }
  if (typeof model.dropout === "number" && model.dropout > 0) throw unsupportedTokenizer("a BPE with dropout");
}

const MAX_IDS = 1 << 26;
