import { basename } from "node:path";
import { EngineError, plainError } from "../../engine/errors.ts";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import type { BudgetSnapshot, CountedFile } from "../../webview/protocol/panel.ts";
import { type Counted, FileCounter } from "./counts.ts";
import { ignoreFileNames } from "./ignoreRules.ts";
import type { ExcludedRow, WorkspaceListing } from "./requests.ts";
import { type Root, rootOf, rootsLabel } from "./roots.ts";
import { byPath, walkRoot } from "./walk.ts";

/** How a long count shows itself to the user, and how he stops it. */
export interface CountProgress {
  report(percent: number, message: string): void;
  done(): void;
  onCancel(listener: () => void): void;
}

export interface WorkspaceCountsOptions {
  roots: readonly Root[];
  readTokenizer(folder: string): Promise<Pick<Tokenizer, "count">>;
  /** Gets the whole state after each change, at most about ten times a second while counting. */
  publish(snapshot: BudgetSnapshot): void;
  startProgress(): Promise<CountProgress>;
  /** A failure that is not one of the tokenizer or the workspace. */
  log(message: string): void;
}

const publishEveryMs = 100;

/** The counts of one workspace: the whole table, kept current path by path. Every job waits for the one before it. */
export class WorkspaceCounts {
  private readonly options: WorkspaceCountsOptions;
  private roots: readonly Root[];
  private modelFolder = "";
  private counter: FileCounter | undefined;
  private readonly files = new Map<string, CountedFile>();
  private readonly excluded = new Map<string, ExcludedRow>();
  private tokens = 0;
  private bytes = 0;
  private totalFiles = 0;
  private state: BudgetSnapshot["state"] = "counting";
  private failure: EngineError | undefined;
  private revision = 0;
  private lastPublishedMs = -Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private work: Promise<void> = Promise.resolve();
  private recounting: AbortController | undefined;
  private wanted: { modelFolder?: string; roots?: readonly Root[] } = {};
  private readonly changed = new Set<string>();

  constructor(options: WorkspaceCountsOptions) {
    this.options = options;
    this.roots = options.roots;
  }

  snapshot(): BudgetSnapshot {
    const { revision, state, tokens, bytes, totalFiles, failure } = this;
    const error = failure && { message: failure.message, remedy: failure.remedy };
    const tokenizer = basename(this.modelFolder);
    return {
      revision,
      state,
      tokenizer,
      doneFiles: this.files.size,
      totalFiles,
      tokens,
      bytes,
      excluded: this.excluded.size,
      error,
    };
  }

  /**
   * Counts everything, with the tokenizer of `modelFolder` read anew where it is given, and in other folders where they are.
   * An unfinished count is given up.
   */
  recount(modelFolder?: string, roots?: readonly Root[]): Promise<void> {
    this.recounting?.abort();
    const controller = new AbortController();
    this.recounting = controller;
    // A count that never started still has to leave its wishes to the one that does.
    this.wanted = { modelFolder: modelFolder ?? this.wanted.modelFolder, roots: roots ?? this.wanted.roots };
    return this.enqueue(async () => {
      if (this.recounting !== controller) return;
      const { wanted } = this;
      this.wanted = {};
      this.roots = wanted.roots ?? this.roots;
      if (wanted.modelFolder !== undefined) {
        this.counter = undefined;
        this.modelFolder = wanted.modelFolder;
      }
      await this.countEverything(controller);
    });
  }

  /** Looks at changed, created or deleted paths again; a change of the ignore rules means everything. */
  update(absolutePaths: readonly string[]): Promise<void> {
    if (absolutePaths.some((path) => this.changesRules(path))) return this.recount();
    for (const path of absolutePaths) this.changed.add(path);
    return this.enqueue(async () => {
      const paths = [...this.changed];
      this.changed.clear();
      if (this.state !== "ready") return;
      let different = false;
      for (const path of paths) different = (await this.updatePath(path)) || different;
      if (different) this.publishNow();
    });
  }

  /** The table, once no count is under way; throws why counting failed. */
  async listing(): Promise<WorkspaceListing> {
    for (let seen: Promise<void> | undefined; seen !== this.work;) {
      seen = this.work;
      await seen;
    }
    if (this.failure) throw this.failure;
    const excluded = [...this.excluded.values()];
    const files = [...this.files.values()].sort(byPath);
    return { root: rootsLabel(this.roots), revision: this.revision, files, excluded: excluded.sort(byPath) };
  }

  dispose(): void {
    this.recounting?.abort();
    clearTimeout(this.timer);
  }

