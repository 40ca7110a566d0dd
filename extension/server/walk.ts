import { type Dirent, lstatSync, readdirSync } from "node:fs";
import { readFile, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import ignore, { type Ignore } from "ignore";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";
import { findRepository, type Repository } from "./gitConfig.ts";
import { nothingTracked, readTracked, type TrackedPaths } from "./gitIndex.ts";
import { type IgnoreLayer, ignoredBy, ignoreFileNames, ignoreLayer, layersInside } from "./ignoreRules.ts";
import type { ExcludedRow, ExclusionKind } from "./requests.ts";
import { below, insideOf, type Root } from "./roots.ts";

/** Larger files are lock files, data and generated code far more often than something to ask about. */
export const defaultMaxFileBytes = 1024 * 1024;
/** Files of one root that are looked at; the rest is one row. */
export const defaultMaxFiles = 500_000;

/** A file worth reading: nothing about its name, kind or size speaks against it. */
export interface FoundFile {
  /** Path in the workspace, with "/". */
  path: string;
  absolute: string;
  sizeBytes: number;
  /** Last change in milliseconds since 1970, with fractions where the file system has them. */
  mtimeMs: number;
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
  /** Only files that one of these patterns matches, in the syntax of .gitignore; empty: all. */
  include?: readonly string[];
  maxFileBytes?: number;
  maxFiles?: number;
  signal?: AbortSignal;
  /** Entries looked at so far, a few times a second. */
  onProgress?(entries: number): void;
}

/** Folders left out whatever the ignore files say, and why. */
const skippedFolders = new Map<string, { reason: string; kind: ExclusionKind }>([
  [".git", { reason: "git's own data", kind: "git-data" }],
  ["node_modules", { reason: "installed packages", kind: "installed-packages" }],
]);

/** Time that other work of the process waits for a walk. */
const SLICE_MS = 10;

/**
 * Lists the files under a root as git would see them: nested .gitignore files with negation, the ones above the root inside
 * the same repository, info/exclude, the user's global excludes, tracked files whatever is ignored, submodules and nested repositories as rows;
 * and .longcontextignore, which also rules over tracked files. Symbolic links are not followed and nothing is run. Everything left out
 * is a row with its reason (a folder is one row, its path ending in "/"). Sorted by path. Throws `no-such-folder` and `aborted`.
 */
export async function walkRoot(root: Root, options: WalkOptions = {}): Promise<Walk> {
  await requireFolder(root.folder);
  throwIfAborted(options.signal);
  const walker = await Walker.open(root, options);
  if (options.under === undefined || options.under === "") await walker.folder("", walker.top, undefined);
  else await walker.under(options.under);
  return walker.finish();
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

type Kind = Pick<Dirent, "name" | "isDirectory" | "isFile" | "isSymbolicLink">;

class Walker {
  private readonly walk: Walk = { files: [], excluded: [] };
  private readonly included: Ignore | undefined;
  private readonly maxFileBytes: number;
  private readonly maxFiles: number;
  private entries = 0;
  private unseen = 0;
  private sliceEndMs = performance.now() + SLICE_MS;

  private constructor(
    private readonly root: Root,
    private readonly options: WalkOptions,
    /** Rules from outside the root, weakest first. */
    readonly top: readonly IgnoreLayer[],
    private readonly tracked: TrackedPaths,
    /** The root's path in its repository, ending in "/", or "". */
    private readonly inRepository: string,
    private readonly ignoreCase: boolean,
  ) {
    const { include = [] } = options;
    this.included = include.length === 0 ? undefined : ignore().add([...include]);
    this.maxFileBytes = options.maxFileBytes ?? defaultMaxFileBytes;
    this.maxFiles = options.maxFiles ?? defaultMaxFiles;
  }

  static async open(root: Root, options: WalkOptions): Promise<Walker> {
    const repository = await findRepository(root.folder);
    // Without a repository nothing says whether case counts; the file system's habit is git's own default.
    const ignoreCase = repository?.ignoreCase ?? (process.platform === "win32" || process.platform === "darwin");
    if (!repository) return new Walker(root, options, [], nothingTracked, "", ignoreCase);
    const inner = insideOf(repository.top, root.folder) ?? "";
    const tracked = await readTracked(repository.gitFolder, repository.hashBytes).catch(() => undefined);
    const walker = new Walker(
      root,
      options,
      await layersAbove(repository, inner),
      tracked ?? nothingTracked,
      inner === "" ? "" : `${inner}/`,
      ignoreCase,
    );
    if (!tracked) {
      walker.exclude(".git/", {
        reason: "its index cannot be read: tracked files that are ignored are missing",
        kind: "unreadable",
      });
    }
    return walker;
  }

  finish(): Walk {
    if (this.unseen > 0) {
      const reason = `${this.unseen.toLocaleString("en-US")} more files were not looked at (at most ${this.maxFiles.toLocaleString("en-US")}); open a smaller folder`;
      this.exclude("*", { reason, kind: "too-many-files" });
    }
    return { files: this.walk.files.sort(byPath), excluded: this.walk.excluded.sort(byPath) };
  }

  /** `ignored`: why everything in here is ignored that git does not track. */
  async folder(folder: string, above: readonly IgnoreLayer[], ignored: string | undefined): Promise<void> {
    let entries: Dirent[];
    try {
      entries = readdirSync(below(this.root, folder), { withFileTypes: true });
    } catch (error) {
      this.exclude(`${folder}/`, { reason: unreadable(error), kind: "unreadable" });
      return;
    }
    const layers = [...above, ...(await this.ownLayers(folder, entries))];
    for (const entry of entries) {
      await this.breathe();
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) await this.subfolder(path, entry.name, layers, ignored);
      else await this.file(path, entry, layers, ignored);
    }
  }

  /** Only this path, with every rule of the folders on the way; the row of the folder where one of them is left out. */
  async under(under: string): Promise<void> {
    const parts = under.split("/");
    let layers = [...this.top];
    let ignored: string | undefined;
    for (let depth = 0; depth < parts.length; depth++) {
      await this.breathe();
      const name = parts[depth] ?? "";
      const folder = parts.slice(0, depth).join("/");
      const path = parts.slice(0, depth + 1).join("/");
      const found = lstatOf(below(this.root, path));
      if (!found) return;
      layers.push(...(await this.ownLayers(folder, readdirSync(below(this.root, folder), { withFileTypes: true }))));
      if (depth === parts.length - 1) {
        if (found.isDirectory()) await this.subfolder(path, name, layers, ignored);
        else await this.file(path, named(name, found), layers, ignored);
        return;
      }
      if (!found.isDirectory()) return;
      const left = this.folderLeftOut(path, name);
      ignored ??= ignoredBy(layers, path, true);
      if (left || (ignored !== undefined && !this.tracked.hasBelow(this.inRepository + path))) {
        this.exclude(`${path}/`, left ?? { reason: ignored ?? "", kind: "ignored" });
        return;
      }
      layers = layersInside(layers, path);
    }
  }

  private async subfolder(
    path: string,
    name: string,
    layers: readonly IgnoreLayer[],
    ignored: string | undefined,
  ): Promise<void> {
    const left = this.folderLeftOut(path, name);
    if (left) {
      this.exclude(`${path}/`, left);
      return;
    }
    const because = ignored ?? ignoredBy(layers, path, true);
    // Our own file may leave out what git tracks, and then as a whole.
    const ours = ignoredBy(ownOnly(layers), path, true);
    if (ours !== undefined || (because !== undefined && !this.tracked.hasBelow(this.inRepository + path))) {
      this.exclude(`${path}/`, { reason: ours ?? because ?? "", kind: "ignored" });
      return;
    }
    await this.folder(path, layersInside(layers, path), because);
  }

  private async file(path: string, entry: Kind, layers: readonly IgnoreLayer[], ignored: string | undefined): Promise<void> {
    const skipped = entry.name === ".git" ? skippedFolders.get(entry.name) : undefined;
    if (skipped) {
      this.exclude(path, skipped);
      return;
    }
    const rules = this.tracked.has(this.inRepository + path) ? ownOnly(layers) : layers;
    const because = ignoredBy(rules, path, false) ?? (rules === layers ? ignored : undefined);
    if (because !== undefined) {
      this.exclude(path, { reason: because, kind: "ignored" });
      return;
    }
    if (entry.isSymbolicLink()) {
      const target = await readlink(below(this.root, path)).catch(() => "?");
      this.exclude(path, { reason: `symbolic link to ${target}; not followed`, kind: "symlink" });
    } else if (!entry.isFile()) {
      this.exclude(path, { reason: "not a regular file", kind: "unreadable" });
    } else if (this.included && !this.included.ignores(path)) {
      this.exclude(path, { reason: "no pattern of the setting include matches it", kind: "not-included" });
    } else this.regularFile(path);
  }

  private regularFile(path: string): void {
    if (this.walk.files.length >= this.maxFiles) {
      this.unseen++;
      return;
    }
    const absolute = below(this.root, path);
    try {
      const { size, mtimeMs } = lstatSync(absolute);
      if (size > this.maxFileBytes) {
        const reason = `larger than ${mebibytes(this.maxFileBytes)} MiB (${mebibytes(size)} MiB)`;
        this.exclude(path, { reason, kind: "too-large" });
      } else this.walk.files.push({ path: this.root.prefix + path, absolute, sizeBytes: size, mtimeMs });
    } catch (error) {
      this.exclude(path, { reason: unreadable(error), kind: "unreadable" });
    }
  }

  private folderLeftOut(path: string, name: string): { reason: string; kind: ExclusionKind } | undefined {
    const absolute = below(this.root, path);
    if (this.options.otherRoots?.some(({ folder }) => folder === absolute))
      return { reason: "another folder of the workspace", kind: "other-root" };
    if (this.tracked.isSubmodule(this.inRepository + path))
      return { reason: "a submodule; open it as a folder of the workspace to count it", kind: "submodule" };
    const skipped = skippedFolders.get(name);
    if (skipped && (name === ".git" || !this.tracked.hasBelow(this.inRepository + path))) return skipped;
    if (name !== ".git" && lstatOf(join(absolute, ".git"))) {
      return { reason: "a repository of its own; open it as a folder of the workspace to count it", kind: "submodule" };
    }
    return undefined;
  }

  /** Rules that a folder's own ignore files add; links are not followed, as git does not either. */
  private async ownLayers(folder: string, entries: readonly Dirent[]): Promise<IgnoreLayer[]> {
    const layers: IgnoreLayer[] = [];
    for (const name of ignoreFileNames) {
      if (!entries.some((entry) => entry.name === name && entry.isFile())) continue;
      const path = folder === "" ? name : `${folder}/${name}`;
      const text = await readFile(below(this.root, path), "utf8").catch(() => undefined);
      if (text !== undefined) layers.push(ignoreLayer({ folder, ignoreCase: this.ignoreCase }, this.root.prefix + path, text));
    }
    return layers;
  }

  private exclude(path: string, row: { reason: string; kind: ExclusionKind }): void {
    this.walk.excluded.push({ path: this.root.prefix + path, ...row });
  }

  /** File system calls here are synchronous, which is several times faster; now and then everything else gets its turn. */
  private async breathe(): Promise<void> {
    this.entries++;
    if (performance.now() < this.sliceEndMs) return;
    this.options.onProgress?.(this.entries);
    await new Promise<void>((resume) => setImmediate(resume));
    throwIfAborted(this.options.signal);
    this.sliceEndMs = performance.now() + SLICE_MS;
  }
}

function ownOnly(layers: readonly IgnoreLayer[]): IgnoreLayer[] {
  return layers.filter(({ ofGit }) => !ofGit);
}

function lstatOf(absolute: string): ReturnType<typeof lstatSync> {
  return lstatSync(absolute, { throwIfNoEntry: false });
}

function named(name: string, stats: NonNullable<ReturnType<typeof lstatSync>>): Kind {
  return {
    name,
    isDirectory: () => stats.isDirectory(),
    isFile: () => stats.isFile(),
    isSymbolicLink: () => stats.isSymbolicLink(),
  };
}

/**
 * Rules from outside the root: global excludes, info/exclude and the .gitignore files between the top of the repository and the root.
 * Their patterns are tried with the root's path in front. None, where they ignore the root itself: who opens an ignored folder means it.
 */
async function layersAbove(repository: Repository, inner: string): Promise<IgnoreLayer[]> {
  const { top, commonFolder, globalExcludes, ignoreCase } = repository;
  const outer: { layer: IgnoreLayer; rootIgnored: boolean }[] = [];
  const exclude = await readFile(join(commonFolder, "info", "exclude"), "utf8").catch(() => undefined);
  const parts = inner === "" ? [] : inner.split("/");
  if (globalExcludes) outer.push(outerLayer(parts, globalExcludes.source, globalExcludes.text, ignoreCase));
  if (exclude !== undefined) outer.push(outerLayer(parts, ".git/info/exclude", exclude, ignoreCase));
  for (let depth = 0; depth < parts.length; depth++) {
    const text = await readFile(join(top, ...parts.slice(0, depth), ".gitignore"), "utf8").catch(() => undefined);
    const source = `${"../".repeat(parts.length - depth)}.gitignore`;
    if (text !== undefined) outer.push(outerLayer(parts.slice(depth), source, text, ignoreCase));
  }
  return outer.some(({ rootIgnored }) => rootIgnored) ? [] : outer.map(({ layer }) => layer);
}

/** A layer whose file lies the folders `down` above the root, and whether it ignores the root itself. */
function outerLayer(
  down: readonly string[],
  source: string,
  text: string,
  ignoreCase: boolean,
): { layer: IgnoreLayer; rootIgnored: boolean } {
  const front = down.map((name) => `${name}/`).join("");
  const layer = ignoreLayer({ folder: "", front, ignoreCase }, source, text);
  return { layer, rootIgnored: front !== "" && layer.matcher.test(front).ignored };
}

/** Reason for a file or folder that the system refuses to read. */
export function unreadable(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return `cannot be read (${code})`;
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1).replace(/\.0$/, "");
}
