/**
 * Pages of prefixes on the disk: one folder for each root, one file for each page, named by its number and key. A file is written under
 * another name and renamed when it is whole, and its time of change is the time of its last use, so windows and `lcp` share a folder
 * without a lock: what one of them deletes is gone for the others too, and what two of them write is the same.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import type { PrefixEntry, PrefixName, PrefixStore } from "../../engine/kv-cache/api.ts";

export interface PrefixFolder extends PrefixStore {
  /** A page's file, opened, with its size; undefined where there is none. The caller closes it. */
  open(name: PrefixName): Promise<{ handle: FileHandle; bytes: number } | undefined>;
  /** As `write`, from pieces that together have `bytes` bytes; throws `storage-failed` where they have not. */
  writePieces(name: PrefixName, pieces: AsyncIterable<Uint8Array>, bytes: number, lastUsed: number): Promise<void>;
  /** Deletes everything; what was kept took this room. */
  clear(): Promise<{ freedBytes: number }>;
}

/** Nobody writes a page for so long: what is left then is of a process that ended in the middle. */
const STALE_MS = 10 * 60_000;

const KEY = /^[0-9a-f]{32}$/;
const FILE = /^(\d{1,9})-([0-9a-f]{32})\.kv$/;
const UNFINISHED = ".tmp";

/** The folder is made with the first page. `maxBytes` is asked whenever the list is. */
export function openPrefixFolder(folder: string, maxBytes: () => number): PrefixFolder {
  const folderOf = (root: string): string => join(folder, checked(root));
  const fileOf = ({ root, page, key }: PrefixName): string => join(folderOf(root), `${checkedPage(page)}-${checked(key)}.kv`);

  async function roots(): Promise<string[]> {
    const all = await readdir(folder).catch(unlessMissing);
    return (all ?? []).filter((name) => KEY.test(name));
  }

  async function entriesOf(root: string): Promise<PrefixEntry[]> {
    const names = (await readdir(folderOf(root)).catch(unlessMissing)) ?? [];
    await Promise.all(names.filter((name) => name.endsWith(UNFINISHED)).map((name) => sweep(join(folderOf(root), name))));
    const entries = await Promise.all(
      names.map(async (name): Promise<PrefixEntry | undefined> => {
        const [, page, key] = FILE.exec(name) ?? [];
        if (page === undefined || key === undefined) return undefined;
        const facts = await stat(join(folderOf(root), name)).catch(unlessMissing);
        return facts && { root, page: Number(page), key, bytes: facts.size, lastUsed: Math.round(facts.mtimeMs) };
      }),
    );
    return entries.filter((entry) => entry !== undefined);
  }

  /** Writes what `fill` writes under another name, and gives it its own when it is whole. */
  async function writeWhole(name: PrefixName, lastUsed: number, fill: (handle: FileHandle) => Promise<void>): Promise<void> {
    const file = fileOf(name);
    const unfinished = `${file}.${randomBytes(6).toString("hex")}${UNFINISHED}`;
    try {
      await mkdir(folderOf(name.root), { recursive: true });
      const handle = await open(unfinished, "wx");
      try {
        await fill(handle);
        await handle.utimes(new Date(lastUsed), new Date(lastUsed));
      } finally {
        await handle.close();
      }
      await renameOver(unfinished, file);
    } catch (error) {
      await rm(unfinished, { force: true }).catch(unlessInUse);
      throw error instanceof EngineError ? error : refused(error);
    }
  }

  async function openFile(name: PrefixName): Promise<{ handle: FileHandle; bytes: number } | undefined> {
    const handle = await open(fileOf(name), "r").catch(unlessMissing);
    return handle && { handle, bytes: (await handle.stat()).size };
  }

  return {
    async list() {
      const entries = await Promise.all((await roots()).map(entriesOf));
      return { entries: entries.flat(), maxBytes: maxBytes() };
    },

    open: openFile,

    async read(name) {
      const opened = await openFile(name);
      if (opened === undefined) return undefined;
      const { handle, bytes } = opened;
      try {
        const whole = new Uint8Array(bytes);
        for (let done = 0; done < bytes;) {
          const { bytesRead } = await handle.read(whole, done, bytes - done, done);
          // A file that became shorter is not the page any more; its checksum says so.
          if (bytesRead === 0) break;
          done += bytesRead;
        }
        return whole;
      } finally {
        await handle.close();
      }
    },

    write: (name, bytes, lastUsed) =>
      writeWhole(name, lastUsed, async (handle) => {
        await handle.writeFile(bytes);
      }),

    writePieces: (name, pieces, bytes, lastUsed) =>
      writeWhole(name, lastUsed, async (handle) => {
        let done = 0;
        for await (const piece of pieces) {
          done += piece.length;
          if (done > bytes) break;
          await handle.writeFile(piece);
        }
        if (done !== bytes) throw refused(new Error(`${done} of ${bytes} bytes came`));
      }),

    async touch(names, lastUsed) {
      const time = new Date(lastUsed);
      await Promise.all(names.map((name) => utimes(fileOf(name), time, time).catch(unlessMissing)));
    },

    async delete(names) {
      // A file that somebody else is reading can stay on Windows; it is deleted another time.
      await Promise.all(names.map((name) => rm(fileOf(name), { force: true }).catch(unlessInUse)));
      const emptied = new Set(names.map(({ root }) => root));
      await Promise.all([...emptied].map((root) => rmdir(folderOf(root)).catch(unlessNotEmpty)));
    },

    async clear() {
      const entries = (await Promise.all((await roots()).map(entriesOf))).flat();
      for (const root of await roots()) await rm(folderOf(root), { recursive: true, force: true, maxRetries: 3 });
      return { freedBytes: entries.reduce((sum, { bytes }) => sum + bytes, 0) };
    },
  };
}

/** What comes over a wire is no path: throws `bad-argument` for anything but 32 hexadecimal digits. */
function checked(key: string): string {
  if (KEY.test(key)) return key;
  throw new EngineError("bad-argument", `"${key}" is no key of a prefix`, "report it with the log");
}

function checkedPage(page: number): number {
  if (Number.isSafeInteger(page) && page >= 0 && page < 1e9) return page;
  throw new EngineError("bad-argument", `${page} is no page of a prefix`, "report it with the log");
}

/** Windows refuses to replace a file that is open; it has the same bytes then. */
async function renameOver(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!hasCode(error, "EPERM", "EACCES", "EBUSY") || (await stat(to).catch(unlessMissing)) === undefined) throw error;
    await rm(from, { force: true });
  }
}

/** Removes an unfinished file that nobody finishes any more. */
async function sweep(file: string): Promise<void> {
  const facts = await stat(file).catch(unlessMissing);
  if (facts !== undefined && Date.now() - facts.mtimeMs > STALE_MS) await rm(file, { force: true });
}

function refused(error: unknown): EngineError {
  const because = error instanceof Error ? error.message : String(error);
  const remedy = "make room on the disk, or lower longContext.prefixCache.maxGiB";
  return new EngineError("storage-failed", `a page of a prefix was not kept: ${because}`, remedy);
}

function unlessMissing(error: unknown): undefined {
  if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
  throw error;
}

function unlessInUse(error: unknown): undefined {
  if (hasCode(error, "ENOENT", "ENOTDIR", "EPERM", "EACCES", "EBUSY")) return undefined;
  throw error;
}

function unlessNotEmpty(error: unknown): undefined {
  if (hasCode(error, "ENOENT", "ENOTEMPTY", "EEXIST", "EPERM", "EBUSY")) return undefined;
  throw error;
}

function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.some((code) => code === error.code);
}
