/** Keeps two windows of VS Code from writing the same file: who makes the lock file may. */
import { type FileHandle, mkdir, open, rm, stat, utimes } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A lock is touched this often; one that was not for `staleMs` belongs to a window that is gone. */
const touchMs = 2000;
const staleMs = 15_000;
const lookMs = 50;

/** Runs `work` with the lock; waits up to `waitMs` for it and throws `busy()` then. */
export async function withFileLock<Result>(
  path: string,
  waitMs: number,
  busy: () => Error,
  work: () => Promise<Result>,
): Promise<Result> {
  await mkdir(dirname(path), { recursive: true });
  const deadline = Date.now() + waitMs;
  let handle = await tryLock(path);
  while (handle === undefined) {
    if (Date.now() >= deadline) throw busy();
    await sleep(lookMs);
    handle = await tryLock(path);
  }
  const touching = setInterval(() => void touch(path), touchMs);
  touching.unref();
  try {
    return await work();
  } finally {
    clearInterval(touching);
    await handle.close();
    await rm(path, { force: true });
  }
}

async function tryLock(path: string): Promise<FileHandle | undefined> {
  const touched = (await stat(path).catch(() => undefined))?.mtimeMs;
  if (touched !== undefined && Date.now() - touched > staleMs) await rm(path, { force: true });
  try {
    return await open(path, "wx");
  } catch (error) {
    // Windows says EPERM of a file that is being deleted.
    if (error instanceof Error && "code" in error && (error.code === "EEXIST" || error.code === "EPERM")) return undefined;
    throw error;
  }
}

/** A lock that is gone needs no touch. */
async function touch(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => undefined);
}
