import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";

/** Rule and configuration files above this size are not read, as git does not either. */
const maxBytes = 100 * 1024 * 1024;

/**
 * Bytes of a small file that must be a regular one; undefined where there is none or it cannot be read. Never waits for a pipe.
 * With `ownOnly` a symbolic link counts as no file.
 */
export function readRegularFile(path: string, ownOnly: boolean): Buffer | undefined {
  return withRegularFile(path, ownOnly, (file, size) => {
    if (size > maxBytes) return undefined;
    const bytes = Buffer.allocUnsafe(size);
    let length = 0;
    for (let read = -1; read !== 0 && length < size; length += read) {
      read = readSync(file, bytes, length, size - length, length);
    }
    return bytes.subarray(0, length);
  });
}

/**
 * What `use` makes of an open file and its size in bytes; undefined where there is no regular file, where it cannot be read, and where `use`
 * throws.
 */
export function withRegularFile<Result>(
  path: string,
  ownOnly: boolean,
  use: (file: number, size: number) => Result | undefined,
): Result | undefined {
  if (isNetworkPath(path)) return undefined;
  let file: number;
  try {
    file = openWithoutWaiting(path, ownOnly);
  } catch {
    return undefined;
  }
  try {
    const stats = fstatSync(file);
    return stats.isFile() ? use(file, stats.size) : undefined;
  } catch {
    return undefined;
  } finally {
    closeSync(file);
  }
}

function openWithoutWaiting(path: string, ownOnly: boolean): number {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  // A pipe in place of the file would block without O_NONBLOCK, which Windows lacks as it lacks such pipes.
  if (process.platform !== "win32") return openSync(path, O_RDONLY | O_NONBLOCK | (ownOnly ? O_NOFOLLOW : 0));
  if (ownOnly && lstatSync(path).isSymbolicLink()) throw new Error("a link");
  return openSync(path, O_RDONLY);
}

/** A repository must not make Windows log in to somebody's server by naming a path on it. */
function isNetworkPath(path: string): boolean {
  return process.platform === "win32" && /^[\\/]{2}/.test(path);
}
