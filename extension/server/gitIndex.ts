import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What a repository's index says about paths, which are relative to the top of its working tree and use "/". */
export class TrackedPaths {
  private folders: Set<string> | undefined;

  constructor(
    private readonly files: ReadonlySet<string>,
    private readonly submodules: ReadonlySet<string>,
  ) {}

  /** A tracked file belongs to the repository whatever the ignore rules say. */
  has(path: string): boolean {
    return this.files.has(path);
  }

  isSubmodule(path: string): boolean {
    return this.submodules.has(path);
  }

  /** Whether any tracked file lies below the folder. */
  hasBelow(folder: string): boolean {
    this.folders ??= foldersOf(this.files);
    return this.folders.has(folder);
  }
}

export const nothingTracked = new TrackedPaths(new Set(), new Set());

/** Reads the index of a repository; nothing is tracked where there is none. Throws `Error` for a file that is no index. */
export async function readTracked(gitFolder: string, hashBytes: number): Promise<TrackedPaths> {
  let bytes: Buffer;
  try {
    bytes = await readFile(join(gitFolder, "index"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return nothingTracked;
    throw error;
  }
  return parseIndex(bytes, hashBytes);
}

/**
 * Entries of an index of version 2, 3 or 4 (git's Documentation/gitformat-index): 40 bytes of stat data, the object name, 2 bytes of
 * flags (2 more where bit 14 is set), the path. Versions 2 and 3 pad with NULs to a multiple of 8; in version 4 the path replaces the end of the
 * one before.
 */
export function parseIndex(bytes: Buffer, hashBytes: number): TrackedPaths {
  if (bytes.length < 12 || bytes.toString("latin1", 0, 4) !== "DIRC") throw new Error("not a git index");
  const version = bytes.readUInt32BE(4);
  if (version < 2 || version > 4) throw new Error(`git index of version ${version}`);
  const count = bytes.readUInt32BE(8);
  const files = new Set<string>();
  const submodules = new Set<string>();
  let previous = Buffer.alloc(0);
  let at = 12;
  for (let entry = 0; entry < count; entry++) {
    const mode = bytes.readUInt32BE(at + 24);
    const flags = bytes.readUInt16BE(at + 40 + hashBytes);
    let name = at + 42 + hashBytes + (flags & EXTENDED ? 2 : 0);
    let keep = 0;
    if (version === 4) {
      const strip = readOffset(bytes, name);
      keep = previous.length - strip.value;
      name = strip.end;
    }
    const end = bytes.indexOf(0, name);
    if (end < 0 || keep < 0) throw new Error("the git index ends within an entry");
    const path = Buffer.concat([previous.subarray(0, keep), bytes.subarray(name, end)]);
    if (mode >>> 12 === GITLINK) submodules.add(path.toString("utf8"));
    else files.add(path.toString("utf8"));
    previous = path;
    at = version === 4 ? end + 1 : at + Math.ceil((end - at + 1) / 8) * 8;
  }
  return new TrackedPaths(files, submodules);
}

/** A number in sevens of bits, most significant first, each continuation counting one more (git's offset encoding). */
function readOffset(bytes: Buffer, from: number): { value: number; end: number } {
  let at = from;
  let byte = bytes.readUInt8(at++);
  let value = byte & 127;
  while (byte & 128) {
    byte = bytes.readUInt8(at++);
    value = (value + 1) * 128 + (byte & 127);
  }
  return { value, end: at };
}

function foldersOf(files: ReadonlySet<string>): Set<string> {
  const folders = new Set<string>();
  for (const file of files)
    for (let end = file.lastIndexOf("/"); end > 0; end = file.lastIndexOf("/", end - 1)) {
      const folder = file.slice(0, end);
      if (folders.has(folder)) break;
      folders.add(folder);
    }
  return folders;
}

const EXTENDED = 0x4000;
/** Object type in the upper four bits of the mode: a commit of another repository. */
const GITLINK = 0b1110;
