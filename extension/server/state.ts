import { basename } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { EngineError, plainError } from "../../engine/errors.ts";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import { BudgetTable, filesOf } from "./budgetTable.ts";
import { countFiles, scattered } from "./countFiles.ts";
import { countStopped } from "./countStopped.ts";
import type { CountPool } from "./countPool.ts";
import { FileSample } from "./estimate.ts";
import { FileKeeper } from "./fileKeeper.ts";
import { GitKeeper } from "./gitKeeper.ts";
import { ignoreFileNames } from "./ignoreRules.ts";
import { IndexKeeper, type IndexPlace } from "./indexKeeper.ts";
import { decideLevel } from "./levelDecision.ts";
import { OpenEditors } from "./openEditors.ts";
import type { IndexEntry } from "./persistentIndex.ts";
import { type CountProgress, ProgressBar } from "./progressBar.ts";
import type { ServerOptions } from "./requests.ts";
import { type Root, rootOf } from "./roots.ts";
import { Selection } from "./selection.ts";
import { readSelection, writeSelection } from "./storedState.ts";
import { TextKnowledge } from "./textKnowledge.ts";
import type { FoundFile } from "./walk.ts";

export interface WorkspaceCountsOptions {
  roots: readonly Root[];
  settings: ServerOptions;
  /** Threads that count with the tokenizer of a source; its errors come with the first job. */
  openPool(tokenizer: string): CountPool;
  /** Name of a tokenizer for people. */
  tokenizerLabel?(tokenizer: string): string;
  /** Gets the whole state after each change, at most about ten times a second while counting. */
  publish(snapshot: BudgetSnapshot): void;
  startProgress(title: string): Promise<CountProgress>;
  /** A failure that is not one of the tokenizer or the workspace. */
  log: (message: string) => void;
}

const publishEveryMs = 100;
/** More changed paths at once are cheaper walked as a whole. */
const mostSinglePaths = 200;
const rulesSettleMs = 300;

/** The counts of one workspace: the whole table, kept current path by path. Every walk waits for the one before it. */
export class WorkspaceCounts {
  readonly selection = new Selection();
  readonly table = new BudgetTable((entry) => decideLevel(this.selection, entry).level);
  readonly editors: OpenEditors;
  readonly knowledge: TextKnowledge;
  readonly git: GitKeeper;
  private readonly options: WorkspaceCountsOptions;
  private readonly files: FileKeeper;
  private readonly index: IndexKeeper;
  private current: ServerOptions;
  private currentRoots: readonly Root[];
  private openedPool: { tokenizer: string; pool: CountPool } | undefined;
  private state: BudgetSnapshot["state"] = "counting";
  private failure: EngineError | undefined;
  private revision = 0;
  private lastPublishedMs = -Infinity;
  private publishTimer: NodeJS.Timeout | undefined;
  private savingLevels: Promise<void> = Promise.resolve();
  private outlining: Promise<void> = Promise.resolve();
  private work: Promise<void>;
  private recounting: AbortController | undefined;
  private wanted: { settings?: ServerOptions; roots?: readonly Root[]; reread?: boolean } = {};
  private readonly changed = new Set<string>();
  private rulesRead: Promise<void> | undefined;
  private disposed = false;

