import { createHash, randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, sep } from "node:path";
import type { LineRange } from "../../engine/pack/levels.ts";
import type { KnownOutline } from "./budgetTable.ts";
import type { ExclusionKind, FileMark } from "./requests.ts";
import type { KnownScan } from "./textKnowledge.ts";

/** What an earlier count knew of one file; true as long as size and time of change are the same. */
export interface IndexEntry {
  absolute: string;
  sizeBytes: number;
  mtimeMs: number;
  /** The file changed so shortly before it was read that a second change would not show in its time: it is read again. */
  racy: boolean;
  known: IndexedText | { reason: string; kind: ExclusionKind };
}

export interface IndexedText {
  hash: string;
  tokens: number;
  bodyTokens: number;
  nameTokens: number;
  /** Path that `nameTokens` are of: it depends on the other folders of the workspace. */
  path: string;
  marks: FileMark[];
  /** Undefined where it was never made. */
  outline?: KnownOutline;
  /** Undefined where it was never looked at. */
  scan?: KnownScan;
}

/** A change within this time of the reading is too young to be told from another one by its time. */
const racyMs = 2000;

/** Raised whenever the file's layout, or what a count means, changes. */
const version = 2;
const magic = "LCPINDEX";
const checksumBytes = 32;

/** Whether a file that was read at `readAtMs` may change again without another time of change. */
export function isRacy(mtimeMs: number, readAtMs: number): boolean {
  return mtimeMs > readAtMs - racyMs;
}

/**
 * Entries of an index file by absolute path, where it was written with the same identity (tokenizer, limits). No file, or one of another identity or
 * version, is an empty index; a damaged one is reported through `log` and is empty too: all of it can be counted again.
 */
export async function readIndex(
  file: string,
  identity: string,
  log: (message: string) => void,
): Promise<Map<string, IndexEntry>> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if (!isMissing(error)) log(`the index of token counts cannot be read and is made again: ${String(error)}`);
    return new Map();
  }
  try {
    return decodeIndex(bytes, identity);
  } catch (error) {
    log(`the index of token counts is damaged and is made again: ${error instanceof Error ? error.message : String(error)}`);
    return new Map();
  }
}

/** Writes the index beside its place and puts it there in one step, so that a reader finds the old one or the new one. */
export async function writeIndex(file: string, identity: string, entries: readonly IndexEntry[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const written = `${file}.${randomUUID()}`;
  try {
    await writeFile(written, encodeIndex(identity, entries));
    await rename(written, file);
  } catch (error) {
    await rm(written, { force: true });
    throw error;
  }
}

/** "LCPINDEX", version, SHA-256 of the rest; identity, notes and entry count; then each entry with its path front-coded. */
export function encodeIndex(identity: string, entries: readonly IndexEntry[]): Uint8Array {
  const sorted = [...entries].sort((a, b) => (a.absolute < b.absolute ? -1 : a.absolute > b.absolute ? 1 : 0));
  const notes = new NoteTable();
  const body = new ByteWriter();
  let before = "";
  for (const entry of sorted) {
    const shared = sharedLength(before, entry.absolute);
    before = entry.absolute;
    body.count(shared);
    body.text(entry.absolute.slice(shared));
    body.count(entry.sizeBytes);
    body.number(entry.mtimeMs);
    const { known } = entry;
    body.count((entry.racy ? 1 : 0) | ("hash" in known ? 2 : 0));
    if (!("hash" in known)) {
      body.count(notes.place(known));
      continue;
    }
    body.bytes(Buffer.from(known.hash, "hex"));
    body.count(known.tokens);
    body.count(known.bodyTokens);
    body.count(known.nameTokens);
    // The path in the workspace is the end of the absolute one, behind a prefix where the workspace has several folders.
    body.count(notes.place(pathNote(known.path, entry.absolute)));
    body.count(known.marks.length === 0 ? 0 : 1 + notes.place(known.marks));
    body.count(known.scan === undefined ? 0 : 1 + notes.place(known.scan));
    writeOutline(body, known.outline, notes);
  }
  const head = new ByteWriter();
  head.text(identity);
  head.text(JSON.stringify(notes.all));
  head.count(sorted.length);
  const content = Buffer.concat([head.take(), body.take()]);
  const start = Buffer.from(`${magic}${String.fromCharCode(version)}`, "latin1");
  return Buffer.concat([start, createHash("sha256").update(content).digest(), content]);
}

/** Throws what is wrong with the bytes. */
export function decodeIndex(bytes: Uint8Array, identity: string): Map<string, IndexEntry> {
  const start = magic.length + 1;
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < start + checksumBytes || file.toString("latin1", 0, magic.length) !== magic)
    throw new Error("it is no index");
  if (file[magic.length] !== version) return new Map();
  const content = file.subarray(start + checksumBytes);
  if (
    !createHash("sha256")
      .update(content)
      .digest()
      .equals(file.subarray(start, start + checksumBytes))
  )
    throw new Error("its checksum is wrong");
  const reader = new ByteReader(content);
  if (reader.text() !== identity) return new Map();
  const notes: unknown = JSON.parse(reader.text());
  if (!Array.isArray(notes)) throw new Error("it has no notes");
  const entries = new Map<string, IndexEntry>();
  let before = "";
  for (let left = reader.count(); left > 0; left--) {
    const absolute = before.slice(0, reader.count()) + reader.text();
    before = absolute;
    const sizeBytes = reader.count();
    const mtimeMs = reader.number();
    const flags = reader.count();
    const racy = (flags & 1) !== 0;
    const note = (): unknown => notes[reader.count()];
    if ((flags & 2) === 0) {
      entries.set(absolute, { absolute, sizeBytes, mtimeMs, racy, known: note() as { reason: string; kind: ExclusionKind } });
      continue;
    }
    const hash = reader.bytes(32).toString("hex");
    const tokens = reader.count();
    const bodyTokens = reader.count();
    const nameTokens = reader.count();
    const path = pathOf(note() as PathNote, absolute);
    const marksNote = reader.count();
    const marks = marksNote === 0 ? [] : (notes[marksNote - 1] as FileMark[]);
    const scanNote = reader.count();
    const scan = scanNote === 0 ? undefined : (notes[scanNote - 1] as KnownScan);
    const outline = readOutline(reader, notes);
    const known: IndexedText = {
      hash,
      tokens,
      bodyTokens,
      nameTokens,
      path,
      marks,
      ...(scan && { scan }),
      ...(outline && { outline }),
    };
    entries.set(absolute, { absolute, sizeBytes, mtimeMs, racy, known });
  }
  return entries;
}