  private enqueue(job: () => Promise<void>): Promise<void> {
    this.work = this.work.then(job).catch((error: unknown) => {
      this.fail(error);
    });
    return this.work;
  }

  private async countEverything(controller: AbortController): Promise<void> {
    this.clear();
    this.state = "counting";
    this.failure = undefined;
    this.publishNow();
    const progress = await this.options.startProgress();
    progress.onCancel(() => {
      if (this.recounting === controller) controller.abort();
    });
    try {
      this.counter ??= new FileCounter(await this.options.readTokenizer(this.modelFolder));
      const found = [];
      for (const root of this.roots) {
        const walk = await walkRoot(root, { otherRoots: this.othersThan(root), signal: controller.signal });
        found.push(...walk.files);
        for (const row of walk.excluded) this.excluded.set(row.path, row);
      }
      this.totalFiles = found.length;
      const onCounted = (counted: Counted, done: number): void => {
        this.add(counted);
        progress.report(Math.floor((100 * done) / found.length), `${done} / ${found.length} files`);
        this.publishSoon();
      };
      await this.counter.countAll(found, onCounted, controller.signal);
      this.state = "ready";
      this.totalFiles = this.files.size;
      this.publishNow();
    } catch (error) {
      // Given up for a newer count, which publishes its own state.
      if (controller.signal.aborted && this.recounting !== controller) return;
      const stopped = new EngineError("aborted", "counting was stopped", 'run "Long Context: Recount Tokens"');
      this.fail(controller.signal.aborted ? stopped : error);
    } finally {
      progress.done();
    }
  }

  /** Whether the table changed. */
  private async updatePath(absolute: string): Promise<boolean> {
    const place = rootOf(this.roots, absolute);
    if (!place || !this.counter || this.leftOutWith(place.root.prefix, place.inner)) return false;
    const { root, inner } = place;
    const before = this.fingerprintBelow(root.prefix + inner);
    this.removeBelow(root.prefix + inner);
    const walk = await walkRoot(root, { under: inner, otherRoots: this.othersThan(root) });
    for (const row of walk.excluded) this.excluded.set(row.path, row);
    for (const found of walk.files) this.add(await this.counter.count(found));
    this.totalFiles = this.files.size;
    return this.fingerprintBelow(root.prefix + inner) !== before;
  }

  /** Whether a folder above the path is left out as a whole and still is: nothing inside it counts. */
  private leftOutWith(prefix: string, inner: string): boolean {
    const parts = inner.split("/");
    return parts.some((_, depth) => depth > 0 && this.excluded.has(`${prefix}${parts.slice(0, depth).join("/")}/`));
  }

  private changesRules(absolute: string): boolean {
    return ignoreFileNames.some((name) => name === basename(absolute)) || /[\\/]\.git[\\/]info[\\/]exclude$/.test(absolute);
  }

  private othersThan(root: Root): Root[] {
    return this.roots.filter((other) => other !== root);
  }

  private add(counted: Counted): void {
    if ("excluded" in counted) {
      this.excluded.set(counted.excluded.path, counted.excluded);
      return;
    }
    this.files.set(counted.file.path, counted.file);
    this.tokens += counted.file.tokens;
    this.bytes += counted.file.sizeBytes;
  }

  private removeBelow(path: string): void {
    for (const file of this.filesBelow(path)) {
      this.files.delete(file.path);
      this.tokens -= file.tokens;
      this.bytes -= file.sizeBytes;
    }
    for (const key of this.excludedBelow(path)) this.excluded.delete(key);
  }

  private fingerprintBelow(path: string): string {
    const files = this.filesBelow(path).map((file) => `${file.path}\0${file.hash}`);
    const excluded = this.excludedBelow(path).map((key) => `${key}\0${this.excluded.get(key)?.reason ?? ""}`);
    return [...files.sort(), "", ...excluded.sort()].join("\n");
  }

  private filesBelow(path: string): CountedFile[] {
    const own = this.files.get(path);
    return own ? [own] : [...this.files.values()].filter((file) => file.path.startsWith(`${path}/`));
  }

  private excludedBelow(path: string): string[] {
    return [...this.excluded.keys()].filter((key) => key === path || key.startsWith(`${path}/`));
  }

  private clear(): void {
    this.files.clear();
    this.excluded.clear();
    this.tokens = 0;
    this.bytes = 0;
    this.totalFiles = 0;
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
    else this.timer ??= setTimeout(() => this.publishNow(), waitMs);
  }

  private publishNow(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.lastPublishedMs = Date.now();
    this.revision++;
    this.options.publish(this.snapshot());
  }
}
