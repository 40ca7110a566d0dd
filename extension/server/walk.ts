import { type Dirent, lstatSync, opendirSync, readdirSync, readlinkSync, type Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";
import type { Environment } from "./gitConfig.ts";
import { repositoryAt } from "./gitRepository.ts";
import { byteString, foldCase } from "./globs.ts";
import type { RuleList } from "./ignoreRules.ts";
import type { ExcludedRow } from "./requests.ts";
import { insideOf, type Root } from "./roots.ts";
import {
  type Exclusion,
  fileVerdict,
  folderVerdict,
  includeRules,
  isIncluded,
  notIncluded,
  ownRepository,
  repositoryScope,
  rootScope,
  type Scope,
  withIgnoreFiles,
} from "./walkScope.ts";

/** Larger files are lock files, data and generated code far more often than something to ask about. */
export const maxFileBytes = 1024 * 1024;

/** More files than this are not looked at unless the caller says so. */
export const maxFiles = 500_000;

/** A file worth reading: nothing about its name, kind or size speaks against it. */
export interface FoundFile {
  /** Path in the workspace, with "/". */
  path: string;
  absolute: string;
  sizeBytes: number;
  /** Last change of the content and of the file's own data, in milliseconds since 1970 with fractions. */
  mtimeMs: number;
  ctimeMs: number;
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
  /**
   * Only files that these globs name, in the syntax of .gitignore with "{a,b}" besides: without a "/" at any depth, a folder with all
   * below it, the last that matches wins and "!" takes back. Empty: all.
   */
  include?: readonly string[];
  /** Larger files are rows; by default `maxFileBytes`. */
  maxFileBytes?: number;
  /** Files found beyond that many are counted, and are one row; by default `maxFiles`. */
  maxFiles?: number;
  /** Gets the number of files and folders looked at, about twenty times a second and at the end. */
  onProgress?: (entries: number) => void;
  /** Where the user's git configuration is looked for; by default that of the process. */
  environment?: Environment;
  signal?: AbortSignal;
}

/**
 * Lists the files under a root as `git ls-files --cached --others --exclude-standard` would, of those that exist: every .gitignore from
 * the top of the repository on, .git/info/exclude, the user's core.excludesFile, and what git tracks although it is ignored.
 * A .longcontextignore is stronger than all of them. A submodule or a repository inside the repository is one row; outside any repository
 * each one is walked by its own rules. Symbolic links are not followed. Everything left out is a row with its reason (a folder is one
 * row, its path ending in "/"). Both lists are sorted by path. Nothing of git is run. Throws `no-such-folder`, `aborted`.
 */
export async function walkRoot(root: Root, options: WalkOptions = {}): Promise<Walk> {
  await requireFolder(root.folder);
  const walk = new FolderWalk(root, options);
  await walk.run((options.under ?? "").split("/").filter((part) => part !== ""));
  return { files: walk.files, excluded: walk.rows };
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

/** Reason for a file or folder that the system refuses to read. */
export function unreadable(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return `cannot be read (${code})`;
}

/** Between two turns of the event loop the walk works this long; it calls the file system without promises, which cost more than the calls. */
const sliceMs = 8;
const progressEveryMs = 50;
/** Entries between two looks at the clock. */
const entriesPerLook = 16;
/** A folder whose own entry is larger holds thousands of names, and is read in slices. */
const largeFolderBytes = 128 * 1024;
const sortedAtOnce = 8192;
/** More rows than this are counted, not listed. */
const maxRows = 500_000;
/** Rows that a row for the whole folder says as well. */
const absorbed: ReadonlySet<ExcludedRow["kind"]> = new Set(["ignored", "not-included", "installed-packages", "git-data"]);

/** An open folder. */
interface Frame {
  readonly scope: Scope;
  /** Its path in the workspace and on disk, each with a separator at its end; "" is the only root. */
  readonly path: string;
  readonly absolute: string;
  readonly listing: Listing;
  next: number;
  /** Lengths of the two lists when it was opened. */
  readonly firstFile: number;
  readonly firstRow: number;
  /** Only the way to the one path that is looked at. */
  readonly isWay: boolean;
}

/** Names of a folder in the order of their paths, a folder's with "/" at its end, and what those are that are neither file nor folder. */
interface Listing {
  names: string[];
  others: Map<string, string>;
}

class FolderWalk {
  readonly files: FoundFile[] = [];
  readonly rows: ExcludedRow[] = [];
  /** Rows that come out of order. */
  private readonly late: ExcludedRow[] = [];
  private readonly root: Root;
  private readonly options: WalkOptions;
  private readonly otherRoots: ReadonlySet<string>;
  private readonly frames: Frame[] = [];
  private include: RuleList | undefined;
  /** The names that lead to the one path that is looked at. */
  private way: readonly string[] = [];
  private entries = 0;
  private filesNotLookedAt = 0;
  private rowsNotListed = 0;
  private sliceEnd = 0;
  private nextProgress = 0;

  constructor(root: Root, options: WalkOptions) {
    this.root = root;
    this.options = options;
    const inner = (options.otherRoots ?? []).map(({ folder }) => insideOf(root.folder, folder) ?? "");
    this.otherRoots = new Set(inner.filter((path) => path !== "").map(placeKey));
  }

  async run(way: readonly string[]): Promise<void> {
    const { environment = process.env, include = [], signal } = this.options;
    throwIfAborted(signal);
    this.way = way;
    this.include = includeRules(include, foldsCase);
    this.sliceEnd = performance.now() + sliceMs;
    const scope = await rootScope(this.root.folder, this.include, environment, signal);
    const { folder, prefix } = this.root;
    this.reportIndex(scope, prefix);
    const unopened = await this.open(scope, prefix, folder.endsWith(sep) ? folder : folder + sep, true);
    if (unopened) this.leaveOut(`${prefix}./`, unopened);
    for (let frame = this.frames.at(-1); frame; frame = this.frames.at(-1)) {
      const name = frame.listing.names[frame.next++];
      if (name === undefined) {
        this.frames.pop();
        this.close(frame);
      } else {
        const exclusion = name.endsWith("/") ? await this.visitFolder(frame, name.slice(0, -1)) : this.visitFile(frame, name);
        if (exclusion) this.leaveOut(frame.path + name, exclusion);
      }
      if (++this.entries % entriesPerLook === 0 && performance.now() >= this.sliceEnd) await this.breathe();
    }
    this.addCounts();
    if (this.late.length > 0) {
      this.rows.push(...this.late);
      this.rows.sort(byPath);
    }
    this.options.onProgress?.(this.entries);
  }

  /** Opens a folder, or says why it is left out. */
  private async visitFolder({ scope, path, absolute }: Frame, name: string): Promise<Exclusion | undefined> {
    if (isGitData(scope, name)) return gitData;
    if (this.otherRoots.size > 0 && this.otherRoots.has(placeKey(path.slice(this.root.prefix.length) + name))) {
      return { reason: "another folder of the workspace", kind: "other-root" };
    }
    const verdict = folderVerdict(scope, bytesOf(scope, name), this.include);
    if ("leaveOut" in verdict) return verdict.leaveOut;
    return await this.open(verdict.enter, `${path}${name}/`, absolute + name + sep, verdict.asRepository);
  }

  /** Lists a folder that is not left out. `asRepository`: if it is a repository inside another one, it is entered all the same. */
  private async open(given: Scope, path: string, absolute: string, asRepository: boolean): Promise<Exclusion | undefined> {
    const { environment = process.env, signal } = this.options;
    const wanted = this.way[this.frames.length];
    let listing: Listing;
    try {
      listing = wanted === undefined ? await this.list(absolute) : listOne(absolute, wanted);
    } catch (error) {
      throwIfAborted(signal);
      return { reason: whyUnreadable(path, error), kind: "unreadable" };
    }
    const has = (name: string): boolean => wanted !== undefined || holds(listing, name);
    let scope = given;
    if (
      this.frames.length > 0 &&
      (has(".git/") || has(".git")) &&
      !scope.repository.index.tracksBelow(scope.gitFolder.slice(0, -1))
    ) {
      const place = repositoryAt(absolute.slice(0, -1));
      if (place && !asRepository && scope.repository.place) {
        return ownRepository("a repository of its own", scope.ownFolder.slice(0, -1));
      }
      if (place) {
        scope = await repositoryScope(scope, place, environment, signal);
        this.reportIndex(scope, path);
      }
    }
    scope = withIgnoreFiles(scope, absolute, path, has);
    const { length: firstFile } = this.files;
    const { length: firstRow } = this.rows;
    this.frames.push({ scope, path, absolute, listing, next: 0, firstFile, firstRow, isWay: wanted !== undefined });
    if (performance.now() >= this.sliceEnd) await this.breathe();
    return undefined;
  }

  private reportIndex({ repository }: Scope, path: string): void {
    const { problem } = repository.index;
    if (problem !== undefined) this.late.push({ path: `${path}.git/index`, reason: problem, kind: "unreadable" });
  }

  /** One row for a folder in which nothing is in, where its rows say no more than that. */
  private close({ scope, path, listing, firstFile, firstRow, isWay }: Frame): void {
    if (isWay || path === this.root.prefix || this.files.length > firstFile || this.filesNotLookedAt > 0) return;
    const count = this.rows.length - firstRow;
    if (count === 0 || (!scope.ignored && scope.included)) return;
    for (let at = firstRow; at < this.rows.length; at++) if (!absorbed.has(this.rows[at]?.kind ?? "ignored")) return;
    this.rows.length = firstRow;
    this.leaveOut(path, scope.ignored ?? notIncluded(listing.names.length));
  }

  /** Adds a file, or says why it is left out. */
  private visitFile({ scope, path, absolute, listing }: Frame, name: string): Exclusion | undefined {
    if (isGitData(scope, name)) return gitData;
    const bytes = bytesOf(scope, name);
    const ignored = fileVerdict(scope, bytes);
    if (ignored) return ignored;
    const other = listing.others.size > 0 ? listing.others.get(name) : undefined;
    if (other === symbolicLink) return { reason: linkReason(this.root, absolute + name), kind: "symlink" };
    if (other !== undefined) return { reason: `${other}; only files are read`, kind: "unreadable" };
    if (this.include && !isIncluded(scope, bytes, this.include))
      return { reason: "no include glob names it", kind: "not-included" };
    if (this.files.length >= (this.options.maxFiles ?? maxFiles)) {
      this.filesNotLookedAt++;
      return undefined;
    }
    return this.addFile(path + name, absolute + name);
  }

  private addFile(path: string, absolute: string): Exclusion | undefined {
    let stats: Stats | undefined;
    try {
      stats = lstatSync(absolute, { throwIfNoEntry: false });
    } catch (error) {
      return { reason: unreadable(error), kind: "unreadable" };
    }
    // Gone since the folder was listed, unless its name could not even be read.
    if (!stats) return path.includes("\uFFFD") ? { reason: badName, kind: "unreadable" } : undefined;
    if (!stats.isFile()) return { reason: "changed while it was looked at", kind: "unreadable" };
    const { size: sizeBytes, mtimeMs, ctimeMs } = stats;
    const limit = this.options.maxFileBytes ?? maxFileBytes;
    if (sizeBytes > limit) return { reason: `larger than ${sizeText(limit, 0)} (${sizeText(sizeBytes, 1)})`, kind: "too-large" };
    this.files.push({ path, absolute, sizeBytes, mtimeMs, ctimeMs });
    return undefined;
  }

  private leaveOut(path: string, { reason, kind }: Exclusion): void {
    if (this.rows.length < maxRows) this.rows.push({ path, reason, kind });
    else this.rowsNotListed++;
  }

  /** The row for what the caps left out; "./" stands for the root itself and sorts before its files. */
  private addCounts(): void {
    if (this.filesNotLookedAt === 0 && this.rowsNotListed === 0) return;
    const files = `too many files: ${this.filesNotLookedAt.toLocaleString("en")} not looked at`;
    const rows = `${this.rowsNotListed.toLocaleString("en")} left out without a row of their own`;
    const reason = [this.filesNotLookedAt > 0 ? files : "", this.rowsNotListed > 0 ? rows : ""]
      .filter((text) => text !== "")
      .join("; ");
    this.late.push({ path: `${this.root.prefix}./`, reason, kind: "too-many-files" });
  }

  /** Lets other work of the process happen; throws `aborted`. */
  private async breathe(): Promise<void> {
    if (performance.now() >= this.nextProgress) {
      this.options.onProgress?.(this.entries);
      this.nextProgress = performance.now() + progressEveryMs;
    }
    await nextTurn();
    throwIfAborted(this.options.signal);
    this.sliceEnd = performance.now() + sliceMs;
  }

  private async list(absolute: string): Promise<Listing> {
    const listing: Listing = { names: [], others: new Map() };
    if (lstatSync(absolute).size <= largeFolderBytes) {
      for (const entry of readdirSync(absolute, { withFileTypes: true })) addEntry(listing, entry);
      listing.names.sort();
      return listing;
    }
    const folder = opendirSync(absolute, { bufferSize: 256 });
    try {
      for (let entry = folder.readSync(); entry; entry = folder.readSync()) {
        addEntry(listing, entry);
        if (listing.names.length % 256 === 0 && performance.now() >= this.sliceEnd) await this.breathe();
      }
    } finally {
      folder.closeSync();
    }
    listing.names = await this.sorted(listing.names);
    return listing;
  }

  /** Sorts pieces and merges them, so that a folder of any size leaves turns to other work. */
  private async sorted(names: readonly string[]): Promise<string[]> {
    let pieces: string[][] = [];
    for (let at = 0; at < names.length; at += sortedAtOnce) {
      pieces.push(names.slice(at, at + sortedAtOnce).sort());
      await this.breathe();
    }
    while (pieces.length > 1) {
      const merged: string[][] = [];
      for (let at = 0; at < pieces.length; at += 2) {
        merged.push(mergeSorted(pieces[at] ?? [], pieces[at + 1] ?? []));
        await this.breathe();
      }
      pieces = merged;
    }
    return pieces[0] ?? [];
  }
}

const gitData: Exclusion = { reason: "git's own data", kind: "git-data" };
const symbolicLink = "symbolic link";
const badName = "cannot be read (its name is not valid UTF-8)";

/** Whether the file system of this platform takes names that differ in case for one. */
const foldsCase = process.platform === "win32" || process.platform === "darwin";

function placeKey(inner: string): string {
  return foldsCase ? inner.toLowerCase() : inner;
}

function isGitData({ repository }: Scope, name: string): boolean {
  return name === ".git" || (repository.ignoreCase && name.length === 4 && foldCase(name) === ".git");
}

/** A name as git compares it. */
function bytesOf({ repository }: Scope, name: string): string {
  return byteString(repository.precomposeUnicode ? name.normalize("NFC") : name);
}

function holds({ names }: Listing, name: string): boolean {
  return (
    names.includes(name) || (foldsCase && names.some((other) => other.length === name.length && other.toLowerCase() === name))
  );
}

function addEntry(listing: Listing, entry: Dirent | (Stats & { name: string })): void {
  if (entry.isDirectory()) {
    listing.names.push(`${entry.name}/`);
    return;
  }
  listing.names.push(entry.name);
  if (entry.isFile()) return;
  const what = entry.isSymbolicLink() ? symbolicLink : entry.isFIFO() ? "named pipe" : entry.isSocket() ? "socket" : "device";
  listing.others.set(entry.name, what);
}

/** The listing of a folder as if it held only that name; empty where it does not. */
function listOne(absolute: string, name: string): Listing {
  const listing: Listing = { names: [], others: new Map() };
  const stats = lstatSync(join(absolute, name), { throwIfNoEntry: false });
  if (stats) addEntry(listing, Object.assign(stats, { name }));
  return listing;
}

function mergeSorted(a: readonly string[], b: readonly string[]): string[] {
  const merged: string[] = [];
  let inB = 0;
  for (const name of a) {
    for (let other = b[inB]; other !== undefined && other < name; other = b[++inB]) merged.push(other);
    merged.push(name);
  }
  for (; inB < b.length; inB++) merged.push(b[inB] ?? "");
  return merged;
}

function linkReason(root: Root, absolute: string): string {
  try {
    const target = readlinkSync(absolute);
    const inside = insideOf(root.folder, resolve(dirname(absolute), target)) !== undefined;
    return `symbolic link to ${target}${inside ? "" : ", outside the folder"}; not followed`;
  } catch (error) {
    return `symbolic link; ${unreadable(error)}`;
  }
}

function whyUnreadable(path: string, error: unknown): string {
  return path.includes("\uFFFD") ? badName : unreadable(error);
}

function sizeText(bytes: number, digits: number): string {
  const [divisor, unit] = bytes >= 1024 * 1024 ? [1024 * 1024, "MiB"] : [1024, "KiB"];
  const value = bytes / divisor;
  return `${value.toFixed(Number.isInteger(value) ? digits : 1)} ${unit}`;
}
