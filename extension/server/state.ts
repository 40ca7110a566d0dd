import { basename } from "node:path";
import { EngineError, plainError } from "../../engine/errors.ts";
import type { LevelMap } from "../../engine/pack/levels.ts";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import { BudgetTable, type CountedEntry, filesOf } from "./budgetTable.ts";
import { countFiles, type FileToCount } from "./countFiles.ts";
import type { CountAnswer } from "./countJobs.ts";
import type { CountPool } from "./countPool.ts";
import { expected, fromAnswer, fromIndex, type ReadFile, sameEntry, toIndex } from "./fileEntries.ts";
import { ignoreFileNames } from "./ignoreRules.ts";
import { decideLevel } from "./levelDecision.ts";
import { OpenEditors } from "./openEditors.ts";
import { IndexKeeper } from "./indexKeeper.ts";
import type { IndexEntry } from "./persistentIndex.ts";
import { type CountProgress, ProgressBar } from "./progressBar.ts";
import type { ExcludedRow, ServerOptions } from "./requests.ts";
import { type Root, rootOf } from "./roots.ts";
import { Selection } from "./selection.ts";
import { readStoredLevels, writeStoredLevels } from "./storedState.ts";
import { type FoundFile, walkRoot } from "./walk.ts";

export interface WorkspaceCountsOptions {
  roots: readonly Root[];
  settings: ServerOptions;
  /** Threads that count with the tokenizer of a source; its errors come with the first job. */
  openPool(tokenizer: string): CountPool;
  /** Name of a tokenizer for people. */
  tokenizerLabel?(tokenizer: string): string;
  /** Gets the whole state after each change, at most about ten times a second while counting. */
  publish(snapshot: BudgetSnapshot): void;
  startProgress(): Promise<CountProgress>;
  /** A failure that is not one of the tokenizer or the workspace. */
  log(message: string): void;
}

const publishEveryMs = 100;
/** More changed paths at once are cheaper walked as a whole. */
const mostSinglePaths = 200;

/** The counts of one workspace: the whole table, kept current path by path. Every walk waits for the one before it. */
export class WorkspaceCounts {
  readonly selection = new Selection();
  readonly table = new BudgetTable((entry) => decideLevel(this.selection, entry).level);
  readonly editors: OpenEditors;
  private readonly options: WorkspaceCountsOptions;
  private current: ServerOptions;
  private currentRoots: readonly Root[];
  private openedPool: { tokenizer: string; pool: CountPool } | undefined;
  /** What the index keeps of files that turned out to be no text. */
  private readonly notText = new Map<string, IndexEntry>();
  private readonly index: IndexKeeper;
  private state: BudgetSnapshot["state"] = "counting";
  private failure: EngineError | undefined;
  private revision = 0;
  private lastPublishedMs = -Infinity;
  private publishTimer: NodeJS.Timeout | undefined;
  private savingLevels: Promise<void> = Promise.resolve();
  private work: Promise<void>;
  private recounting: AbortController | undefined;
  private wanted: { settings?: ServerOptions; roots?: readonly Root[]; reread?: boolean } = {};
  private readonly changed = new Set<string>();
  private disposed = false;

  constructor(options: WorkspaceCountsOptions) {
    this.options = options;
    this.current = options.settings;
    this.currentRoots = options.roots;
    this.editors = new OpenEditors({
      pool: () => this.pool,
      pathOf: (absolute) => this.pathOf(absolute),
      entryOf: (path) => this.table.file(path)?.entry,
      put: (entry) => this.table.put(entry),
      remove: (path) => this.table.remove(path),
      onChange: () => this.publishNow(),
      log: options.log,
    });
    this.index = new IndexKeeper(() => this.indexEntries(), options.log);
    this.work = this.restoreLevels();
  }

  get settings(): ServerOptions {
    return this.current;
  }

  get roots(): readonly Root[] {
    return this.currentRoots;
  }

  /** Threads with the tokenizer of now. */
  get pool(): CountPool {
    const { tokenizer } = this.current;
    if (this.openedPool?.tokenizer !== tokenizer) {
      this.openedPool?.pool.dispose();
      this.openedPool = { tokenizer, pool: this.options.openPool(tokenizer) };
    }
    return this.openedPool.pool;
  }

