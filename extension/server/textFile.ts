import { isUtf8 } from "node:buffer";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { contentHash } from "./contentHash.ts";
import type { ExclusionKind, FileMark } from "./requests.ts";
import { suspectText } from "./suspectText.ts";
import { unreadable } from "./walk.ts";

/** A text as it is counted and packed. */
export interface DecodedText {
  /** Valid UTF-8: converted from UTF-16, without a byte order mark, bad sequences replaced by U+FFFD. */
  utf8: Uint8Array;
  /** sha256 of the bytes as they are on disk. */
  hash: string;
  marks: FileMark[];
  /** A program wrote it, most likely: left out unless its level was chosen. */
  suspect?: { kind: "minified" | "generated"; reason: string };
}

/** A text, or why the bytes are none. */
export type TextFile = DecodedText | { reason: string; kind: ExclusionKind };

/** Lines of more characters get a mark: few tokenizers are fast there, and no reader is. */
export const longLineCharacters = 10_000;

/** Above these shares of control characters at the head, or of bytes that are no UTF-8, content is not taken for text. */
const maxControlShare = 0.1;
const maxBadShare = 0.3;
const headBytes = 8 * 1024;

/** Reads a file that the walk found; one that has become a link, a pipe or larger than `maxFileBytes` is refused with a reason. */
export async function readTextFile(absolute: string, options: { path?: string; maxFileBytes?: number } = {}): Promise<TextFile> {
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    const handle = await open(absolute, process.platform === "win32" ? O_RDONLY : O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) return { reason: "not a regular file", kind: "unreadable" };
      if (stats.size > (options.maxFileBytes ?? Infinity)) return { reason: "has become too large", kind: "too-large" };
      return decodeTextFile(await handle.readFile(), options.path ?? absolute);
    } finally {
      await handle.close();
    }
  } catch (error) {
    return { reason: unreadable(error), kind: "unreadable" };
  }
}

/** The text that bytes are, by their content alone; `path` only says whether long lines are usual in it. */
export function decodeTextFile(bytes: Uint8Array, path = ""): TextFile {
  const marks: FileMark[] = [];
  const unmarked = withoutMark(bytes, marks);
  if ("reason" in unmarked) return unmarked;
  const found = validUtf8(unmarked.utf8, marks);
  if ("reason" in found) return found;
  const { utf8 } = found;
  const long = firstLongLine(utf8);
  if (long !== undefined) {
    const message = `line ${long.line} has ${long.characters.toLocaleString("en-US")} characters`;
    marks.push({ kind: "long-line", message });
  }
  const suspect = suspectText(utf8, path, long !== undefined);
  return { utf8, hash: contentHash(bytes), marks, ...(suspect ? { suspect } : {}) };
}

type Utf8 = { utf8: Uint8Array } | { reason: string; kind: "binary" };

/** The bytes without a byte order mark, UTF-16 as UTF-8. */
function withoutMark(bytes: Uint8Array, marks: FileMark[]): Utf8 {
  const [first, second, third, fourth] = bytes;
  if (first === 0xef && second === 0xbb && third === 0xbf) {
    marks.push({ kind: "bom", message: "the byte order mark at its start is not counted" });
    return { utf8: bytes.subarray(3) };
  }
  const little = first === 0xff && second === 0xfe;
  if (!little && !(first === 0xfe && second === 0xff)) return { utf8: bytes };
  if (little && third === 0 && fourth === 0) return { reason: "UTF-32 text; only UTF-8 and UTF-16 are read", kind: "binary" };
  marks.push({ kind: "utf16", message: `UTF-16 (${little ? "little" : "big"} endian), converted to UTF-8` });
  const text = new TextDecoder(little ? "utf-16le" : "utf-16be").decode(bytes);
  const replaced = countOf(text, "\uFFFD") - codeUnits(bytes, little, 0xfffd);
  if (replaced > 0) marks.push(badMark(replaced, "UTF-16", lineAt(text, text.indexOf("\uFFFD"))));
  return { utf8: new TextEncoder().encode(text) };
}

