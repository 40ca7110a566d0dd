import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";

/** Rule and configuration files above this size are not read, as git does not either. */
const maxBytes = 100 * 1024 * 1024;

/**
 * Bytes of a small file that must be a regular one; undefined where there is none or it cannot be read. Never waits for a pipe.
 * With `ownOnly` a symbolic link counts as no file.
 */
export function readRegularFile(path: string, ownOnly: boolean): Buffer | undefined {
  if (isNetworkPath(path)) return undefined;
  let file: number;
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    if (process.platform === "win32") {
      if (ownOnly && lstatSync(path).isSymbolicLink()) return undefined;
      file = openSync(path, O_RDONLY);
    } else {
      // A pipe in place of the file would block without O_NONBLOCK.
      file = openSync(path, O_RDONLY | O_NONBLOCK | (ownOnly ? O_NOFOLLOW : 0));
    }
  } catch {
    return undefined;
  }
  try {
    const stats = fstatSync(file);
    if (!stats.isFile() || stats.size > maxBytes) return undefined;
    const bytes = Buffer.allocUnsafe(stats.size);
    let length = 0;
    for (let read = -1; read !== 0 && length < stats.size; length += read) {
      read = readSync(file, bytes, length, stats.size - length, length);
    }
    return bytes.subarray(0, length);
  } catch {
    return undefined;
  } finally {
    closeSync(file);
  }
}

/** A repository must not make Windows log in to somebody's server by naming a path on it. */
function isNetworkPath(path: string): boolean {
  return process.platform === "win32" && /^[\\/]{2}/.test(path);
}