  snapshot(): BudgetSnapshot {
    const { revision, state, failure, table, current } = this;
    const { files, approximateFiles, bytes, fullTokens, packTokens } = table.root.sums;
    return {
      revision,
      state,
      tokenizer: (this.options.tokenizerLabel ?? basename)(current.tokenizer),
      doneFiles: files - approximateFiles,
      totalFiles: files,
      tokens: fullTokens,
      packTokens: packTokens + table.git.sums.packTokens,
      approximate: approximateFiles > 0,
      window: current.window,
      reserve: current.reserve,
      bytes,
      excluded: table.excludedRows,
      error: failure && { message: failure.message, remedy: failure.remedy },
    };
  }

  /**
   * Counts everything, with other settings and in other folders where they are given. Files that did not change since they were
   * counted are not read, unless `reread`. An unfinished count is given up.
   */
  recount(wanted: { settings?: ServerOptions; roots?: readonly Root[]; reread?: boolean } = {}): Promise<void> {
    this.recounting?.abort();
    const controller = new AbortController();
    this.recounting = controller;
    // A count that never started still has to leave its wishes to the one that does.
    this.wanted = { ...this.wanted, ...wanted };
    return this.enqueue(async () => {
      if (this.recounting !== controller) return;
      const { settings = this.current, roots = this.currentRoots, reread = false } = this.wanted;
      this.wanted = {};
      this.current = settings;
      this.currentRoots = roots;
      await this.countEverything(controller, reread);
    });
  }

  /** Takes over what changes no count: window and reserve. */
  retarget({ window, reserve, git }: ServerOptions): void {
    this.current = { ...this.current, window, reserve, git };
    this.publishNow();
  }

  /** Looks at changed, created or deleted paths again; a change of the ignore rules, or of very many, means everything. */
  update(absolutePaths: readonly string[]): Promise<void> {
    if (absolutePaths.some((path) => changesRules(path))) return this.recount();
    for (const path of absolutePaths) this.changed.add(path);
    if (this.changed.size > mostSinglePaths) {
      this.changed.clear();
      return this.recount();
    }
    return this.enqueue(async () => {
      const paths = [...this.changed];
      this.changed.clear();
      if (this.state !== "ready") return;
      let different = false;
      for (const path of paths) different = (await this.updatePath(path)) || different;
      if (different) this.publishNow();
    });
  }

  /** Changes the levels through `change`, decides them anew below the keys it returns, and tells everybody. Returns the revision. */
  changeLevels(change: () => readonly string[]): number {
    for (const key of change()) this.table.relevel(key);
    this.publishNow();
    const { storageFolder } = this.current;
    const levels = this.selection.levels();
    this.savingLevels = this.savingLevels
      .then(() => writeStoredLevels(storageFolder, levels))
      .catch((error: unknown) => this.options.log(`the levels cannot be kept: ${plainError(error).message}`));
    return this.revision;
  }

  /** Settles once no count is under way; throws why counting failed. */
  async settled(): Promise<void> {
    for (let seen: Promise<void> | undefined; seen !== this.work;) {
      seen = this.work;
      await seen;
    }
    await this.editors.settled();
    if (this.failure) throw this.failure;
  }

  /** Tells everybody about a change that was made to the table. */
  publishNow(): void {
    clearTimeout(this.publishTimer);
    this.publishTimer = undefined;
    if (this.disposed) return;
    this.lastPublishedMs = Date.now();
    this.revision++;
    this.options.publish(this.snapshot());
  }

  /** Stops everything; what is known is kept first. */
  async dispose(): Promise<void> {
    this.disposed = true;
    this.recounting?.abort();
    clearTimeout(this.publishTimer);
    await Promise.all([this.index.save(), this.savingLevels]);
    this.openedPool?.pool.dispose();
  }

  private async restoreLevels(): Promise<void> {
    const levels: LevelMap = await readStoredLevels(this.current.storageFolder, this.options.log);
    if (Object.keys(levels).length > 0) this.selection.restore(levels);
  }

  private enqueue(job: () => Promise<void>): Promise<void> {
    this.work = this.work.then(job).catch((error: unknown) => this.fail(error));
    return this.work;
  }

