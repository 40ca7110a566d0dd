import type { Dirent } from "node:fs";
import { lstat, readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";
import { type IgnoreLayer, ignoredBy, ignoreFileNames, ignoreLayer, layersInside } from "./ignoreRules.ts";
import type { ExcludedRow } from "./requests.ts";
import { below, insideOf, type Root } from "./roots.ts";

/** Larger files are lock files, data and generated code far more often than something to ask about. */
export const maxFileBytes = 1024 * 1024;

/** A file worth reading: nothing about its name, kind or size speaks against it. */
export interface FoundFile {
  /** Path in the workspace, with "/". */
  path: string;
  absolute: string;
  sizeBytes: number;
}

export interface Walk {
  files: FoundFile[];
  excluded: ExcludedRow[];
}

export interface WalkOptions {
  /** Only this file or folder below the root (path with "/"); by default everything. */
  under?: string;
  /** Other workspace folders, which are walked on their own. */
  otherRoots?: readonly Root[];
  signal?: AbortSignal;
}

/** Folders left out whatever the ignore files say, and why. */
const skippedFolders = new Map([
  [".git", "git's own data"],
  ["node_modules", "installed packages"],
]);

/**
 * Lists the files under a root as git would see them: nested .gitignore files with negation, the ones above the root inside
 * the same repository, .git/info/exclude, and .longcontextignore beside them. Symbolic links are not followed. Everything left out
 * is a row with its reason (a folder is one row, its path ending in "/"). Sorted by path. Throws `no-such-folder`.
 */
export async function walkRoot(root: Root, options: WalkOptions = {}): Promise<Walk> {
  await requireFolder(root.folder);
  const walk: Walk = { files: [], excluded: [] };
  const top = await layersAbove(root.folder);
  if (options.under === undefined || options.under === "") await walkFolder(root, "", top, options, walk);
  else await walkUnder(root, options.under, top, options, walk);
  return { files: walk.files.sort(byPath), excluded: walk.excluded.sort(byPath) };
}

/** Throws `no-such-folder` where there is none, or where it is a file. */
export async function requireFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory()) return;
  const what = found ? "is a file, not a folder" : "does not exist";
  throw new EngineError("no-such-folder", `"${folder}" ${what}`, "give the path of a folder", { folder });
}

