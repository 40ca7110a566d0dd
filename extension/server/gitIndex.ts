import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { throwIfAborted } from "../../engine/errors.ts";
import { foldCase } from "./globs.ts";

/** The paths that git tracks, below the top of the working tree, one character per byte, and what is asked of them. */
export interface GitIndex {
  /** Why the index could not be read; then nothing counts as tracked. */
  problem: string | undefined;
  tracks(path: string): boolean;
  /** Whether anything below the folder is tracked; no "/" at its end. */
  tracksBelow(folder: string): boolean;
  isSubmodule(folder: string): boolean;
}

/** Indexes read last, by path: looking at one changed file again must not read what git tracks again. */
const lastRead = new Map<string, { version: string; index: GitIndex }>();
const keptIndexes = 4;

export const noIndex: GitIndex = indexOf([], new Set(), false);

/**
 * Reads the index of a repository: versions 2, 3 and 4, also split ones. It is read in pieces, so that other work goes on meanwhile.
 * A missing one is empty. Throws `aborted`.
 */
export async function readGitIndex(
  gitFolder: string,
  objectIdBytes: number,
  ignoreCase: boolean,
  signal?: AbortSignal,
): Promise<GitIndex> {
  try {
    const path = join(gitFolder, "index");
    const { size, mtimeMs, ctimeMs, ino } = await stat(path);
    // Git replaces the file as a whole, so that its inode and times change with it.
    const version = [size, mtimeMs, ctimeMs, ino, objectIdBytes, ignoreCase].join();
    const known = lastRead.get(path);
    if (known?.version === version) return known.index;
    const { names, submodules } = await readEntries(gitFolder, "index", objectIdBytes, signal);
    const index = indexOf(
      ignoreCase ? names.map(foldCase) : names,
      ignoreCase ? new Set([...submodules].map(foldCase)) : submodules,
      ignoreCase,
    );
    lastRead.delete(path);
    lastRead.set(path, { version, index });
    for (const oldest of [...lastRead.keys()].slice(0, -keptIndexes)) lastRead.delete(oldest);
    return index;
  } catch (error) {
    throwIfAborted(signal);
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return noIndex;
    const problem = error instanceof Error ? error.message : String(error);
    return { ...noIndex, problem: `git's index cannot be read (${problem}): ignored files count as untracked` };
  }
}

function indexOf(names: string[], submodules: ReadonlySet<string>, ignoreCase: boolean): GitIndex {
  const key = (path: string): string => (ignoreCase ? foldCase(path) : path);
  // Git sorts by bytes, but for folding and for what a split index adds.
  if (names.some((name, at) => at > 0 && name < (names[at - 1] ?? ""))) names.sort();
  return {
    problem: undefined,
    tracks: (path) => names[firstFrom(names, key(path))] === key(path),
    tracksBelow: (folder) => names[firstFrom(names, `${key(folder)}/`)]?.startsWith(`${key(folder)}/`) ?? false,
    isSubmodule: (folder) => submodules.size > 0 && submodules.has(key(folder)),
  };
}

