import { lstatSync, readlinkSync, realpathSync, type Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, resolve, sep } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";
import { listFolder, type Listing, listOne, symbolicLink } from "./folderListing.ts";
import type { Environment } from "./gitConfig.ts";
import { repositoryAt, withWorkTree } from "./gitRepository.ts";
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
  /**
   * Only files that these globs name, in the syntax of .gitignore with "{a,b}" besides: without a "/" at any depth, a folder with all
   * below it, the last that matches wins and "!" takes back. Empty: all.
   */
  include?: readonly string[];
  /** Larger files are rows; by default `maxFileBytes`. */
  maxFileBytes?: number;
  /** Files found beyond that many are counted, and are one row; by default `maxFiles`. */
  maxFiles?: number;
  /** What is found goes to the end of this list, for who wants to see it before the end; by default of a new one. */
  files?: FoundFile[];
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
const sliceMs = 6;
const progressEveryMs = 50;
/** Entries between two looks at the clock. */
const entriesPerLook = 16;
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

class FolderWalk {
  readonly files: FoundFile[];
  readonly rows: ExcludedRow[] = [];
  /** Rows that come out of order. */
  private readonly late: ExcludedRow[] = [];
  /** What there is to say of the root itself. */
  private readonly rootReasons: string[] = [];
  private readonly root: Root;
  /** The root's path with a separator at its end. */
  private readonly rootFolder: string;
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
    this.rootFolder = root.folder.endsWith(sep) ? root.folder : root.folder + sep;
    this.options = options;
    this.files = options.files ?? [];
    const inner = (options.otherRoots ?? []).map(({ folder }) => insideOf(root.folder, folder) ?? "");
    this.otherRoots = new Set(inner.filter((path) => path !== "").map(placeKey));
  }

  async run(way: readonly string[]): Promise<void> {
    const { environment = process.env, include = [], signal } = this.options;
    throwIfAborted(signal);
    this.way = way;
    this.include = includeRules(include, foldsCase);
    this.sliceEnd = performance.now() + sliceMs;
    const scope = await rootScope(this.root.folder, this.include, environment, signal, (source) =>
      this.rootReasons.push(`${source}: ${rulesMissing}`),
    );
    const { prefix } = this.root;
    this.reportIndex(scope, prefix);
    const unopened = await this.open(scope, prefix, this.rootFolder, true);
    if (unopened) this.rootReasons.push(unopened.reason);
    for (let frame = this.frames.at(-1); frame; frame = this.frames.at(-1)) {
      const name = frame.listing.names[frame.next++];
      if (name === undefined) {
        this.frames.pop();
        this.close(frame);
        continue;
      }
      const exclusion = name.endsWith("/") ? await this.visitFolder(frame, name.slice(0, -1)) : this.visitFile(frame, name);
      if (exclusion) this.leaveOut(frame.path + name, exclusion);
      if (++this.entries % entriesPerLook === 0 && performance.now() >= this.sliceEnd) await this.breathe();
    }
    throwIfAborted(signal);
    this.addRootRow();
    if (this.late.length > 0) {
      this.rows.push(...this.late);
      this.rows.sort(byPath);
    }
    this.options.onProgress?.(this.entries);
  }

  /** Opens a folder, or says why it is left out. */
  private async visitFolder({ scope, path, absolute, listing }: Frame, name: string): Promise<Exclusion | undefined> {
    if (isGitData(scope, name)) return gitData;
    if (this.otherRoots.size > 0 && this.otherRoots.has(placeKey(path.slice(this.root.prefix.length) + name))) {
      return { reason: "another folder of the workspace", kind: "other-root" };
    }
    const verdict = folderVerdict(scope, bytesOf(scope, listing, name), this.include);
    if ("leaveOut" in verdict) return verdict.leaveOut;
    if (listing.unreadable.has(name)) return badName;
    return await this.open(verdict.enter, `${path}${name}/`, absolute + name + sep, verdict.asRepository);
  }

  /** Lists a folder that is not left out. `asRepository`: if it is a repository inside another one, it is entered all the same. */
  private async open(given: Scope, path: string, absolute: string, asRepository: boolean): Promise<Exclusion | undefined> {
    const wanted = this.way[this.frames.length];
    let listing: Listing | undefined;
    try {
      // Only the root may be a link: behind a separator at the end the system would follow one that a folder was replaced with.
      const folder = this.frames.length === 0 ? absolute : absolute.slice(0, -1);
      listing = wanted === undefined ? await listFolder(folder, () => this.pause()) : listOne(folder, wanted);
    } catch (error) {
      throwIfAborted(this.options.signal);
      return { reason: unreadable(error), kind: "unreadable" };
    }
    if (!listing) return changedMeanwhile;
    const { names } = listing;
    const has = (name: string): boolean => wanted !== undefined || holds(names, name);
    const inner =
      this.frames.length > 0 && (has(".git/") || has(".git"))
        ? await this.enterRepository(given, path, absolute, asRepository)
        : given;
    if ("reason" in inner) return inner;
    const scope = withIgnoreFiles(inner, absolute, path, has, (source) =>
      this.late.push({ path: source, reason: rulesMissing, kind: "unreadable" }),
    );
    const { length: firstFile } = this.files;
    const { length: firstRow } = this.rows;
    this.frames.push({ scope, path, absolute, listing, next: 0, firstFile, firstRow, isWay: wanted !== undefined });
    await this.pause();
    return undefined;
  }

  /** The scope of a folder that may be a repository of its own, or why it is left out. */
  private async enterRepository(scope: Scope, path: string, absolute: string, isWanted: boolean): Promise<Scope | Exclusion> {
    if (scope.repository.index.tracksBelow(scope.gitFolder.slice(0, -1))) return scope;
    const place = repositoryAt(absolute.slice(0, -1));
    if (!place) return scope;
    if (!isWanted && scope.repository.place) return ownRepository("a repository of its own", scope.ownFolder.slice(0, -1));
    const workTree = withWorkTree(place, place.top);
    if (!workTree) return scope;
    const { environment = process.env, signal } = this.options;
    const entered = await repositoryScope(scope, workTree, environment, signal);
    this.reportIndex(entered, path);
    return entered;
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
  private visitFile({ scope, path, absolute, listing, isWay }: Frame, name: string): Exclusion | undefined {
    if (isGitData(scope, name)) return gitData;
    const bytes = bytesOf(scope, listing, name);
    const ignored = fileVerdict(scope, bytes);
    if (ignored) return ignored;
    if (listing.unreadable.has(name)) return badName;
    const other = listing.others.size > 0 ? listing.others.get(name) : undefined;
    if (other === symbolicLink) return { reason: linkReason(this.root, absolute + name), kind: "symlink" };
    if (other !== undefined) return { reason: `${other}; only files are read`, kind: "unreadable" };
    // The path that is looked at goes on below what is a file now.
    if (isWay && this.frames.length < this.way.length) return undefined;
    if (this.include && !isIncluded(scope, bytes, this.include)) return notNamed;
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
    // Gone since the folder was listed.
    if (!stats) return undefined;
    if (!stats.isFile()) return changedMeanwhile;
    const { size: sizeBytes, mtimeMs } = stats;
    const limit = this.options.maxFileBytes ?? maxFileBytes;
    if (sizeBytes > limit) return tooLarge(sizeBytes, limit);
    // A part of the other string instead of a second one: there are very many of them.
    const shared = sep === "/" ? this.root.prefix + absolute.slice(this.rootFolder.length) : path;
    this.files.push({ path: shared, absolute, sizeBytes, mtimeMs });
    return undefined;
  }

  private leaveOut(path: string, { reason, kind }: Exclusion): void {
    if (this.rows.length < maxRows) this.rows.push({ path, reason, kind });
    else this.rowsNotListed++;
  }

  /** The row for the root itself, and for what the caps left out; "./" sorts before its files. */
  private addRootRow(): void {
    const capped = this.filesNotLookedAt > 0 || this.rowsNotListed > 0;
    if (this.filesNotLookedAt > 0) {
      const limit = (this.options.maxFiles ?? maxFiles).toLocaleString("en");
      const missed = this.filesNotLookedAt.toLocaleString("en");
      this.rootReasons.push(
        `more than ${limit} files: ${missed} not looked at; open a smaller folder or narrow the include globs`,
      );
    }
    if (this.rowsNotListed > 0) {
      this.rootReasons.push(`${this.rowsNotListed.toLocaleString("en")} left out without a row of their own`);
    }
    if (this.rootReasons.length === 0) return;
    const kind = capped ? "too-many-files" : "unreadable";
    this.late.push({ path: `${this.root.prefix}./`, reason: this.rootReasons.join("; "), kind });
  }

  /** Lets other work of the process happen where it has waited long enough; throws `aborted`. */
  private async pause(): Promise<void> {
    if (performance.now() >= this.sliceEnd) await this.breathe();
  }

  private async breathe(): Promise<void> {
    if (performance.now() >= this.nextProgress) {
      this.options.onProgress?.(this.entries);
      this.nextProgress = performance.now() + progressEveryMs;
    }
    await nextTurn();
    throwIfAborted(this.options.signal);
    this.sliceEnd = performance.now() + sliceMs;
  }
}

