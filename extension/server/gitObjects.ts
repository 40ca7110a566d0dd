import { createHash } from "node:crypto";
import { readdirSync, readSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { inflateSync } from "node:zlib";
import { readRegularFile, withRegularFile } from "./regularFile.ts";

export type GitObjectType = "commit" | "tree" | "blob" | "tag";

export interface GitObject {
  type: GitObjectType;
  content: Buffer;
}

/** One entry of a tree object; the name has one character per byte. */
export interface TreeEntry {
  mode: number;
  name: string;
  id: string;
}

/** Larger objects are not read: those that are asked for are ignore files and folders. */
const maxObjectBytes = 16 * 1024 * 1024;
/** Bytes of all differences of one object together. */
const maxDeltaBytes = 4 * maxObjectBytes;
/** Differences to an object by its name, which a damaged pack could make go in circles. */
const maxNamedBases = 64;
const maxAlternates = 32;

/**
 * Reads single objects of a repository without running git: loose ones and those in packs (git's Documentation/gitformat-pack), also
 * of other object folders that `info/alternates` names. It holds no file open, so that git may pack anew meanwhile.
 */
export class GitObjects {
  private readonly folder: string;
  private readonly idBytes: number;

  /** `objectsFolder` is the repository's, `idBytes` 20, or 32 for SHA-256. */
  constructor(objectsFolder: string, idBytes: number) {
    this.folder = objectsFolder;
    this.idBytes = idBytes;
  }

  /** The object of a hexadecimal name; undefined where it is missing, too large or damaged: its content must have that name. */
  read(id: string): GitObject | undefined {
    return this.find(id, 0);
  }

  /** Entries of a tree; undefined as for `read`, or where it is no tree. */
  readTree(id: string): TreeEntry[] | undefined {
    const found = this.read(id);
    if (found?.type !== "tree") return undefined;
    const { content } = found;
    const entries: TreeEntry[] = [];
    for (let at = 0; at < content.length;) {
      const blank = content.indexOf(0x20, at);
      const end = content.indexOf(0, blank);
      const next = end + 1 + this.idBytes;
      if (blank < 0 || end < 0 || next > content.length) return undefined;
      const mode = Number.parseInt(content.toString("latin1", at, blank), 8);
      entries.push({ mode, name: content.toString("latin1", blank + 1, end), id: content.toString("hex", end + 1, next) });
      at = next;
    }
    return entries;
  }

  private find(id: string, namedBases: number): GitObject | undefined {
    if (namedBases > maxNamedBases) return undefined;
    for (const folder of withAlternates(this.folder)) {
      const found = readLoose(folder, id) ?? this.readPacked(folder, id, namedBases);
      if (found && this.nameOf(found) === id) return found;
    }
    return undefined;
  }

  private nameOf({ type, content }: GitObject): string {
    const hash = createHash(this.idBytes === 32 ? "sha256" : "sha1");
    return hash.update(`${type} ${content.length}\0`).update(content).digest("hex");
  }

  private readPacked(folder: string, id: string, namedBases: number): GitObject | undefined {
    const wanted = Buffer.from(id, "hex");
    for (const name of namesIn(join(folder, "pack"))) {
      if (!name.endsWith(".idx")) continue;
      const base = join(folder, "pack", name.slice(0, -".idx".length));
      const offset = withRegularFile(`${base}.idx`, false, (file) => packOffset(file, wanted));
      if (offset !== undefined) return withRegularFile(`${base}.pack`, false, (file) => this.readAt(file, offset, namedBases));
    }
    return undefined;
  }

  /** The object at an offset of a pack: a whole one, or differences to others that end at a whole one. */
  private readAt(file: number, offset: number, namedBases: number): GitObject | undefined {
    const deltas: Buffer[] = [];
    let deltaBytes = 0;
    for (let at = offset; deltaBytes <= maxDeltaBytes;) {
      const head = read(file, at, 64);
      const { type, size, end } = entryHead(head);
      if (size > maxObjectBytes) return undefined;
      const whole = wholeTypes[type];
      if (whole !== undefined) return withDeltas({ type: whole, content: inflated(file, at + end, size) }, deltas);
      if (type === nameDelta) {
        deltas.push(inflated(file, at + end + this.idBytes, size));
        return withDeltas(this.find(head.toString("hex", end, end + this.idBytes), namedBases + 1), deltas);
      }
      if (type !== offsetDelta) return undefined;
      const distance = offsetDistance(head, end);
      deltas.push(inflated(file, at + distance.end, size));
      deltaBytes += size + 1;
      at -= distance.value;
    }
    return undefined;
  }
}

const wholeTypes: readonly (GitObjectType | undefined)[] = [undefined, "commit", "tree", "blob", "tag"];
const offsetDelta = 6;
const nameDelta = 7;

function withAlternates(objectsFolder: string): string[] {
  const folders = [objectsFolder];
  for (let at = 0; at < folders.length && folders.length < maxAlternates; at++) {
    const folder = folders[at] ?? "";
    const lines =
      readRegularFile(join(folder, "info", "alternates"), false)
        ?.toString("utf8")
        .split("\n") ?? [];
    for (const line of lines) {
      if (line === "" || line.startsWith("#")) continue;
      const named = isAbsolute(line) ? line : join(folder, line);
      if (!folders.includes(named)) folders.push(named);
    }
  }
  return folders;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // A repository without packs may lack the folder.
    return [];
  }
}

