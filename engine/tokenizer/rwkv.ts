import { abortedError } from "../errors.ts";
import { TokenStream } from "./decoder.ts";
import { invalidTokenizer } from "./fields.ts";
import { IdList } from "./idList.ts";
import { escapeRegex } from "./regex.ts";
import type { DecodeOptions, EncodedText, EncodeOptions, Stop, TextStream, Tokenizer } from "./tokenizer.ts";
import { Trie } from "./trie.ts";
import { unknownToken } from "./vocabulary.ts";

/** What an RWKV vocabulary consists of. */
export interface TrieVocabulary {
  /** Bytes by id; ids may be missing. */
  readonly tokens: ReadonlyMap<number, Uint8Array<ArrayBuffer>>;
  /** Control tokens by what they are written as; text never becomes one of them. */
  readonly special: ReadonlyMap<string, number>;
  /** Stands for a byte that begins no token; -1 where every byte is a token. */
  readonly unknownId: number;
}

/** The tokenizer of RWKV World models: over the bytes of the whole text, always the longest token that fits. */
export class TrieTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly prefixIds: readonly number[] = [];
  private readonly trie = new Trie();
  private readonly bytes = new Map<number, Uint8Array<ArrayBuffer>>();
  private readonly idOf = new Map<string, number>();
  private readonly specialIds: ReadonlySet<number>;
  private readonly specialPattern: RegExp | undefined;
  private readonly encoder = new TextEncoder();
  /** Where the token that `next` found ends. */
  private end = 0;

  constructor(private readonly vocabulary: TrieVocabulary) {
    const { tokens, special } = vocabulary;
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    for (const [id, bytes] of tokens) {
      this.trie.add(bytes, id);
      this.bytes.set(id, bytes);
      this.idOf.set(decoder.decode(bytes), id);
    }
    for (const [content, id] of special) {
      this.bytes.set(id, this.encoder.encode(content));
      this.idOf.set(content, id);
    }
    this.specialIds = new Set(special.values());
    this.vocabSize = [...this.bytes.keys()].reduce((most, id) => Math.max(most, id), -1) + 1;
    const spellings = [...special.keys()].sort((a, b) => b.length - a.length).map(escapeRegex);
    this.specialPattern = spellings.length > 0 ? new RegExp(`(${spellings.join("|")})`, "u") : undefined;
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array<ArrayBuffer> {
    const ids = new IdList();
    // A split at a group gives texts and spellings in turn.
    const parts = options.special === "recognize" && this.specialPattern ? text.split(this.specialPattern) : [text];
    parts.forEach((part, i) => {
      if (i % 2 === 1) ids.pushOne(this.vocabulary.special.get(part) ?? 0);
      else this.pushIds(this.encoder.encode(part), ids);
    });
    return ids.take();
  }

  encodeWithOffsets(text: string): EncodedText {
    const bytes = this.encoder.encode(text);
    const ids = new IdList();
    const starts = new IdList();
    let unit = 0;
    let unitEnd = charEnd(bytes, 0);
    for (let at = 0; at < bytes.length; at = this.end) {
      while (unitEnd <= at) {
        unit += (text.codePointAt(unit) ?? 0) > 0xffff ? 2 : 1;
        unitEnd = charEnd(bytes, unitEnd);
      }
      ids.pushOne(this.next(bytes, at));
      starts.pushOne(unit);
    }
    return { ids: ids.take(), starts: starts.take() };
  }

  count(text: string): number {
    return this.countBytes(this.encoder.encode(text));
  }

  countUtf8(bytes: Uint8Array, stop?: Stop): number {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    return this.countBytes(text.includes("\ufffd") ? this.encoder.encode(text) : bytes, stop);
  }

  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = this.stream(options);
    let text = "";
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  tokenBytes(id: number): Uint8Array<ArrayBuffer> {
    const bytes = this.bytes.get(id);
    if (!bytes) throw unknownToken(id, this.vocabSize);
    return bytes;
  }

  tokenId(content: string): number | undefined {
    return this.idOf.get(content);
  }

  stream(options: DecodeOptions = {}): TextStream {
    const vocabulary = { tokenBytes: (id: number) => this.tokenBytes(id), specialIds: this.specialIds };
    return new TokenStream(vocabulary, 0, options.skipSpecial ?? false);
  }

  private pushIds(bytes: Uint8Array, ids: IdList): void {
    for (let at = 0; at < bytes.length; at = this.end) ids.pushOne(this.next(bytes, at));
  }

  private countBytes(bytes: Uint8Array, stop?: Stop): number {
    let count = 0;
    let poll = POLL_BYTES;
    for (let at = 0; at < bytes.length; at = this.end) {
      this.next(bytes, at);
      count++;
      if (at < poll) continue;
      poll = at + POLL_BYTES;
      if (stop?.()) throw abortedError();
    }
    return count;
  }

  /** Id of the longest token that begins at `at`; `end` is set behind it. */
  private next(bytes: Uint8Array, at: number): number {
    let found = this.vocabulary.unknownId;
    this.end = at + 1;
    let node = 0;
    for (let to = at; to < bytes.length;) {
      node = this.trie.child(node, bytes[to]);
      if (node === 0) break;
      to++;
      const id = this.trie.idAt(node);
      if (id < 0) continue;
      found = id;
      this.end = to;
    }
    return found;
  }
}

