import { lstatSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { throwIfAborted } from "../../engine/errors.ts";
import type { ConfigPlace } from "./gitConfig.ts";
import { fileTypeMask, folderType, type IndexEntries, isIgnoreFile, readIndexFile, submoduleType } from "./gitIndexFile.ts";
import { GitObjects } from "./gitObjects.ts";
import { byteString, foldCase } from "./globs.ts";
import { sortInSlices } from "./slicedSort.ts";

/** The paths that git tracks, below the top of the working tree, one character per byte, and what is asked of them. */
export interface GitIndex {
  /** Why the index could not be read, or not all of it; what it did not tell counts as untracked. */
  problem: string | undefined;
  tracks(path: string): boolean;
  /** Whether anything below the folder is tracked; no "/" at its end. */
  tracksBelow(folder: string): boolean;
  isSubmodule(folder: string): boolean;
  /**
   * Rules of an ignore file that git tracks and that is not checked out; git reads them from its objects. An object that is missing is told.
   */
  skippedRules(path: string): Buffer | "missing" | undefined;
}

/** Indexes read last, by path: looking at one changed file again must not read what git tracks again. */
const lastRead = new Map<string, { version: string; index: GitIndex }>();
const keptIndexes = 4;

const nothing: IndexEntries = { names: [], submodules: new Set(), skippedRules: new Map(), sparseFolders: new Map() };

export const noIndex: GitIndex = indexOf(nothing, undefined, false, undefined);

/**
 * Reads the index of a repository: versions 2, 3 and 4, split and sparse ones. Other work goes on meanwhile. A missing one is empty.
 * Throws `aborted`.
 */
export async function readGitIndex(
  place: ConfigPlace,
  objectIdBytes: number,
  ignoreCase: boolean,
  signal?: AbortSignal,
): Promise<GitIndex> {
  try {
    const path = join(place.gitFolder, "index");
    const { size, mtimeMs, ctimeMs, ino } = await stat(path);
    // Git replaces the file as a whole, so that its inode and times change with it.
    const version = [size, mtimeMs, ctimeMs, ino, objectIdBytes, ignoreCase].join();
    const known = lastRead.get(path);
    if (known?.version === version) return known.index;
    lastRead.delete(path);
    const entries = await readIndexFile(place.gitFolder, "index", objectIdBytes, signal);
    const { skippedRules, sparseFolders } = entries;
    const needsObjects = skippedRules.size + sparseFolders.size > 0;
    const objects = needsObjects ? new GitObjects(join(place.commonFolder, "objects"), objectIdBytes) : undefined;
    const isSparse = sparseFolders.size > 0;
    const problem = objects && expandSparseFolders(entries, place.top, objects);
    const index = indexOf(await inOrder(entries, ignoreCase, signal), objects, ignoreCase, problem);
    // What of a sparse folder is on disk may change while the index does not.
    if (!isSparse) lastRead.set(path, { version, index });
    for (const oldest of [...lastRead.keys()].slice(0, -keptIndexes)) lastRead.delete(oldest);
    return index;
  } catch (error) {
    throwIfAborted(signal);
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return noIndex;
    const problem = error instanceof Error ? error.message : String(error);
    return { ...noIndex, problem: `git's index cannot be read (${problem}): ignored files count as untracked` };
  }
}

/** The entries with their names sorted, and in lower case where case is ignored. */
async function inOrder(entries: IndexEntries, ignoreCase: boolean, signal: AbortSignal | undefined): Promise<IndexEntries> {
  const pause = async (): Promise<void> => {
    await nextTurn();
    throwIfAborted(signal);
  };
  const names = ignoreCase ? await foldAll(entries.names, pause) : entries.names;
  // Git sorts by bytes, but for folding and for what a split or a sparse index adds.
  const isSorted = names.every((name, at) => at === 0 || name >= (names[at - 1] ?? ""));
  const sorted = isSorted ? names : await sortInSlices(names, pause);
  if (!ignoreCase) return { ...entries, names: sorted };
  const skippedRules = new Map([...entries.skippedRules].map(([path, id]) => [foldCase(path), id]));
  return { ...entries, names: sorted, submodules: new Set([...entries.submodules].map(foldCase)), skippedRules };
}

const foldedAtOnce = 8192;

async function foldAll(names: readonly string[], pause: () => Promise<void>): Promise<string[]> {
  const folded: string[] = [];
  for (const name of names) if (folded.push(foldCase(name)) % foldedAtOnce === 0) await pause();
  return folded;
}

/** `entries` are in order, and in lower case where case is ignored. */
function indexOf(
  { names, submodules, skippedRules }: IndexEntries,
  objects: GitObjects | undefined,
  ignoreCase: boolean,
  problem: string | undefined,
): GitIndex {
  const key = (path: string): string => (ignoreCase ? foldCase(path) : path);
  return {
    problem,
    tracks: (path) => names[firstFrom(names, key(path))] === key(path),
    tracksBelow: (folder) => names[firstFrom(names, `${key(folder)}/`)]?.startsWith(`${key(folder)}/`) ?? false,
    isSubmodule: (folder) => submodules.size > 0 && submodules.has(key(folder)),
    skippedRules: (path) => {
      const id = skippedRules.size > 0 ? skippedRules.get(key(path)) : undefined;
      if (id === undefined) return undefined;
      const found = objects?.read(id);
      return found?.type === "blob" ? found.content : "missing";
    },
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

/**
 * Adds what git tracks in the folders of a sparse index that are on disk all the same, as git does. Returns why it could not for all of them.
 */
function expandSparseFolders(entries: IndexEntries, top: string, objects: GitObjects): string | undefined {
  let problem: string | undefined;
  const open = [...entries.sparseFolders];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [folder, id] = next;
    if (!isFolder(top, folder)) continue;
    const tree = objects.readTree(id);
    if (!tree)
      problem =
        "an object of git's sparse index is missing: ignored files in folders that are not checked out count as untracked";
    for (const { mode, name, id: below } of tree ?? []) {
      const path = folder + name;
      if ((mode & fileTypeMask) === folderType) {
        entries.names.push(`${path}/`);
        open.push([`${path}/`, below]);
        continue;
      }
      entries.names.push(path);
      if ((mode & fileTypeMask) === submoduleType) entries.submodules.add(path);
      else if (isIgnoreFile(path)) entries.skippedRules.set(path, below);
    }
  }
  return problem;
}

/** Whether a path of the index is a folder on disk; it has one character per byte. */
function isFolder(top: string, folder: string): boolean {
  const path = Buffer.from(`${byteString(top)}/${folder.slice(0, -1)}`, "latin1");
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  } catch {
    // A file stands in the place of a folder above it.
    return false;
  }
}