function readLoose(folder: string, id: string): GitObject | undefined {
  const packed = readRegularFile(join(folder, id.slice(0, 2), id.slice(2)), false);
  if (!packed) return undefined;
  try {
    const bytes = inflateSync(packed, { maxOutputLength: maxObjectBytes + 64 });
    const end = bytes.indexOf(0);
    const type = wholeTypes.find((name) => bytes.toString("latin1", 0, end).startsWith(`${name} `));
    return type && { type, content: bytes.subarray(end + 1) };
  } catch {
    // Damaged: another place may have it.
    return undefined;
  }
}

/** Up to `length` bytes; fewer at the end of the file. */
function read(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, at));
}

const indexMagic = 0xff744f63;
const fanOutAt = 8;
const namesAt = fanOutAt + 256 * 4;

/** Where in its pack the object is, by a pack's index of version 2. */
function packOffset(file: number, wanted: Buffer): number | undefined {
  const head = read(file, 0, namesAt);
  if (head.readUInt32BE(0) !== indexMagic || head.readUInt32BE(4) !== 2) return undefined;
  const first = wanted[0] ?? 0;
  const count = head.readUInt32BE(fanOutAt + 255 * 4);
  let low = first === 0 ? 0 : head.readUInt32BE(fanOutAt + (first - 1) * 4);
  let high = head.readUInt32BE(fanOutAt + first * 4);
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = Buffer.compare(read(file, namesAt + middle * wanted.length, wanted.length), wanted);
    if (order === 0) return offsetOf(file, namesAt + count * wanted.length, count, middle);
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return undefined;
}

/** `checksumsAt`: four bytes per object, then as many per offset; those with the high bit name one of eight bytes behind them. */
function offsetOf(file: number, checksumsAt: number, count: number, place: number): number {
  const offsetsAt = checksumsAt + count * 4;
  const offset = read(file, offsetsAt + place * 4, 4).readUInt32BE(0);
  if (offset < 0x80000000) return offset;
  return Number(read(file, offsetsAt + count * 4 + (offset - 0x80000000) * 8, 8).readBigUInt64BE(0));
}

/** Type in bits 4 to 6 of the first byte, size in the other four and in seven of each following, lowest first. */
function entryHead(bytes: Buffer): { type: number; size: number; end: number } {
  let byte = bytes.readUInt8(0);
  const type = (byte >> 4) & 7;
  let size = byte & 15;
  let end = 1;
  for (let scale = 16; byte & 128; scale *= 128) {
    byte = bytes.readUInt8(end++);
    size += (byte & 127) * scale;
  }
  return { type, size, end };
}

/** How far before an entry its base begins: seven bits a byte, high ones first, each continuation counting one more. */
function offsetDistance(bytes: Buffer, from: number): { value: number; end: number } {
  let end = from;
  let byte = bytes.readUInt8(end++);
  let value = byte & 127;
  while (byte & 128) {
    byte = bytes.readUInt8(end++);
    value = (value + 1) * 128 + (byte & 127);
  }
  return { value, end };
}

function inflated(file: number, at: number, size: number): Buffer {
  // Deflate never needs more than this for what does not compress.
  const packed = read(file, at, size + (size >>> 8) + 64);
  const bytes = inflateSync(packed, { maxOutputLength: Math.max(1, size) });
  if (bytes.length !== size) throw new Error("an object has another size than its pack says");
  return bytes;
}

/** The object that differences, the last one first, make of a base. */
function withDeltas(base: GitObject | undefined, deltas: readonly Buffer[]): GitObject | undefined {
  return base && { type: base.type, content: deltas.reduceRight(applyDelta, base.content) };
}

/** A delta: sizes of base and result, then copies from the base (high bit set: which bytes of offset and size follow) and literal bytes. */
function applyDelta(base: Buffer, delta: Buffer): Buffer {
  const from = deltaSize(delta, 0);
  const to = deltaSize(delta, from.end);
  if (from.value !== base.length || to.value > maxObjectBytes) throw new Error("a difference is to another object");
  const result = Buffer.alloc(to.value);
  let length = 0;
  for (let at = to.end; at < delta.length;) {
    const command = delta.readUInt8(at++);
    if (command & 128) {
      const numbers = [0, 0];
      for (let bit = 0; bit < 7; bit++) {
        if (command & (1 << bit)) numbers[bit >> 2] = (numbers[bit >> 2] ?? 0) + delta.readUInt8(at++) * 256 ** (bit & 3);
      }
      const [start = 0, size = 0] = numbers;
      length += base.copy(result, length, start, start + (size === 0 ? 0x10000 : size));
    } else {
      length += delta.copy(result, length, at, at + command);
      at += command;
    }
  }
  if (length !== to.value) throw new Error("a difference makes another size than it says");
  return result;
}

function deltaSize(bytes: Buffer, from: number): { value: number; end: number } {
  let end = from;
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = bytes.readUInt8(end++);
    value += (byte & 127) * scale;
    if (byte < 128) return { value, end };
  }
}
