import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import type { ExclusionKind } from "./requests.ts";
import { unreadable } from "./walk.ts";

/** Why a file was not read; size and time of change where they are known. */
export interface Unread {
  reason: string;
  kind: ExclusionKind;
  sizeBytes?: number;
  mtimeMs?: number;
}

/** Neither follows a link that took the file's place since it was listed nor waits for a pipe. */
const openFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** A piece of a file: so many bytes from a place on. */
export interface FileWindow {
  absolute: string;
  place: number;
  bytes: number;
}

/** Reads files one at a time into one buffer, so that counting thousands of them leaves no garbage. */
export class FileReader {
  private buffer = Buffer.allocUnsafeSlow(256 * 1024);

  /** The whole file; the bytes are valid until the next call. */
  read(absolute: string, maxBytes: number): { stats: Stats; bytes: Uint8Array } | Unread {
    let file: number | undefined;
    try {
      file = openSync(absolute, openFlags);
      const stats = fstatSync(file);
      if (!stats.isFile()) return { reason: "not a regular file", kind: "unreadable" };
      if (stats.size > maxBytes) return { ...tooLarge(stats.size, maxBytes), sizeBytes: stats.size, mtimeMs: stats.mtimeMs };
      // One byte more shows a file that is being written; it is counted as far as it was when it was opened.
      if (this.buffer.length < stats.size) this.buffer = Buffer.allocUnsafeSlow(Math.max(2 * this.buffer.length, stats.size));
      let length = 0;
      while (length < stats.size) {
        const read = readSync(file, this.buffer, length, stats.size - length, length);
        if (read === 0) break;
        length += read;
      }
      return { stats, bytes: this.buffer.subarray(0, length) };
    } catch (error) {
      return { reason: unreadable(error), kind: "unreadable" };
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  /** A piece of a file between words, valid until the next call; undefined where it cannot be read, or is no text. */
  window({ absolute, place, bytes }: FileWindow): Uint8Array | undefined {
    let file: number | undefined;
    try {
      file = openSync(absolute, openFlags);
      const read = this.buffer.subarray(0, readSync(file, this.buffer, 0, Math.min(bytes, this.buffer.length), place));
      return read.includes(0) ? undefined : betweenWords(read);
    } catch {
      // The count says later why.
      return undefined;
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }
}

/** The part from the first to the last place where blanks begin; all of it where there is no such place. */
function betweenWords(bytes: Uint8Array): Uint8Array {
  const half = bytes.length >> 1;
  let from = 1;
  while (from < half && !blanksBegin(bytes, from)) from++;
  let to = bytes.length - 1;
  while (to > half && !blanksBegin(bytes, to)) to--;
  return from < half && to > half ? bytes.subarray(from, to) : bytes;
}

function blanksBegin(bytes: Uint8Array, at: number): boolean {
  return isBlank(bytes[at]) && !isBlank(bytes[at - 1]);
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a;
}

function tooLarge(sizeBytes: number, maxBytes: number): { reason: string; kind: "too-large" } {
  const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1).replace(/\.0$/, "");
  return { reason: `larger than ${mebibytes(maxBytes)} MiB (${mebibytes(sizeBytes)} MiB)`, kind: "too-large" };
}
