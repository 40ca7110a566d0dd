import type { Level, LineRange } from "../../engine/pack/levels.ts";
import { Duplicates } from "./duplicates.ts";
import type { ExcludedRow, FileMark } from "./requests.ts";

/** A counted file, an open editor without a file, or a piece of git's knowledge. */
export interface CountedEntry {
  /** Path in the workspace; of git's rows "git:…", of editors without a file "untitled:…". */
  path: string;
  kind: "file" | "git";
  /** What git's rows are called, and in one line what they show. */
  name?: string;
  remark?: string;
  /** On this machine's disk; "" where it is not there. */
  absolute: string;
  sizeBytes: number;
  mtimeMs: number;
  /** sha256 of the bytes; "" while the tokens are an estimate. */
  hash: string;
  /** Tokens of its text as it is, and of its body in a pack, where every line ends in one line feed. */
  tokens: number;
  bodyTokens: number;
  /** Tokens of the line that names it in a pack. */
  nameTokens: number;
  marks: readonly FileMark[];
  /** The tokens are an estimate. */
  approximate: boolean;
  /** See IndexEntry. */
  racy: boolean;
  /** What is left of it at the level `outline`; undefined until somebody asks. */
  outline?: KnownOutline;
}

/** Lines that the outline keeps, their tokens and the names they define (see `nameId`); or why there is no outline. */
export type KnownOutline =
  { tokens: number; lines: readonly LineRange[]; definitions: Int32Array<ArrayBuffer> } | { reason: string };

/** An entry with the level it has by the selection, and what it costs there. */
export interface LeveledEntry {
  readonly entry: CountedEntry;
  readonly level: Level;
  /** What it costs in the pack: the line that names it, and what its level leaves of its body. */
  readonly packTokens: number;
  /** Entry or level is not settled yet. */
  readonly approximate: boolean;
}

/** Sums over the files below a folder. */
export interface Sums {
  files: number;
  includedFiles: number;
  approximateFiles: number;
  bytes: number;
  /** Tokens of the texts as they are. */
  fullTokens: number;
  packTokens: number;
  /** Files by level. */
  levels: Record<Level, number>;
}

export interface FolderNode {
  /** Ends in "/"; "" is the workspace. */
  readonly path: string;
  readonly parent: FolderNode | undefined;
  readonly folders: Map<string, FolderNode>;
  readonly files: Map<string, LeveledEntry>;
  /** Rows that are not counted, by their own path. */
  readonly excluded: Map<string, ExcludedRow>;
  readonly sums: Sums;
  /** Newest change of a file below, where it is known; see `newestBelow`. */
  newestMs: number | undefined;
}

/** All rows of a workspace as a tree; the sums of every folder are current after each change, at the cost of its depth. */
export class BudgetTable {
  readonly root: FolderNode = newFolder("", undefined);
  /** Git's rows: they cost tokens where they are chosen, but are no files of the workspace. */
  readonly git: FolderNode = newFolder("", undefined);
  excludedRows = 0;
  /** Made when somebody first asks: a large workspace is shown sooner without. */
  private copies: Duplicates | undefined;
  /** The folder of the last entry that was put; never one that is no longer in the table. */
  private recent = this.root;
  /** All folders below the root, by path. */
  private readonly folders = new Map<string, FolderNode>();

  /** `levelOf` says the level of an entry by the selection of now. */
  constructor(private readonly levelOf: (entry: CountedEntry) => Level) {}

  put(entry: CountedEntry): void {
    const folder = this.home(entry);
    const before = folder.files.get(entry.path);
    if (before) this.takeOut(folder, before);
    const leveled = this.leveled(entry);
    folder.files.set(entry.path, leveled);
    addUp(folder, leveled, 1);
    this.copies?.add(entry.hash, entry.path);
  }

  putExcluded(row: ExcludedRow): void {
    const { excluded } = this.folderFor(parentPath(row.path));
    if (!excluded.has(row.path)) this.excludedRows++;
    excluded.set(row.path, row);
  }