/** Place of the first name that is not less than `wanted`. */
function firstFrom(names: readonly string[], wanted: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((names[middle] ?? "") < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

interface Entries {
  names: string[];
  submodules: Set<string>;
}

const pieceBytes = 256 * 1024;
const submoduleType = 0o160000;
const fileTypeMask = 0o170000;
/** Of one entry: times, device, inode, mode, owner and size; the object's name and the flags follow. */
const statBytes = 40;
const modeAt = 24;
const extendedFlag = 0x4000;
const maxIndexPathBytes = 1024 * 1024;

async function readEntries(
  folder: string,
  file: string,
  objectIdBytes: number,
  signal: AbortSignal | undefined,
): Promise<Entries> {
  const handle = await open(join(folder, file), "r");
  try {
    if (!(await handle.stat()).isFile()) throw new Error("not a file");
    const source = new Pieces(handle, signal);
    const header = await source.take(12);
    if (header.toString("latin1", 0, 4) !== "DIRC") throw new Error("not an index");
    const version = header.readUInt32BE(4);
    if (version < 2 || version > 4) throw new Error(`version ${version}`);
    const entries: Entries = { names: [], submodules: new Set() };
    const current = { bytes: Buffer.alloc(4096), length: 0 };
    for (let left = header.readUInt32BE(8); left > 0; left--) {
      const length =
        source.entryLength(statBytes + objectIdBytes, version) ?? (await source.wholeEntry(statBytes + objectIdBytes, version));
      addEntry(entries, source.next(length), statBytes + objectIdBytes, version, current);
    }
    const link = await splitIndexLink(source, objectIdBytes);
    return link ? await withShared(entries, link, folder, objectIdBytes, signal) : entries;
  } finally {
    await handle.close();
  }
}

/** `entry` is one entry with its padding, `current` the path of the entry before, from which version 4 takes the beginning. */
function addEntry(
  entries: Entries,
  entry: Buffer,
  flagsAt: number,
  version: number,
  current: { bytes: Buffer; length: number },
): void {
  const mode = entry.readUInt32BE(modeAt);
  let at = flagsAt + (entry.readUInt16BE(flagsAt) & extendedFlag && version >= 3 ? 4 : 2);
  if (version === 4) {
    const dropped = variableInteger(entry, at);
    at = dropped.end;
    current.length -= dropped.value;
    if (current.length < 0) throw new Error("a path takes more from the one before than there is");
  } else current.length = 0;
  const end = entry.indexOf(0, at);
  const needed = current.length + end - at;
  if (needed > current.bytes.length) current.bytes = Buffer.concat([current.bytes], Math.max(needed, 2 * current.bytes.length));
  entry.copy(current.bytes, current.length, at, end);
  current.length = needed;
  const name = current.bytes.toString("latin1", 0, needed);
  entries.names.push(name);
  if ((mode & fileTypeMask) === submoduleType) entries.submodules.add(name);
}

/** Git's integer of seven bits a byte, high ones first; each continuation adds one, so that no number has two forms. */
function variableInteger(bytes: Buffer, from: number): { value: number; end: number } {
  let at = from;
  let byte = bytes[at++] ?? 0;
  let value = byte & 127;
  while (byte & 128) {
    byte = bytes[at++] ?? 0;
    value = (value + 1) * 128 + (byte & 127);
    if (value > maxIndexPathBytes) throw new Error("a path is too long");
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
      if (this.available > maxIndexPathBytes + pieceBytes) throw new Error("a path is too long");
      if (!(await this.more())) throw new Error("it ends too early");
      const length = this.entryLength(flagsAt, version);
      if (length !== undefined) return length;
    }
  }
}

/** The extension of a split index: the name of the shared one and which of its entries are gone. */
async function splitIndexLink(source: Pieces, objectIdBytes: number): Promise<Buffer | undefined> {
  for (;;) {
    // The checksum of the whole file ends it; no extension is that short.
    while (source.available < objectIdBytes + 8) if (!(await source.more())) return undefined;
    const header = source.next(8);
    const length = header.readUInt32BE(4);
    if (header.toString("latin1", 0, 4) === "link") return source.take(length);
    await source.skip(length);
  }
}

async function withShared(
  own: Entries,
  link: Buffer,
  folder: string,
  objectIdBytes: number,
  signal: AbortSignal | undefined,
): Promise<Entries> {
  const id = link.toString("hex", 0, objectIdBytes);
  if (/^0*$/.test(id)) return own;
  const shared = await readEntries(folder, `sharedindex.${id}`, objectIdBytes, signal);
  const deleted = link.length > objectIdBytes ? setBits(link, objectIdBytes) : new Set<number>();
  const kept = shared.names.filter((_, at) => !deleted.has(at));
  // An entry that replaces a shared one has no path of its own.
  const names = [...kept, ...own.names.filter((name) => name !== "")];
  const known = new Set(names);
  const submodules = [...shared.submodules, ...own.submodules].filter((name) => known.has(name));
  return { names, submodules: new Set(submodules) };
}

/** Places of the ones in a bitmap of git's EWAH form: runs of equal words, each followed by literal words, all of 64 bits. */
function setBits(bytes: Buffer, start: number): Set<number> {
  const bits = new Set<number>();
  const size = bytes.readUInt32BE(start);
  const words = bytes.readUInt32BE(start + 4);
  const high = (word: number): number => bytes.readUInt32BE(start + 8 + 8 * word);
  const low = (word: number): number => bytes.readUInt32BE(start + 12 + 8 * word);
  let bit = 0;
  for (let word = 0; word < words;) {
    const runBits = 64 * (((low(word) >>> 1) | ((high(word) & 1) << 31)) >>> 0);
    const literals = high(word) >>> 1;
    if (low(word) & 1) for (let end = Math.min(size, bit + runBits), at = bit; at < end; at++) bits.add(at);
    bit += runBits;
    word++;
    for (let left = literals; left > 0; left--, word++, bit += 64) {
      for (let at = 0; at < 64; at++) if (((at < 32 ? low(word) : high(word)) >>> (at & 31)) & 1) bits.add(bit + at);
    }
  }
  return bits;
}
