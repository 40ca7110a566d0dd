import { createHash, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { dirname, sep } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { LineRange } from "../../engine/pack/levels.ts";
import type { KnownOutline } from "./budgetTable.ts";
import { ByteReader, ByteWriter } from "./indexBytes.ts";
import { NoteReader, NoteTable, type PathNote } from "./indexNotes.ts";
import type { ExclusionKind, FileMark } from "./requests.ts";
import { sortInSlices } from "./slicedSort.ts";
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
const hashBytes = 32;
/** Larger files are no index of ours: one of a million files has not a tenth of it. */
const maxFileBytes = 512 * 1024 * 1024;
/** Files with longer paths are not kept: a map takes very long strings of one length for the same until it compares them. */
const maxPathLength = 8 * 1024;
/** Of all paths together, which are shorter in the file than in memory. */
const maxAllPathsLength = 128 * 1024 * 1024;
/** Entries between two turns of the event loop. */
const entriesPerTurn = 4096;

/** Whether a file that was read at `readAtMs` may change again without another time of change. */
export function isRacy(mtimeMs: number, readAtMs: number): boolean {
  return mtimeMs > readAtMs - racyMs;
}

/**
 * Entries of an index file by absolute path, where it was written with the same identity (tokenizer, limits). No file, or one of another
 * identity, is an empty index; a damaged one or one of another version is told through `log` and is empty too: all of it can be counted again.
 */
export async function readIndex(
  file: string,
  identity: string,
  log: (message: string) => void,
): Promise<Map<string, IndexEntry>> {
  let bytes: Buffer | undefined;
  try {
    bytes = await readWhole(file);
  } catch (error) {
    if (!isMissing(error)) log(`the index of token counts cannot be read and is made again: ${said(error)}`);
    return new Map();
  }
  try {
    return await decodeIndex(bytes, identity);
  } catch (error) {
    log(`the index of token counts is damaged and is made again: ${said(error)}`);
    return new Map();
  }
}

/** Writes the index beside its place and puts it there in one step, so that a reader finds the old one or the new one. */
export async function writeIndex(file: string, identity: string, entries: readonly IndexEntry[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const written = `${file}.${randomUUID()}`;
  try {
    await writeFile(written, await encodeIndex(identity, entries));
    await rename(written, file);
  } catch (error) {
    await rm(written, { force: true });
    throw error;
  }
}

/**
 * "LCPINDEX", version, SHA-256 of the rest; identity, notes and entry count; then each entry, sorted by its path, which is front-coded.
 * Other work goes on meanwhile.
 */
export async function encodeIndex(identity: string, entries: readonly IndexEntry[]): Promise<Uint8Array> {
  const kept = entries.filter(({ absolute }) => absolute.length <= maxPathLength);
  const byPath = new Map(kept.map((entry) => [entry.absolute, entry]));
  const paths = await sortInSlices([...byPath.keys()], () => nextTurn());
  const notes = new NoteTable();
  const body = new ByteWriter();
  let before = "";
  for (const [place, absolute] of paths.entries()) {
    const entry = byPath.get(absolute);
    if (!entry) continue;
    const shared = sharedLength(before, absolute);
    before = absolute;
    body.count(shared);
    body.text(absolute.slice(shared));
    writeEntry(body, entry, notes);
    if (place % entriesPerTurn === 0) await nextTurn();
  }
  const head = new ByteWriter();
  head.text(identity);
  head.text(JSON.stringify(notes.all));
  head.count(paths.length);
  const content = Buffer.concat([head.take(), body.take()]);
  const start = Buffer.from(`${magic}${String.fromCharCode(version)}`, "latin1");
  return Buffer.concat([start, checksum(content), content]);
}

/** Other work goes on meanwhile. Throws in words what is wrong with the bytes. */
export async function decodeIndex(bytes: Uint8Array, identity: string): Promise<Map<string, IndexEntry>> {
  const start = magic.length + 1;
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.toString("latin1", 0, magic.length) !== magic) throw new Error("it is no index");
  if (file[magic.length] !== version) throw new Error(`it is of version ${file[magic.length] ?? "?"}, not ${version}`);
  if (file.length < start + checksumBytes) throw new Error("it ends too early");
  const content = file.subarray(start + checksumBytes);
  if (!checksum(content).equals(file.subarray(start, start + checksumBytes))) throw new Error("its checksum is wrong");
  const reader = new ByteReader(content);
  if (reader.text() !== identity) return new Map();
  const notes = new NoteReader(reader.text());
  const entries = new Map<string, IndexEntry>();
  const count = reader.count();
  let before = "";
  let allPathsLength = 0;
  for (let place = 0; place < count; place++) {
    const shared = reader.count();
    const absolute = before.slice(0, shared) + reader.text();
    allPathsLength += absolute.length;
    if (shared > before.length || absolute.length > maxPathLength || allPathsLength > maxAllPathsLength) {
      throw new Error("a path is too long");
    }
    if (place > 0 && absolute <= before) throw new Error("its paths are not in order");
    before = absolute;
    entries.set(absolute, readEntry(reader, absolute, notes));
    if (place % entriesPerTurn === 0) await nextTurn();
  }
  if (!reader.isAtEnd) throw new Error("it goes on behind its end");
  return entries;
}

const racyFlag = 1;
const textFlag = 2;

/** Everything but the path. */
function writeEntry(body: ByteWriter, { absolute, sizeBytes, mtimeMs, racy, known }: IndexEntry, notes: NoteTable): void {
  body.count(sizeBytes);
  body.number(mtimeMs);
  body.count((racy ? racyFlag : 0) | ("hash" in known ? textFlag : 0));
  if (!("hash" in known)) {
    body.count(notes.place(known));
    return;
  }
  body.hex(known.hash);
  body.count(known.tokens);
  body.count(known.bodyTokens);
  body.count(known.nameTokens);
  // The path in the workspace is the end of the absolute one, behind a prefix where the workspace has several folders.
  body.count(notes.place(pathNote(known.path, absolute)));
  body.count(known.marks.length === 0 ? 0 : 1 + notes.place(known.marks));
  body.count(known.scan === undefined ? 0 : 1 + notes.place(known.scan));
  writeOutline(body, known.outline, notes);
}

function readEntry(reader: ByteReader, absolute: string, notes: NoteReader): IndexEntry {
  const sizeBytes = reader.count();
  const mtimeMs = reader.number();
  const flags = reader.count();
  const racy = (flags & racyFlag) !== 0;
  if ((flags & textFlag) === 0) return { absolute, sizeBytes, mtimeMs, racy, known: notes.exclusion(reader.count()) };
  const hash = reader.hex(hashBytes);
  const tokens = reader.count();
  const bodyTokens = reader.count();
  const nameTokens = reader.count();
  const path = pathOf(notes.path(reader.count()), absolute);
  const marksNote = reader.count();
  const marks = marksNote === 0 ? [] : notes.marks(marksNote - 1);
  const scanNote = reader.count();
  const scan = scanNote === 0 ? undefined : notes.scan(scanNote - 1);
  const outline = readOutline(reader, notes);
  const known: IndexedText = { hash, tokens, bodyTokens, nameTokens, path, marks };
  if (scan) known.scan = scan;
  if (outline) known.outline = outline;
  return { absolute, sizeBytes, mtimeMs, racy, known };
}

/** Bytes of a regular file; never waits for a pipe. */
async function readWhole(file: string): Promise<Buffer> {
  const handle = await open(file, process.platform === "win32" ? constants.O_RDONLY : constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new Error("it is no file");
    if (stats.size > maxFileBytes) throw new Error(`it has ${stats.size} bytes`);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function checksum(content: Uint8Array): Buffer {
  return createHash("sha256").update(content).digest();
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
  body.bytes(new Uint8Array(buffer, byteOffset, byteLength));
}

function readOutline(reader: ByteReader, notes: NoteReader): KnownOutline | undefined {
  const kind = reader.count();
  if (kind === 0) return undefined;
  if (kind === 1) return { reason: notes.text(reader.count()) };
  const lines: LineRange[] = [];
  let before = 0;
  for (let left = reader.count(); left > 0; left--) {
    const first = before + reader.count();
    before = first + reader.count();
    lines.push({ first, last: before });
  }
  const names = reader.bytes(reader.count());
  if (names.length % 4 !== 0) throw new Error("it has half a name");
  // Copied to an array of its own, because names in the file begin anywhere.
  return { tokens: kind - 2, lines, definitions: new Int32Array(Uint8Array.from(names).buffer) };
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

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