const gitData: Exclusion = { reason: "git's own data", kind: "git-data" };
const badName: Exclusion = { reason: "cannot be read (its name is not valid UTF-8)", kind: "unreadable" };
const changedMeanwhile: Exclusion = { reason: "changed while it was looked at", kind: "unreadable" };
const notNamed: Exclusion = { reason: "no include glob names it", kind: "not-included" };
const rulesMissing = "it is not checked out and git's objects lack it: its rules do not count";

/** Whether the file system of this platform takes names that differ in case for one. */
const foldsCase = process.platform === "win32" || process.platform === "darwin";

function placeKey(inner: string): string {
  return foldsCase ? inner.toLowerCase() : inner;
}

function isGitData({ repository }: Scope, name: string): boolean {
  return name === ".git" || (repository.ignoreCase && name.length === 4 && foldCase(name) === ".git");
}

/** A name as git compares it. */
function bytesOf({ repository }: Scope, { unreadable: raw }: Listing, name: string): string {
  const bytes = raw.size > 0 ? raw.get(name) : undefined;
  return bytes ?? byteString(repository.precomposeUnicode ? name.normalize("NFC") : name);
}

function holds(names: readonly string[], name: string): boolean {
  return (
    names.includes(name) || (foldsCase && names.some((other) => other.length === name.length && other.toLowerCase() === name))
  );
}

