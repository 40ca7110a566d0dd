import type { Level, LevelMap } from "../../engine/pack/levels.ts";

/** A file with the level it has after a fit. `pinned`: not by the fit, so that it needs no key of the fit's. */
export interface FittedFile {
  path: string;
  level: Level;
  pinned: boolean;
}

interface Folder {
  /** Ends in "/"; "" is everything. */
  path: string;
  folders: Map<string, Folder>;
  files: FittedFile[];
  /** The level of all files below; undefined where they differ. */
  common: Level | undefined;
  count: number;
}

/**
 * The fewest keys that say what a fit decided: none for files that are whole, which they are anyway, and one for a folder in which all files have
 * the same level. A file that comes into such a folder later has that level too; elsewhere it is whole until somebody decides.
 */
export function fittedLevels(files: readonly FittedFile[]): LevelMap {
  const root = newFolder("");
  for (const file of files) folderOf(root, file.path).files.push(file);
  settle(root);
  const levels: Record<string, Level> = {};
  collect(root, levels);
  return levels;
}

/** Names such as "git:log" and "untitled:Untitled-1" lie in no folder. */
function folderOf(root: Folder, path: string): Folder {
  if (/^(git|untitled):/.test(path)) return root;
  let folder = root;
  for (const name of path.split("/").slice(0, -1)) {
    let below = folder.folders.get(name);
    if (!below) {
      below = newFolder(`${folder.path}${name}/`);
      folder.folders.set(name, below);
    }
    folder = below;
  }
  return folder;
}

function newFolder(path: string): Folder {
  return { path, folders: new Map(), files: [], common: undefined, count: 0 };
}

function settle(folder: Folder): void {
  const below = [...folder.folders.values()];
  for (const one of below) settle(one);
  const levels = new Set([...below.map(({ common }) => common), ...folder.files.map(({ level }) => level)]);
  const [only] = levels;
  folder.common = levels.size === 1 ? only : undefined;
  folder.count = below.reduce((sum, { count }) => sum + count, folder.files.length);
}

function collect(folder: Folder, levels: Record<string, Level>): void {
  const { path, common, count } = folder;
  // The whole workspace at one level would hide every new file.
  if (common !== undefined && common !== "full" && count > 1 && path !== "" && !allPinned(folder)) {
    levels[path] = common;
    return;
  }
  for (const { path: file, level, pinned } of folder.files) if (!pinned && level !== "full") levels[file] = level;
  for (const below of folder.folders.values()) collect(below, levels);
}

function allPinned({ files, folders }: Folder): boolean {
  return files.every(({ pinned }) => pinned) && [...folders.values()].every(allPinned);
}