  file(path: string): LeveledEntry | undefined {
    if (isGitPath(path)) return this.git.files.get(path);
    return this.folder(homePath(path))?.files.get(path);
  }

  excludedRow(path: string): ExcludedRow | undefined {
    return this.folder(parentPath(path))?.excluded.get(path);
  }

  /** Rows of a path (without "/" at its end) and of all below it. */
  excludedBelow(path: string): ExcludedRow[] {
    const own = [path, `${path}/`].flatMap((key) => this.excludedRow(key) ?? []);
    const folder = this.folder(`${path}/`);
    return folder ? [...own, ...excludedOf(folder)] : own;
  }

  /** The first of several files with the text of this one, where that is another one. */
  originalOf({ hash, path }: CountedEntry): string | undefined {
    this.copies ??= this.findCopies();
    const first = this.copies.firstOf(hash);
    return first === path ? undefined : first;
  }

  /** The folder of a path that ends in "/", or of "". */
  folder(path: string): FolderNode | undefined {
    return path === "" ? this.root : this.folders.get(path);
  }

  /** Removes the file, the folder and the rows of a path (without "/" at its end) and all below it. */
  removeBelow(path: string): void {
    this.remove(path);
    this.removeExcluded(path);
    this.removeExcluded(`${path}/`);
    const folder = this.folder(`${path}/`);
    if (!folder?.parent) return;
    for (const { entry } of filesOf(folder)) this.remove(entry.path);
    for (const row of excludedOf(folder)) this.removeExcluded(row.path);
  }

  remove(path: string): void {
    const folder = isGitPath(path) ? this.git : this.folder(homePath(path));
    const before = folder?.files.get(path);
    if (!folder || !before) return;
    this.takeOut(folder, before);
    folder.files.delete(path);
    this.prune(folder);
  }

  removeExcluded(path: string): void {
    const folder = this.folder(parentPath(path));
    if (!folder?.excluded.delete(path)) return;
    this.excludedRows--;
    this.prune(folder);
  }

  /** Decides the levels below a folder anew, or of one file. */
  relevel(key: string): void {
    const folder = key === "" || key.endsWith("/") ? this.folder(key) : undefined;
    const file = folder ? undefined : this.file(key);
    if (file) this.put(file.entry);
    if (key === "") for (const { entry } of [...this.git.files.values()]) this.put(entry);
    if (folder) for (const { entry } of filesOf(folder)) this.put(entry);
  }

  clear(): void {
    for (const folder of [this.root, this.git]) {
      folder.folders.clear();
      folder.files.clear();
      folder.excluded.clear();
      Object.assign(folder.sums, newSums());
      folder.newestMs = undefined;
    }
    this.excludedRows = 0;
    this.folders.clear();
    this.copies = undefined;
    this.recent = this.root;
  }

  private findCopies(): Duplicates {
    const copies = new Duplicates();
    for (const { entry } of [...filesOf(this.root), ...this.git.files.values()]) copies.add(entry.hash, entry.path);
    return copies;
  }

  /** Folders without anything in them are no rows. */
  private prune(folder: FolderNode): void {
    for (let node = folder; node.parent; node = node.parent) {
      if (node.files.size + node.folders.size + node.excluded.size > 0) return;
      this.recent = this.root;
      node.parent.folders.delete(nameIn(node.parent, node.path));
      this.folders.delete(node.path);
    }
  }

  private takeOut(folder: FolderNode, file: LeveledEntry): void {
    addUp(folder, file, -1);
    this.copies?.remove(file.entry.hash, file.entry.path);
  }

  private leveled(entry: CountedEntry): LeveledEntry {
    const level = this.levelOf(entry);
    const approximate = entry.approximate || (level === "outline" && entry.outline === undefined);
    return { entry, level, packTokens: packTokensAt(entry, level), approximate };
  }

  private home({ kind, path }: CountedEntry): FolderNode {
    if (kind === "git") return this.git;
    // Most entries come folder by folder.
    const { recent } = this;
    if (recent.path !== "" && path.startsWith(recent.path) && !path.includes("/", recent.path.length)) return recent;
    this.recent = this.folderFor(homePath(path));
    return this.recent;
  }