/** Order of every list: by code units, the same on every machine and locale. */
export function byPath(a: { path: string }, b: { path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

async function walkFolder(
  root: Root,
  folder: string,
  above: readonly IgnoreLayer[],
  options: WalkOptions,
  walk: Walk,
): Promise<void> {
  throwIfAborted(options.signal);
  let entries: Dirent[];
  try {
    entries = await readdir(below(root, folder), { withFileTypes: true });
  } catch (error) {
    walk.excluded.push({ path: `${root.prefix}${folder}/`, reason: unreadable(error) });
    return;
  }
  const layers = [...above, ...(await ownLayers(root, folder, entries))];
  for (const entry of entries) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    await walkEntry(root, path, entry, layers, options, walk);
  }
}

/** One entry whose parent folders are part of the workspace. */
async function walkEntry(
  root: Root,
  path: string,
  entry: Pick<Dirent, "name" | "isDirectory" | "isFile" | "isSymbolicLink">,
  layers: readonly IgnoreLayer[],
  options: WalkOptions,
  walk: Walk,
): Promise<void> {
  const absolute = below(root, path);
  if (entry.isDirectory()) {
    const reason = folderReason(absolute, entry.name, options) ?? ignoredBy(layers, path, true);
    if (reason === undefined) await walkFolder(root, path, layersInside(layers, path), options, walk);
    else walk.excluded.push({ path: `${root.prefix}${path}/`, reason });
    return;
  }
  const ignored = entry.name === ".git" ? skippedFolders.get(entry.name) : ignoredBy(layers, path, false);
  const kind = entry.isSymbolicLink() ? "symbolic link; not followed" : entry.isFile() ? undefined : "not a regular file";
  const reason = ignored ?? kind;
  if (reason !== undefined) {
    walk.excluded.push({ path: root.prefix + path, reason });
    return;
  }
  try {
    const { size } = await lstat(absolute);
    if (size > maxFileBytes) walk.excluded.push({ path: root.prefix + path, reason: `larger than 1 MiB (${mebibytes(size)})` });
    else walk.files.push({ path: root.prefix + path, absolute, sizeBytes: size });
  } catch (error) {
    walk.excluded.push({ path: root.prefix + path, reason: unreadable(error) });
  }
}

/** Only `under`, with every rule of the folders on the way; the row of the folder where one of them is left out. */
async function walkUnder(
  root: Root,
  under: string,
  top: readonly IgnoreLayer[],
  options: WalkOptions,
  walk: Walk,
): Promise<void> {
  const parts = under.split("/");
  let layers = [...top];
  for (let depth = 0; depth < parts.length; depth++) {
    throwIfAborted(options.signal);
    const name = parts[depth] ?? "";
    const folder = parts.slice(0, depth).join("/");
    const path = parts.slice(0, depth + 1).join("/");
    const found = await lstat(below(root, path)).catch(() => undefined);
    if (!found) return;
    const siblings = await readdir(below(root, folder), { withFileTypes: true });
    layers.push(...(await ownLayers(root, folder, siblings)));
    if (depth === parts.length - 1) {
      await walkEntry(root, path, namedEntry(name, found), layers, options, walk);
      return;
    }
    if (!found.isDirectory()) return;
    const reason = folderReason(below(root, path), name, options) ?? ignoredBy(layers, path, true);
    if (reason !== undefined) {
      walk.excluded.push({ path: `${root.prefix}${path}/`, reason });
      return;
    }
    layers = layersInside(layers, path);
  }
}

function namedEntry(
  name: string,
  stats: Awaited<ReturnType<typeof lstat>>,
): Pick<Dirent, "name" | "isDirectory" | "isFile" | "isSymbolicLink"> {
  return {
    name,
    isDirectory: () => stats.isDirectory(),
    isFile: () => stats.isFile(),
    isSymbolicLink: () => stats.isSymbolicLink(),
  };
}

function folderReason(absolute: string, name: string, options: WalkOptions): string | undefined {
  if (options.otherRoots?.some(({ folder }) => folder === absolute)) return "another folder of the workspace";
  return skippedFolders.get(name);
}

/** Rules that a folder's own ignore files add; links are not followed, as git does not either. */
async function ownLayers(root: Root, folder: string, entries: readonly Dirent[]): Promise<IgnoreLayer[]> {
  const layers: IgnoreLayer[] = [];
  for (const name of ignoreFileNames) {
    if (!entries.some((entry) => entry.name === name && entry.isFile())) continue;
    const path = folder === "" ? name : `${folder}/${name}`;
    const text = await readFile(below(root, path), "utf8").catch(() => undefined);
    if (text !== undefined) layers.push(ignoreLayer({ folder }, root.prefix + path, text));
  }
  return layers;
}

/**
 * Rules from outside the root: .git/info/exclude and the .gitignore files between the top of the repository and the root.
 * Their patterns are tried with the root's path in front. None, where they ignore the root itself: who opens an ignored folder means it.
 */
async function layersAbove(folder: string): Promise<IgnoreLayer[]> {
  const top = await repositoryTop(folder);
  if (top === undefined) return [];
  const outer: { layer: IgnoreLayer; rootIgnored: boolean }[] = [];
  const exclude = await readFile(join(top, ".git", "info", "exclude"), "utf8").catch(() => undefined);
  const inner = insideOf(top, folder) ?? "";
  const parts = inner === "" ? [] : inner.split("/");
  if (exclude !== undefined) outer.push(outerLayer(parts, ".git/info/exclude", exclude));
  for (let depth = 0; depth < parts.length; depth++) {
    const text = await readFile(join(top, ...parts.slice(0, depth), ".gitignore"), "utf8").catch(() => undefined);
    if (text !== undefined) outer.push(outerLayer(parts.slice(depth), `${"../".repeat(parts.length - depth)}.gitignore`, text));
  }
  return outer.some(({ rootIgnored }) => rootIgnored) ? [] : outer.map(({ layer }) => layer);
}

/** A layer whose file lies the folders `down` above the root, and whether it ignores the root itself. */
function outerLayer(down: readonly string[], source: string, text: string): { layer: IgnoreLayer; rootIgnored: boolean } {
  const front = down.map((name) => `${name}/`).join("");
  const layer = ignoreLayer({ folder: "", front }, source, text);
  return { layer, rootIgnored: front !== "" && layer.matcher.test(front).ignored };
}

async function repositoryTop(folder: string): Promise<string | undefined> {
  for (let at = folder; ; at = dirname(at)) {
    if (await stat(join(at, ".git")).catch(() => undefined)) return at;
    if (dirname(at) === at) return undefined;
  }
}

/** Reason for a file or folder that the system refuses to read. */
export function unreadable(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return `cannot be read (${code})`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
