import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { LineRange } from "./levels.ts";

/** A file's lines as an editor numbers them: CR LF, CR and LF end one; no line behind a final line break. */
export interface FileLines {
  readonly lines: readonly string[];
  /** Bytes that are not UTF-8 were replaced by U+FFFD. */
  readonly repaired: boolean;
}

/** What of one file goes into the prompt, cut into lines and tokens; the same for every path with these bytes. */
export interface FileBody {
  /** The file's lines by their number less 1; undefined for one that an outline leaves out. */
  readonly lines: readonly (string | undefined)[];
  /** Tokens of the lines that are there, each ended by "\n". */
  readonly ids: Int32Array<ArrayBuffer>;
  /** lineTokens[i] is the first token of line i + 1, counted from the body's start; of a left-out line, that of the next one there. */
  readonly lineTokens: Uint32Array<ArrayBuffer>;
  readonly repaired: boolean;
}

/** Of a file of which nothing but the name is given. */
export function emptyBody(): FileBody {
  return { lines: [], ids: new Int32Array(0), lineTokens: new Uint32Array(0), repaired: false };
}

export function readLines(bytes: Uint8Array): FileLines {
  const { text, repaired } = decodeUtf8(bytes);
  return { lines: splitLines(text), repaired };
}

export function splitLines(text: string): string[] {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  if (lines[lines.length - 1] === "") lines.pop();
  return lines;
}

/**
 * A text's bytes as its body is written: CR LF and CR become LF, and the last line ends in one. The same array where that changes nothing. What a
 * tokenizer counts of them is what `encodeBody` makes of the text.
 */
export function packedUtf8(utf8: Uint8Array): Uint8Array {
  if (utf8.length === 0 || (utf8[utf8.length - 1] === LF && utf8.indexOf(CR) < 0)) return utf8;
  const packed = new Uint8Array(utf8.length + 1);
  let to = 0;
  for (let at = 0; at < utf8.length; at++) {
    const byte = utf8[at] ?? 0;
    if (byte !== CR) packed[to++] = byte;
    else if (utf8[at + 1] !== LF) packed[to++] = LF;
  }
  if (packed[to - 1] !== LF) packed[to++] = LF;
  return packed.subarray(0, to);
}

/** Lines in ranges, with their numbers; ranges may overlap or reach beyond the file. */
export function keptLines(lines: readonly string[], ranges: readonly LineRange[]): (string | undefined)[] {
  const kept = new Array<string | undefined>(lines.length).fill(undefined);
  for (const { first, last } of ranges)
    for (let i = Math.max(1, first) - 1; i < Math.min(last, lines.length); i++) kept[i] = lines[i];
  return kept;
}

/** Tokenises a file, or the lines of it that `ranges` keep. */
export function encodeBody({ lines, repaired }: FileLines, tokenizer: Tokenizer, ranges?: readonly LineRange[]): FileBody {
  const given = ranges ? keptLines(lines, ranges) : lines;
  const { ids, starts } = tokenizer.encodeWithOffsets(given.map((line) => (line === undefined ? "" : line + "\n")).join(""));
  return { lines: given, ids, lineTokens: firstTokens(given, starts), repaired };
}

const LF = 10;
const CR = 13;

/** A byte order mark that is still there was left for a reason, and is text. */
function decodeUtf8(bytes: Uint8Array): { text: string; repaired: boolean } {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes), repaired: false };
  } catch {
    return { text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes), repaired: true };
  }
}

/** A line whose characters all lie in a token begun earlier (a blank one, say) shares the next line's first token. */
function firstTokens(lines: readonly (string | undefined)[], starts: Int32Array): Uint32Array<ArrayBuffer> {
  const first = new Uint32Array(lines.length);
  let token = 0;
  let offset = 0;
  lines.forEach((line, i) => {
    while (token < starts.length && (starts[token] ?? 0) < offset) token++;
    first[i] = token;
    if (line !== undefined) offset += line.length + 1;
  });
  return first;
}

/** Bodies by content hash and the lines they keep, dropped oldest first beyond a number of tokens. */
export class BodyCache {
  private readonly bodies = new Map<string, FileBody>();
  private tokens = 0;

  constructor(private readonly maxTokens = MAX_CACHED_TOKENS) {}

  get(key: string): FileBody | undefined {
    const body = this.bodies.get(key);
    if (!body) return undefined;
    this.bodies.delete(key);
    this.bodies.set(key, body);
    return body;
  }

  set(key: string, body: FileBody): void {
    this.tokens += body.ids.length - (this.bodies.get(key)?.ids.length ?? 0);
    this.bodies.delete(key);
    this.bodies.set(key, body);
    for (const [oldest, { ids }] of this.bodies) {
      if (this.tokens <= this.maxTokens || oldest === key) return;
      this.bodies.delete(oldest);
      this.tokens -= ids.length;
    }
  }
}

/** 32 MiB of ids, and about 50 MB of text beside them. */
const MAX_CACHED_TOKENS = 8 * 1024 * 1024;