  constructor(options: WorkspaceCountsOptions) {
    this.options = options;
    this.current = options.settings;
    this.currentRoots = options.roots;
    const { table } = this;
    const pool = (): CountPool => this.pool;
    const settings = (): ServerOptions => this.current;
    const roots = (): readonly Root[] => this.currentRoots;
    const onChange = (): void => this.publishNow();
    this.editors = new OpenEditors({
      pool,
      pathOf: (absolute) => this.pathOf(absolute),
      entryOf: (path) => table.file(path)?.entry,
      put: (entry) => table.put(entry),
      remove: (path) => table.remove(path),
      onChange: () => {
        this.outlineChosen();
        this.publishNow();
      },
      log: options.log,
    });
    this.git = new GitKeeper({ table, settings, roots, pool, onChange, log: options.log });
    this.knowledge = new TextKnowledge({ pool, textOf: (path) => this.editors.textAt(path) ?? this.git.textOf(path) });
    this.files = new FileKeeper({ table, editors: this.editors, knowledge: this.knowledge, settings, roots, pool });
    this.index = new IndexKeeper(() => this.files.indexEntries(), options.log);
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
      modelWindow: current.modelWindow,
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
      const retokenized = settings.tokenizer !== this.current.tokenizer;
      this.current = settings;
      this.currentRoots = roots;
      if (retokenized) this.knowledge.forgetScans();
      await this.countEverything(controller, reread, retokenized);
    });
  }

  /** Takes over settings that change no count of a file. */
  retarget(settings: ServerOptions): void {
    const { git, commits } = this.current;
    this.current = settings;
    if (git !== settings.git || commits !== settings.commits) this.git.changed();
    this.publishNow();
  }

  /** Looks at changed, created or deleted paths again; a change of the ignore rules, or of very many, means everything. */
  update(absolutePaths: readonly string[]): Promise<void> {
    this.git.changed();
    if (absolutePaths.some((path) => changesRules(path))) {
      // Git writes its index several times for one command.
      this.rulesRead ??= wait(rulesSettleMs).then(() => {
        this.rulesRead = undefined;
        return this.disposed ? undefined : this.recount();
      });
      return this.rulesRead;
    }
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
      for (const path of paths) different = (await this.files.update(path)) || different;
      if (!different) return;
      this.outlineChosen();
      this.publishNow();
      this.index.saveSoon();
    });
  }

  /**
   * Changes the levels through `change`, decides them anew below the keys it returns, and tells everybody, all at once. Resolves to the revision
   * once the levels are on disk: what was answered survives the death of this process.
   */
  async changeLevels(change: () => readonly string[]): Promise<number> {
    for (const key of change()) this.table.relevel(key);
    this.outlineChosen();
    this.publishNow();
    const { revision } = this;
    const { storageFolder } = this.current;
    const stored = this.selection.stored();
    this.savingLevels = this.savingLevels
      .then(() => writeSelection(storageFolder, stored))
      .catch((error: unknown) => this.options.log(`the levels cannot be kept: ${plainError(error).message}`));
    await this.savingLevels;
    return revision;
  }

  /** Settles once no count is under way and everything chosen is outlined; throws why counting failed. */
  async settled(): Promise<void> {
    await this.rulesRead;
    for (let seen: Promise<void> | undefined; seen !== this.work;) {
      seen = this.work;
      await seen;
    }
    await this.editors.settled();
    await this.git.settled();
    for (let seen: Promise<void> | undefined; seen !== this.outlining;) {
      seen = this.outlining;
      await seen;
    }
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

  /** What was found out beside the counts is worth keeping too. */
  keepSoon(): void {
    this.index.saveSoon();
  }

  /** Shows how a long job goes, and lets it be stopped. */
  progressBar(title: string, onCancel: () => void): ProgressBar {
    return new ProgressBar(() => this.options.startProgress(title), onCancel, this.options.log);
  }

  /** Stops everything; what is known is kept first. */
  async dispose(): Promise<void> {
    this.disposed = true;
    this.recounting?.abort();
    this.git.dispose();
    clearTimeout(this.publishTimer);
    await Promise.all([this.index.save(), this.savingLevels]);
    this.openedPool?.pool.dispose();
  }

  private async restoreLevels(): Promise<void> {
    this.selection.restore(await readSelection(this.current.storageFolder, this.options.log));
  }

  private enqueue(job: () => Promise<void>): Promise<void> {
    this.work = this.work.then(job).catch((error: unknown) => this.fail(error));
    return this.work;
  }

  private async countEverything(controller: AbortController, reread: boolean, retokenized: boolean): Promise<void> {
    const { signal } = controller;
    this.state = "counting";
    this.failure = undefined;
    this.publishNow();
    const stop = (): void => {
      if (this.recounting === controller) controller.abort();
    };
    const bar = this.progressBar("Counting tokens", stop);
    try {
      const sample = new FileSample(this.pool, signal);
      const found: FoundFile[] = [];
      const [{ place, entries: known }, walk] = await Promise.all([
        this.openIndex(() => sample.look(found)),
        this.files.walk(found, signal),
      ]);
      const plan = this.files.plan(walk, known, reread);
      const unknown = plan.todo.flatMap(({ found, known: text }) => (text ? [] : [found]));
      await sample.look(unknown);
      this.files.layOut(plan, sample.estimator);
      this.index.moveTo(place);
      this.publishNow();
      if (retokenized) await this.editors.recount();
      await countFiles(scattered(plan.todo), {
        pool: this.pool,
        maxFileBytes: this.current.maxFileBytes,
        signal,
        onCounted: (found, answer) => {
          this.files.take(found, answer);
          const { files: all, approximateFiles } = this.table.root.sums;
          bar.report(all - approximateFiles, all);
          this.publishSoon();
          this.index.saveNowAndThen();
        },
      });
      // A tokenizer that cannot be read is told even where nothing had to be counted with it.
      if (place.identity === "") await this.pool.opened();
      this.state = "ready";
      this.outlineChosen();
      this.publishNow();
      // Where everything was known as it is, the file on disk says it already.
      if (plan.todo.length > 0 || plan.read.length !== known.size) this.index.saveSoon();
      if (reread || retokenized) this.git.changed();
    } catch (error) {
      // Given up for a newer count, which publishes its own state.
      if (signal.aborted && this.recounting !== controller) return;
      this.fail(signal.aborted ? countStopped() : error);
    } finally {
      bar.done();
    }
  }

  /** Where nothing is known a thread reads the tokenizer meanwhile, and `look` is called once it can look at files. */
  private async openIndex(look: () => Promise<void>): Promise<{ place: IndexPlace; entries: ReadonlyMap<string, IndexEntry> }> {
    const index = await this.index.known(this.current);
    if (index.entries.size === 0) {
      // What is wrong with the tokenizer is told by the first count.
      this.pool
        .opened()
        .then(look)
        .catch(() => undefined);
    }
    return index;
  }

  /** Outlines what is at that level and was never outlined, one round after the other; until then its tokens are a guess. */
  private outlineChosen(): void {
    if (this.table.root.sums.levels.outline === 0) return;
    this.outlining = this.outlining
      .then(async () => {
        const todo = filesOf(this.table.root).flatMap(({ entry, level }) =>
          level === "outline" && entry.outline === undefined && !entry.approximate ? [entry] : [],
        );
        if (todo.length === 0) return;
        await this.knowledge.outlines(todo, (entry, outline) => {
          if (this.table.file(entry.path)?.entry === entry) this.table.put({ ...entry, outline });
        });
        this.publishNow();
        this.index.saveSoon();
      })
      .catch((error: unknown) => {
        if (plainError(error).code !== "aborted") this.options.log(`outlines cannot be made: ${plainError(error).message}`);
      });
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
}

/** Whether a change of the file may change which others count; git's index says what is tracked, also where it is ignored. */
function changesRules(absolute: string): boolean {
  return (
    ignoreFileNames.some((name) => name === basename(absolute)) ||
    /[\\/]\.git[\\/](info[\\/]exclude|config|index)$/.test(absolute)
  );
}