/** Where a link leads, followed to its end; one that leads nowhere or in a circle by what it says. */
function linkReason(root: Root, absolute: string): string {
  try {
    const target = readlinkSync(absolute);
    const end = realPath(absolute) ?? resolve(dirname(absolute), target);
    const inside = [root.folder, realPath(root.folder) ?? root.folder].some((folder) => insideOf(folder, end) !== undefined);
    return `symbolic link to ${target}${inside ? "" : ", outside the folder"}; not followed`;
  } catch (error) {
    return `symbolic link; ${unreadable(error)}`;
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

function tooLarge(sizeBytes: number, limit: number): Exclusion {
  const [most, has] = [sizeText(limit, 0), sizeText(sizeBytes, 1)];
  // Rounded, a little more than the limit looks like the limit.
  const size = sizeText(limit, 1) === has ? `${sizeBytes.toLocaleString("en")} bytes` : has;
  return { reason: `larger than ${most} (${size})`, kind: "too-large" };
}

function sizeText(bytes: number, digits: number): string {
  const [divisor, unit] = bytes >= 1024 * 1024 ? [1024 * 1024, "MiB"] : [1024, "KiB"];
  const value = bytes / divisor;
  return `${value.toFixed(Number.isInteger(value) ? digits : 1)} ${unit}`;
}