/** The bytes with bad sequences replaced, or why they are no text. */
function validUtf8(bytes: Uint8Array, marks: FileMark[]): Utf8 {
  const nul = bytes.indexOf(0);
  if (nul >= 0) return { reason: nulReason(bytes, nul), kind: "binary" };
  if (controlShare(bytes.subarray(0, headBytes)) > maxControlShare) {
    return { reason: "binary content (control characters)", kind: "binary" };
  }
  if (bytes[0] === 0x25 && Buffer.from(bytes.subarray(0, 5)).toString("latin1") === "%PDF-") {
    return { reason: "binary content (PDF)", kind: "binary" };
  }
  if (isUtf8(bytes)) return { utf8: bytes };
  const bad = badSequences(bytes);
  if (bad.bytes > maxBadShare * bytes.length) {
    return { reason: "binary content, or text that is neither UTF-8 nor UTF-16", kind: "binary" };
  }
  marks.push(badMark(bad.sequences, "UTF-8", bad.firstLine));
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  return { utf8: new TextEncoder().encode(text) };
}

function badMark(sequences: number, encoding: string, line: number): FileMark {
  const one = `1 byte sequence is not ${encoding} and counts as U+FFFD`;
  const many = `${sequences.toLocaleString("en-US")} byte sequences are not ${encoding} and count as U+FFFD`;
  return { kind: "invalid-utf8", message: `${sequences === 1 ? one : many}, first in line ${line}` };
}

function nulReason(bytes: Uint8Array, at: number): string {
  const head = bytes.subarray(0, 512 - (512 % 2));
  const nuls = [0, 0];
  for (let index = 0; index < head.length; index++) if (head[index] === 0) nuls[index % 2] = (nuls[index % 2] ?? 0) + 1;
  const [even = 0, odd = 0] = nuls;
  // Latin text in UTF-16 has a NUL in nearly every second byte, and nowhere else.
  const isWide = Math.min(even, odd) === 0 && Math.max(even, odd) > head.length / 3;
  return isWide ? "UTF-16 without a byte order mark" : `binary content (a NUL at byte ${at})`;
}

function controlShare(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (byte < 0x20 && byte !== 0x1b && (byte < 0x08 || byte > 0x0d)) count++;
  return bytes.length === 0 ? 0 : count / bytes.length;
}

/** What a decoder replaces: each sequence up to the first byte that cannot go on it. */
function badSequences(bytes: Uint8Array): { sequences: number; bytes: number; firstLine: number } {
  let sequences = 0;
  let bad = 0;
  let line = 1;
  let firstLine = 0;
  for (let at = 0; at < bytes.length;) {
    const lead = bytes[at] ?? 0;
    if (lead < 0x80) {
      if (lead === 10) line++;
      at++;
      continue;
    }
    const { length, good } = sequenceAt(bytes, at, lead);
    if (!good) {
      sequences++;
      bad += length;
      if (firstLine === 0) firstLine = line;
    }
    at += length;
  }
  return { sequences, bytes: bad, firstLine };
}

/** The UTF-8 sequence at a byte above ASCII: its length, or that of what is replaced as one. */
function sequenceAt(bytes: Uint8Array, at: number, lead: number): { length: number; good: boolean } {
  const following = lead >= 0xc2 && lead <= 0xdf ? 1 : (lead & 0xf0) === 0xe0 ? 2 : lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
  for (let index = 1; index <= following; index++) {
    const byte = bytes[at + index] ?? 0;
    // The second byte excludes overlong forms, surrogates and what lies beyond U+10FFFF.
    const low = index > 1 ? 0x80 : lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = index > 1 ? 0xbf : lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (byte < low || byte > high) return { length: index, good: false };
  }
  return { length: following + 1, good: following > 0 };
}

/** The first line above the limit; jumps from line end to line end a limit apart, so that ordinary text costs next to nothing. */
function firstLongLine(bytes: Uint8Array): { line: number; characters: number } | undefined {
  for (let start = 0; start + longLineCharacters < bytes.length;) {
    const end = bytes.lastIndexOf(10, start + longLineCharacters);
    if (end >= start) {
      start = end + 1;
      continue;
    }
    const next = bytes.indexOf(10, start);
    const line = bytes.subarray(start, next < 0 ? bytes.length : next);
    const characters = charactersOf(line);
    if (characters > longLineCharacters) return { line: linesBefore(bytes, start) + 1, characters };
    start += line.length + 1;
  }
  return undefined;
}

function charactersOf(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if ((byte & 0xc0) !== 0x80) count++;
  return count;
}

function linesBefore(bytes: Uint8Array, end: number): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0 && at < end; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}

function countOf(text: string, wanted: string): number {
  let count = 0;
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) count++;
  return count;
}

function codeUnits(bytes: Uint8Array, little: boolean, wanted: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let count = 0;
  for (let at = 2; at + 1 < bytes.length; at += 2) if (view.getUint16(at, little) === wanted) count++;
  return count;
}

function lineAt(text: string, end: number): number {
  return countOf(text.slice(0, end), "\n") + 1;
}
