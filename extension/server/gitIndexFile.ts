import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { throwIfAborted } from "../../engine/errors.ts";

/** What of an index decides which files there are. Paths are below the top of the working tree, one character per byte. */
export interface IndexEntries {
  names: string[];
  submodules: Set<string>;
  /** Ignore files that are not checked out, with the names of their objects: git reads their rules all the same. */
  skippedRules: Map<string, string>;
  /** Folders of a sparse index (with "/" at their end) that stand for all below them, with the names of their trees. */
  sparseFolders: Map<string, string>;
}

const pieceBytes = 256 * 1024;
const maxPathBytes = 1024 * 1024;
const maxLinkBytes = 64 * 1024 * 1024;
/** Of one entry: times, device, inode, mode, owner and size; the object's name and the flags follow. */
const statBytes = 40;
const modeAt = 24;
export const fileTypeMask = 0o170000;
export const submoduleType = 0o160000;
export const folderType = 0o040000;
const extendedFlag = 0x4000;
/** Of the flags that an extended entry has besides. */
const skipFlag = 0x4000;

/**
 * Reads an index file (git's Documentation/gitformat-index) of version 2, 3 or 4 with what it shares with another one. It is read in pieces, so that
 * other work goes on meanwhile. Throws `aborted`, what the system says, or in words what is wrong with it.
 */
export async function readIndexFile(
  folder: string,
  name: string,
  objectIdBytes: number,
  signal: AbortSignal | undefined,
): Promise<IndexEntries> {
  const own = await readEntries(folder, name, objectIdBytes, signal);
  const { link } = own;
  const id = link?.toString("hex", 0, objectIdBytes) ?? "";
  if (!link || /^0*$/.test(id)) return entriesOf(own.entries);
  const shared = await readEntries(folder, `sharedindex.${id}`, objectIdBytes, signal);
  return entriesOf(link.length > objectIdBytes ? merged(shared.entries, own.entries, link.subarray(objectIdBytes)) : own.entries);
}

interface Entry {
  name: string;
  mode: number;
  isSkipped: boolean;
  /** Object name in hexadecimal where it may be asked for. */
  id: string | undefined;
}

async function readEntries(
  folder: string,
  name: string,
  objectIdBytes: number,
  signal: AbortSignal | undefined,
): Promise<{ entries: Entry[]; link: Buffer | undefined }> {
  // A pipe in place of the file would wait forever.
  const flags = process.platform === "win32" ? constants.O_RDONLY : constants.O_RDONLY | constants.O_NONBLOCK;
  const handle = await open(join(folder, name), flags);
  try {
    if (!(await handle.stat()).isFile()) throw new Error("not a file");
    const source = new Pieces(handle, signal);
    const header = await source.take(12);
    if (header.toString("latin1", 0, 4) !== "DIRC") throw new Error("not an index");
    const version = header.readUInt32BE(4);
    if (version < 2 || version > 4) throw new Error(`version ${version}`);
    const entries: Entry[] = [];
    const current = { bytes: Buffer.alloc(4096), length: 0 };
    for (let left = header.readUInt32BE(8); left > 0; left--) {
      const length =
        source.entryLength(statBytes + objectIdBytes, version) ?? (await source.wholeEntry(statBytes + objectIdBytes, version));
      entries.push(readEntry(source.next(length), statBytes + objectIdBytes, version, current));
    }
    return { entries, link: await splitIndexLink(source, objectIdBytes) };
  } finally {
    await handle.close();
  }
}

/** `entry` is one entry with its padding, `current` the path of the entry before, from which version 4 takes the beginning. */
function readEntry(entry: Buffer, flagsAt: number, version: number, current: { bytes: Buffer; length: number }): Entry {
  const mode = entry.readUInt32BE(modeAt);
  const isExtended = version >= 3 && (entry.readUInt16BE(flagsAt) & extendedFlag) !== 0;
  let at = flagsAt + (isExtended ? 4 : 2);
  if (version === 4) {
    const dropped = variableInteger(entry, at);
    at = dropped.end;
    current.length -= dropped.value;
    if (current.length < 0) throw new Error("a path takes more from the one before than there is");
  } else current.length = 0;
  const end = entry.indexOf(0, at);
  const needed = current.length + end - at;
  if (needed > maxPathBytes) throw new Error("a path is too long");
  if (needed > current.bytes.length) current.bytes = Buffer.concat([current.bytes], Math.max(needed, 2 * current.bytes.length));
  entry.copy(current.bytes, current.length, at, end);
  current.length = needed;
  const name = current.bytes.toString("latin1", 0, needed);
  const isSkipped = isExtended && (entry.readUInt16BE(flagsAt + 2) & skipFlag) !== 0;
  return { name, mode, isSkipped, id: isSkipped ? entry.toString("hex", statBytes, flagsAt) : undefined };
}

function entriesOf(entries: readonly Entry[]): IndexEntries {
  const found: IndexEntries = { names: [], submodules: new Set(), skippedRules: new Map(), sparseFolders: new Map() };
  for (const { name, mode, id } of entries) {
    found.names.push(name);
    if ((mode & fileTypeMask) === submoduleType) found.submodules.add(name);
    if (id === undefined) continue;
    if ((mode & fileTypeMask) === folderType) found.sparseFolders.set(name, id);
    else if (isIgnoreFile(name)) found.skippedRules.set(name, id);
  }
  return found;
}

export function isIgnoreFile(name: string): boolean {
  return name === ".gitignore" || name.endsWith("/.gitignore");
}