  private folderFor(path: string): FolderNode {
    const known = this.folder(path);
    if (known) return known;
    const parent = this.folderFor(parentPath(path));
    const folder = newFolder(path, parent);
    parent.folders.set(nameIn(parent, path), folder);
    this.folders.set(path, folder);
    return folder;
  }
}

/** Files below a folder, in no order. */
export function filesOf(folder: FolderNode): LeveledEntry[] {
  const files: LeveledEntry[] = [];
  const visit = (node: FolderNode): void => {
    for (const file of node.files.values()) files.push(file);
    for (const below of node.folders.values()) visit(below);
  };
  visit(folder);
  return files;
}

/** Newest change of a file below, in milliseconds since 1970; 0 where there is none. Folders remember it until something below them changes. */
export function newestBelow(folder: FolderNode): number {
  if (folder.newestMs !== undefined) return folder.newestMs;
  let newest = 0;
  for (const { entry } of folder.files.values()) newest = Math.max(newest, entry.mtimeMs);
  for (const below of folder.folders.values()) newest = Math.max(newest, newestBelow(below));
  folder.newestMs = newest;
  return newest;
}

/** Rows below a folder that are not counted, in no order. */
export function excludedOf(folder: FolderNode): ExcludedRow[] {
  const rows: ExcludedRow[] = [];
  const visit = (node: FolderNode): void => {
    for (const row of node.excluded.values()) rows.push(row);
    for (const below of node.folders.values()) visit(below);
  };
  visit(folder);
  return rows;
}

/** What an entry costs in the pack at a level; an outline that was never made is guessed. */
export function packTokensAt({ nameTokens, bodyTokens, outline }: CountedEntry, level: Level): number {
  switch (level) {
    case "full":
      return nameTokens + bodyTokens;
    case "outline":
      if (outline === undefined) return nameTokens + Math.round(bodyTokens * usualOutlineShare);
      return nameTokens + ("tokens" in outline ? outline.tokens : bodyTokens);
    case "name":
      return nameTokens;
    case "excluded":
      return 0;
  }
}

/** Part of its tokens that an outline of code usually keeps. */
const usualOutlineShare = 0.2;

export function isGitPath(path: string): boolean {
  return path.startsWith("git:");
}

/** An editor without a file has no folder, whatever its name looks like. */
export function isUntitledPath(path: string): boolean {
  return path.startsWith("untitled:");
}

function homePath(path: string): string {
  return isUntitledPath(path) ? "" : parentPath(path);
}

/** The folder a path lies in, ending in "/"; "" at the top. */
function parentPath(path: string): string {
  return path.slice(0, path.lastIndexOf("/", path.length - 2) + 1);
}

/** The folder's own name in its parent. */
function nameIn(parent: FolderNode, path: string): string {
  return path.slice(parent.path.length, -1);
}

function addUp(folder: FolderNode, { entry, level, packTokens, approximate }: LeveledEntry, sign: 1 | -1): void {
  for (let node: FolderNode | undefined = folder; node; node = node.parent) {
    const { sums } = node;
    node.newestMs = undefined;
    sums.files += sign;
    if (level !== "excluded") sums.includedFiles += sign;
    if (approximate) sums.approximateFiles += sign;
    sums.bytes += sign * entry.sizeBytes;
    sums.fullTokens += sign * entry.tokens;
    sums.packTokens += sign * packTokens;
    sums.levels[level] += sign;
  }
}

function newFolder(path: string, parent: FolderNode | undefined): FolderNode {
  return { path, parent, folders: new Map(), files: new Map(), excluded: new Map(), sums: newSums(), newestMs: undefined };
}

function newSums(): Sums {
  const levels = { full: 0, outline: 0, name: 0, excluded: 0 };
  return { files: 0, includedFiles: 0, approximateFiles: 0, bytes: 0, fullTokens: 0, packTokens: 0, levels };
}