  private async countEverything(controller: AbortController, reread: boolean): Promise<void> {
    const { signal } = controller;
    this.state = "counting";
    this.failure = undefined;
    this.publishNow();
    const stop = (): void => {
      if (this.recounting === controller) controller.abort();
    };
    const bar = new ProgressBar(() => this.options.startProgress(), stop, this.options.log);
    try {
      const { place, entries: known } = await this.index.known(this.current);
      // While the folders are walked the threads read the tokenizer; where everything is known they are not needed yet.
      if (known.size === 0) this.pool.opened().catch(() => undefined);
      const { files, excluded } = await this.walkAll(signal);
      const todo = this.layOut(files, excluded, known, reread);
      this.index.moveTo(place);
      this.publishNow();
      await countFiles(todo, {
        pool: this.pool,
        maxFileBytes: this.current.maxFileBytes,
        signal,
        onExpected: (found, tokens) => {
          this.putFile(expected(found, tokens));
          this.publishSoon();
        },
        onCounted: (found, answer) => {
          this.take(found, answer);
          const { files: all, approximateFiles } = this.table.root.sums;
          bar.report(all - approximateFiles, all);
          this.publishSoon();
          this.index.saveNowAndThen();
        },
      });
      // A tokenizer that cannot be read is told even where nothing had to be counted with it.
      if (place.identity === "") await this.pool.opened();
      this.state = "ready";
      this.publishNow();
      this.index.saveSoon();
    } catch (error) {
      // Given up for a newer count, which publishes its own state.
      if (signal.aborted && this.recounting !== controller) return;
      const stopped = new EngineError("aborted", "counting was stopped", 'run "Long Context: Recount Tokens"');
      this.fail(signal.aborted ? stopped : error);
    } finally {
      bar.done();
    }
  }

  private async walkAll(signal: AbortSignal): Promise<{ files: FoundFile[]; excluded: ExcludedRow[] }> {
    const files: FoundFile[] = [];
    const excluded: ExcludedRow[] = [];
    for (const root of this.currentRoots) {
      const walk = await walkRoot(root, { ...this.walkOptions(root), signal });
      for (const found of walk.files) files.push(found);
      for (const row of walk.excluded) excluded.push(row);
    }
    return { files, excluded };
  }

  private walkOptions(root: Root) {
    const { include, maxFileBytes } = this.current;
    return { otherRoots: this.currentRoots.filter((other) => other !== root), include, maxFileBytes };
  }

  /** Fills the table with what is known; returns what has to be read. Nothing is seen half-filled. */
  private layOut(
    files: readonly FoundFile[],
    excluded: readonly ExcludedRow[],
    known: ReadonlyMap<string, IndexEntry>,
    reread: boolean,
  ): FileToCount[] {
    const todo: FileToCount[] = [];
    const git = [...this.table.git.files.values()].map(({ entry }) => entry);
    this.table.clear();
    this.notText.clear();
    for (const row of excluded) this.table.putExcluded(row);
    for (const found of files) {
      const index = known.get(found.absolute);
      const read = index && !reread ? fromIndex(found, index) : undefined;
      if (read) {
        this.putRead(read);
        continue;
      }
      const text = index && "hash" in index.known ? index.known : undefined;
      todo.push(text ? { found, known: { hash: text.hash, tokens: text.tokens } } : { found });
      this.putFile(expected(found, text?.tokens ?? Math.round(found.sizeBytes / 4)));
    }
    for (const entry of git) this.table.put(entry);
    this.editors.putBack();
    return todo;
  }

  private take(found: FoundFile, answer: CountAnswer): void {
    this.putRead(fromAnswer(found, answer));
  }

  private putRead(read: ReadFile): void {
    if ("entry" in read) {
      this.putFile(read.entry);
      return;
    }
    const { row, kept } = read;
    this.editors.forget(row.path);
    this.table.remove(row.path);
    this.table.putExcluded(row);
    if (kept) this.notText.set(row.path, kept);
  }

  /** An unsaved editor hides the file on disk. */
  private putFile(entry: CountedEntry): void {
    this.table.put(this.editors.over(entry));
  }