/**
 * Reads the vocabulary file of RWKV World: `id literal bytes` per line, where the literal is a Python str or bytes and the
 * last number its length in bytes. Id 0 is not in the file; it ends a text. Throws `tokenizer-invalid`, naming the line.
 */
export function readRwkvVocabulary(text: string, name: string): TrieVocabulary {
  const tokens = new Map<number, Uint8Array<ArrayBuffer>>();
  const singles = new Set<number>();
  for (const [index, line] of text.split("\n").entries()) {
    const trimmed = line.replace(/\r$/, "");
    if (trimmed === "") continue;
    const parts = /^(\d{1,7}) (.*) (\d{1,5})$/u.exec(trimmed);
    const bytes = parts ? literalBytes(parts[2]) : undefined;
    if (!parts || !bytes) throw invalidTokenizer(`line ${index + 1} is not "id literal length"`, name);
    if (bytes.length !== Number(parts[3])) {
      throw invalidTokenizer(`line ${index + 1} states ${parts[3]} bytes for a literal of ${bytes.length}`, name);
    }
    const id = Number(parts[1]);
    if (id === 0 || tokens.has(id)) throw invalidTokenizer(`line ${index + 1} gives the id ${id}, which is taken`, name);
    tokens.set(id, bytes);
    if (bytes.length === 1) singles.add(bytes[0]);
  }
  if (tokens.size === 0) throw invalidTokenizer("is empty", name);
  for (let byte = 0; byte < 256; byte++)
    if (!singles.has(byte)) throw invalidTokenizer(`has no token for the byte ${byte}; lines are missing`, name);
  return { tokens, special: new Map([["<|endoftext|>", 0]]), unknownId: -1 };
}

/** Bytes of an escaped text as Python's repr of bytes has it between its quotes; others are their UTF-8. */
export function unescapeBytes(text: string): Uint8Array<ArrayBuffer> | undefined {
  return unescape(text, true);
}

/** Between two polls of `stop`: well below a millisecond of work. */
const POLL_BYTES = 1 << 14;

/** End of the UTF-8 character that begins at `at`. */
function charEnd(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0;
  return at + (lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);
}

/** UTF-8 of a Python str literal, or the bytes of a bytes literal; undefined where it is neither. */
function literalBytes(literal: string): Uint8Array<ArrayBuffer> | undefined {
  const parts = /^(b?)(['"])(.*)\2$/su.exec(literal);
  return parts ? unescape(parts[3], parts[1] === "b") : undefined;
}

const ESCAPES: Readonly<Record<string, number>> = {
  ...{ "\\": 92, "'": 39, '"': 34, a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 },
};
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** In bytes \xNN is that byte; in text \xNN, \uNNNN and \UNNNNNNNN are characters. */
function unescape(text: string, inBytes: boolean): Uint8Array<ArrayBuffer> | undefined {
  const encoder = new TextEncoder();
  const bytes: number[] = [];
  for (let at = 0; at < text.length;) {
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0);
    at += char.length;
    if (char !== "\\") {
      bytes.push(...encoder.encode(char));
      continue;
    }
    const kind = text.charAt(at++);
    const digits = HEX_DIGITS[kind];
    if (digits === undefined) {
      const code = ESCAPES[kind];
      if (code === undefined) return undefined;
      bytes.push(code);
      continue;
    }
    const hex = text.slice(at, at + digits);
    const code = parseInt(hex, 16);
    if (!/^[0-9a-fA-F]+$/.test(hex) || hex.length < digits || code > 0x10ffff || (inBytes && kind !== "x")) return undefined;
    at += digits;
    if (inBytes) bytes.push(code);
    else bytes.push(...encoder.encode(String.fromCodePoint(code)));
  }
  return Uint8Array.from(bytes);
}