/** Git's integer of seven bits a byte, high ones first; each continuation adds one, so that no number has two forms. */
function variableInteger(bytes: Buffer, from: number): { value: number; end: number } {
  let at = from;
  let byte = bytes[at++] ?? 0;
  let value = byte & 127;
  while (byte & 128) {
    byte = bytes[at++] ?? 0;
    value = (value + 1) * 128 + (byte & 127);
    if (value > maxPathBytes) throw new Error("a path is too long");
  }
  return { value, end: at };
}

/** The file read piece by piece; `held` is what was read and not yet taken. */
class Pieces {
  private readonly handle: FileHandle;
  private readonly signal: AbortSignal | undefined;
  private held = Buffer.alloc(0);
  private at = 0;

  constructor(handle: FileHandle, signal: AbortSignal | undefined) {
    this.handle = handle;
    this.signal = signal;
  }

  get available(): number {
    return this.held.length - this.at;
  }

  next(length: number): Buffer {
    const from = this.at;
    this.at += length;
    return this.held.subarray(from, this.at);
  }

  async take(length: number): Promise<Buffer> {
    while (this.available < length) if (!(await this.more())) throw new Error("it ends too early");
    return this.next(length);
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0;) {
      if (this.available === 0 && !(await this.more())) throw new Error("it ends too early");
      left -= this.next(Math.min(left, this.available)).length;
    }
  }

  /** Reads on; false at the end of the file. */
  async more(): Promise<boolean> {
    throwIfAborted(this.signal);
    const piece = Buffer.allocUnsafe(pieceBytes);
    const { bytesRead } = await this.handle.read(piece, 0, pieceBytes, null);
    this.held = Buffer.concat([this.held.subarray(this.at), piece.subarray(0, bytesRead)]);
    this.at = 0;
    return bytesRead > 0;
  }

  /** Bytes of the next entry with its padding; undefined where not all of it has been read. */
  entryLength(flagsAt: number, version: number): number | undefined {
    const { held, at } = this;
    if (held.length < at + flagsAt + 2) return undefined;
    let nameAt = at + flagsAt + (held.readUInt16BE(at + flagsAt) & extendedFlag && version >= 3 ? 4 : 2);
    if (version === 4) while ((held[nameAt++] ?? 0) & 128);
    const end = nameAt < held.length ? held.indexOf(0, nameAt) : -1;
    if (end < 0) return undefined;
    // Up to version 3 an entry is padded with one to eight NULs to a multiple of eight.
    const length = version === 4 ? end + 1 - at : (end - at + 8) & ~7;
    return at + length <= held.length ? length : undefined;
  }

  async wholeEntry(flagsAt: number, version: number): Promise<number> {
    for (;;) {
      if (this.available > maxPathBytes + pieceBytes) throw new Error("a path is too long");
      if (!(await this.more())) throw new Error("it ends too early");
      const length = this.entryLength(flagsAt, version);
      if (length !== undefined) return length;
    }
  }
}

/** The extension of a split index: the name of the shared one, and which of its entries are gone and which are replaced. */
async function splitIndexLink(source: Pieces, objectIdBytes: number): Promise<Buffer | undefined> {
  for (;;) {
    // The checksum of the whole file ends it; no extension is that short.
    while (source.available < objectIdBytes + 8) if (!(await source.more())) return undefined;
    const header = source.next(8);
    const length = header.readUInt32BE(4);
    if (header.toString("latin1", 0, 4) === "link") {
      if (length > maxLinkBytes) throw new Error("its list of changes is too long");
      return source.take(length);
    }
    await source.skip(length);
  }
}

/** Entries of a shared index without those that are gone; one that is replaced keeps its path, and its other one has none. */
function merged(shared: readonly Entry[], own: readonly Entry[], bitmaps: Buffer): Entry[] {
  const gone = setBits(bitmaps, 0, shared.length);
  const replaced = setBits(bitmaps, gone.end, shared.length);
  const nameless = own.filter(({ name }) => name === "").values();
  const kept: Entry[] = [];
  for (const [place, entry] of shared.entries()) {
    const other = replaced.places.has(place) ? nameless.next().value : undefined;
    if (!gone.places.has(place)) kept.push(other ? { ...other, name: entry.name } : entry);
  }
  return [...kept, ...own.filter(({ name }) => name !== "")];
}

/**
 * Places below `limit` of the ones in a bitmap of git's EWAH form: bits and words in four bytes each, then runs of equal words, each followed by literal
 * words, all of 64 bits, then four bytes more.
 */
function setBits(bytes: Buffer, start: number, limit: number): { places: Set<number>; end: number } {
  const places = new Set<number>();
  const words = bytes.readUInt32BE(start + 4);
  const high = (word: number): number => bytes.readUInt32BE(start + 8 + 8 * word);
  const low = (word: number): number => bytes.readUInt32BE(start + 12 + 8 * word);
  let bit = 0;
  for (let word = 0; word < words;) {
    const runBits = 64 * (((low(word) >>> 1) | ((high(word) & 1) << 31)) >>> 0);
    const literals = high(word) >>> 1;
    if (low(word) & 1) for (let end = Math.min(limit, bit + runBits), at = bit; at < end; at++) places.add(at);
    bit += runBits;
    word++;
    for (let left = literals; left > 0; left--, word++, bit += 64) {
      for (let at = 0; at < 64 && bit + at < limit; at++) {
        if (((at < 32 ? low(word) : high(word)) >>> (at & 31)) & 1) places.add(bit + at);
      }
    }
  }
  return { places, end: start + 12 + 8 * words };
}