  /** Whether the table changed. */
  private async updatePath(absolute: string): Promise<boolean> {
    const place = rootOf(this.currentRoots, absolute);
    if (!place || this.leftOutWith(place.root.prefix, place.inner)) return false;
    const { root, inner } = place;
    const path = root.prefix + inner;
    const walk = await walkRoot(root, { ...this.walkOptions(root), under: inner });
    const before = new Map(
      this.shownBelow(path).flatMap((shown) => {
        const file = this.editors.onDisk(shown);
        return file ? [[file.path, file]] : [];
      }),
    );
    const read: ReadFile[] = walk.excluded.map((row) => ({ row, kept: undefined }));
    const todo: FileToCount[] = [];
    for (const found of walk.files) {
      const entry = before.get(found.path);
      const index = entry ? toIndex(entry) : this.notText.get(found.path);
      const same = index && fromIndex(found, index);
      if (same) read.push(same);
      else todo.push(entry ? { found, known: { hash: entry.hash, tokens: entry.tokens } } : { found });
    }
    await countFiles(todo, {
      pool: this.pool,
      maxFileBytes: this.current.maxFileBytes,
      urgent: true,
      onCounted: (found, answer) => read.push(fromAnswer(found, answer)),
    });
    return this.replaceBelow(path, before, read);
  }

  private replaceBelow(path: string, before: ReadonlyMap<string, CountedEntry>, read: readonly ReadFile[]): boolean {
    const entries = read.flatMap((one) => ("entry" in one ? [this.editors.over(one.entry)] : []));
    const shown = new Map(this.shownBelow(path).map((entry) => [entry.path, entry]));
    const rows = read.flatMap((one) => ("row" in one ? [one.row] : []));
    const rowsBefore = new Map(this.table.excludedBelow(path).map((row) => [row.path, row.reason]));
    const same =
      entries.length === shown.size &&
      entries.every((entry) => sameEntry(shown.get(entry.path), entry)) &&
      rows.length === rowsBefore.size &&
      rows.every((row) => rowsBefore.get(row.path) === row.reason);
    for (const row of rowsBefore.keys()) this.notText.delete(row);
    this.table.removeBelow(path);
    for (const one of read) this.putRead("entry" in one ? withOutline(one, before.get(one.entry.path)) : one);
    if (!same) this.index.saveSoon();
    return !same;
  }

  private shownBelow(path: string): CountedEntry[] {
    const own = this.table.file(path);
    const folder = this.table.folder(`${path}/`);
    return [...(own ? [own] : []), ...(folder ? filesOf(folder) : [])].map(({ entry }) => entry);
  }

  /** Whether a folder above the path is left out as a whole and still is: nothing inside it counts. */
  private leftOutWith(prefix: string, inner: string): boolean {
    const parts = inner.split("/");
    return parts.some(
      (_, depth) => depth > 0 && this.table.excludedRow(`${prefix}${parts.slice(0, depth).join("/")}/`) !== undefined,
    );
  }

  private pathOf(absolute: string): string | undefined {
    const place = rootOf(this.currentRoots, absolute);
    return place && place.root.prefix + place.inner;
  }

  private fail(error: unknown): void {
    const plain = plainError(error);
    if (plain.code === "internal") this.options.log(error instanceof Error ? (error.stack ?? error.message) : plain.message);
    this.failure = EngineError.fromPlain(plain);
    this.state = "failed";
    this.publishNow();
  }

  private publishSoon(): void {
    const waitMs = this.lastPublishedMs + publishEveryMs - Date.now();
    if (waitMs <= 0) this.publishNow();
    else this.publishTimer ??= setTimeout(() => this.publishNow(), waitMs);
  }

  private *indexEntries(): Iterable<IndexEntry> {
    for (const { entry } of filesOf(this.table.root)) {
      const file = this.editors.onDisk(entry);
      const kept = file && toIndex(file);
      if (kept) yield kept;
    }
    yield* this.notText.values();
  }
}

/** The same text has the same outline. */
function withOutline(read: { entry: CountedEntry }, before: CountedEntry | undefined): ReadFile {
  if (!before?.outline || before.hash !== read.entry.hash) return read;
  return { entry: { ...read.entry, outline: before.outline } };
}

function changesRules(absolute: string): boolean {
  return ignoreFileNames.some((name) => name === basename(absolute)) || /[\\/]\.git[\\/]info[\\/]exclude$/.test(absolute);
}