/** 0 for none, 1 and the place of a reason, or 2 and more for the tokens; then the ranges by their distances, and the names. */
function writeOutline(body: ByteWriter, outline: KnownOutline | undefined, notes: NoteTable): void {
  if (!outline) {
    body.count(0);
    return;
  }
  if ("reason" in outline) {
    body.count(1);
    body.count(notes.place(outline.reason));
    return;
  }
  body.count(2 + outline.tokens);
  body.count(outline.lines.length);
  let before = 0;
  for (const { first, last } of outline.lines) {
    body.count(first - before);
    body.count(last - first);
    before = last;
  }
  const { buffer, byteOffset, byteLength } = outline.definitions;
  body.count(byteLength);
  body.bytes(Buffer.from(buffer, byteOffset, byteLength));
}

function readOutline(reader: ByteReader, notes: readonly unknown[]): KnownOutline | undefined {
  const kind = reader.count();
  if (kind === 0) return undefined;
  if (kind === 1) return { reason: notes[reader.count()] as string };
  const lines: LineRange[] = [];
  let before = 0;
  for (let left = reader.count(); left > 0; left--) {
    const first = before + reader.count();
    before = first + reader.count();
    lines.push({ first, last: before });
  }
  const bytes = reader.bytes(reader.count());
  if (bytes.length % 4 !== 0) throw new Error("it has half a name");
  // Copied to an array of its own, because names in the file begin anywhere.
  return { tokens: kind - 2, lines, definitions: new Int32Array(Uint8Array.from(bytes).buffer) };
}

/** What of the absolute path is replaced by which prefix; one note per folder of the workspace. */
interface PathNote {
  cut: number;
  prefix: string;
}

function pathNote(path: string, absolute: string): PathNote {
  const plain = withSlashes(absolute);
  let same = 0;
  while (same < path.length && same < plain.length && path[path.length - 1 - same] === plain[plain.length - 1 - same]) same++;
  return { cut: absolute.length - same, prefix: path.slice(0, path.length - same) };
}

function pathOf({ cut, prefix }: PathNote, absolute: string): string {
  return prefix + withSlashes(absolute.slice(cut));
}

function withSlashes(path: string): string {
  return sep === "/" ? path : path.replaceAll(sep, "/");
}

function sharedLength(a: string, b: string): number {
  const limit = Math.min(a.length, b.length);
  let shared = 0;
  while (shared < limit && a.charCodeAt(shared) === b.charCodeAt(shared)) shared++;
  // Half a surrogate pair has no bytes of its own.
  return (a.charCodeAt(shared - 1) & 0xfc00) === 0xd800 ? shared - 1 : shared;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

/** Values that many entries share, each once. */
class NoteTable {
  readonly all: unknown[] = [];
  private readonly places = new Map<string, number>();

  place(note: unknown): number {
    const key = JSON.stringify(note);
    const known = this.places.get(key);
    if (known !== undefined) return known;
    this.places.set(key, this.all.length);
    return this.all.push(note) - 1;
  }
}

class ByteWriter {
  private buffer = Buffer.allocUnsafe(64 * 1024);
  private length = 0;

  /** A whole number of at least 0: seven bits a byte, lowest first. */
  count(value: number): void {
    this.room(8);
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.buffer[this.length++] = (rest % 128) | 0x80;
    this.buffer[this.length++] = rest;
  }

  number(value: number): void {
    this.room(8);
    this.length = this.buffer.writeDoubleLE(value, this.length);
  }

  text(value: string): void {
    this.count(Buffer.byteLength(value));
    this.bytes(Buffer.from(value));
  }

  bytes(value: Buffer): void {
    this.room(value.length);
    this.length += value.copy(this.buffer, this.length);
  }

  take(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  private room(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    this.buffer = Buffer.concat([this.buffer], 2 * (this.length + bytes));
  }
}

class ByteReader {
  private at = 0;

  constructor(private readonly buffer: Buffer) {}

  count(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.buffer[this.at++];
      if (byte === undefined) throw new Error("it ends too early");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  number(): number {
    const value = this.buffer.readDoubleLE(this.at);
    this.at += 8;
    return value;
  }

  text(): string {
    return this.bytes(this.count()).toString();
  }

  bytes(length: number): Buffer {
    if (this.at + length > this.buffer.length) throw new Error("it ends too early");
    this.at += length;
    return this.buffer.subarray(this.at - length, this.at);
  }
}
