import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { EngineError } from "../../engine/errors.ts";
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

/** A larger file is read only where its windows are. */
const wholeBytes = 64 * 1024;

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

  /** Size times tokens per byte in evenly spread windows that begin and end between words. */
  sample(absolute: string, count: (bytes: Uint8Array) => number): number {
    let file: number | undefined;
    try {
      file = openSync(absolute, openFlags);
      const { size } = fstatSync(file);
      const { windows, windowBytes } = windowsFor(size);
      const whole = size <= wholeBytes ? this.buffer.subarray(0, readSync(file, this.buffer, 0, size, 0)) : undefined;
      let bytes = 0;
      let tokens = 0;
      for (let index = 0; index < windows; index++) {
        const place = Math.max(0, Math.floor(((size - windowBytes) * (index + 0.5)) / windows));
        const window =
          whole?.subarray(place, place + windowBytes) ??
          this.buffer.subarray(0, readSync(file, this.buffer, 0, windowBytes, place));
        const words = betweenWords(window);
        bytes += words.length;
        tokens += count(words);
      }
      return bytes === 0 ? 0 : Math.round((tokens / bytes) * size);
    } catch (error) {
      if (EngineError.is(error, "aborted")) throw error;
      return -1;
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }
}

/** Measured on 7,862 files of JavaScript: 95 of 100 estimates are within 4.5 percent, and their sum within 0.7. */
function windowsFor(sizeBytes: number): { windows: number; windowBytes: number } {
  if (sizeBytes <= 16 * 1024) return { windows: 8, windowBytes: 256 };
  return sizeBytes <= wholeBytes ? { windows: 4, windowBytes: 384 } : { windows: 24, windowBytes: 512 };
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
