import type { BudgetTable, CountedEntry } from "./budgetTable.ts";
import { filesOf } from "./budgetTable.ts";
import { countFiles, type FileToCount } from "./countFiles.ts";
import type { CountAnswer } from "./countJobs.ts";
import type { CountPool } from "./countPool.ts";
import type { TokenEstimator } from "./estimate.ts";
import { expected, fromAnswer, fromIndex, type ReadFile, sameEntry, toIndex } from "./fileEntries.ts";
import type { OpenEditors } from "./openEditors.ts";
import type { IndexEntry } from "./persistentIndex.ts";
import type { ExcludedRow, ServerOptions } from "./requests.ts";
import { type Root, rootOf } from "./roots.ts";
import type { TextKnowledge } from "./textKnowledge.ts";
import { type FoundFile, type Walk, walkRoot } from "./walk.ts";

export interface FileKeeperOptions {
  table: BudgetTable;
  editors: OpenEditors;
  knowledge: TextKnowledge;
  settings: () => ServerOptions;
  roots: () => readonly Root[];
  pool: () => CountPool;
}

/** What a walk found and the index knows. */
interface Plan {
  readonly excluded: readonly ExcludedRow[];
  readonly read: ReadFile[];
  readonly todo: FileToCount[];
}

/** Keeps the table true to the disk: lays out a walk, takes in what was read, and looks at single paths again. */
export class FileKeeper {
  private readonly options: FileKeeperOptions;
  /** What the index keeps of files that turned out to be no text, by path. */
  private readonly notText = new Map<string, IndexEntry>();

  constructor(options: FileKeeperOptions) {
    this.options = options;
  }

  /** Everything below the roots; `files` has those that were found so far. Throws `no-such-folder`, `aborted`. */
  async walk(files: FoundFile[], signal: AbortSignal): Promise<Walk> {
    const excluded: ExcludedRow[] = [];
    for (const root of this.options.roots()) {
      const walk = await walkRoot(root, { ...this.walkOptions(root), files, signal });
      for (const row of walk.excluded) excluded.push(row);
    }
    return { files, excluded };
  }

  /** What of a walk is known from the index, and what has to be read: what has changed, or everything with `reread`. */
  plan({ files, excluded }: Walk, known: ReadonlyMap<string, IndexEntry>, reread: boolean): Plan {
    const plan: Plan = { excluded, read: [], todo: [] };
    for (const found of files) {
      const index = known.get(found.absolute);
      const text = index && "hash" in index.known ? index.known : undefined;
      if (text?.scan) this.options.knowledge.learn(text.hash, text.scan);
      const read = index && !reread ? fromIndex(found, index) : undefined;
      if (read) plan.read.push(read);
      else plan.todo.push(text ? { found, known: text } : { found });
    }
    return plan;
  }

  /** Fills the table with what is known and what is expected of the rest. Nothing is seen half-filled. */
  layOut({ excluded, read, todo }: Plan, estimator: TokenEstimator): void {
    const { table, editors, knowledge } = this.options;
    const git = [...table.git.files.values()].map(({ entry }) => entry);
    const gitRows = [...table.root.excluded.values()].filter(({ kind }) => kind === "git");
    table.clear();
    this.notText.clear();
    for (const row of [...excluded, ...gitRows]) table.putExcluded(row);
    for (const one of read) this.putRead(one);
    for (const { found, known } of todo)
      this.putFile(expected(found, known?.tokens ?? estimator.expect(found.path, found.sizeBytes)));
    for (const entry of git) table.put(entry);
    editors.putBack();
    knowledge.keepOnly(() => {
      const hashes = read.flatMap((one) => ("entry" in one ? [one.entry.hash] : []));
      const others = todo.flatMap(({ known }) => (known ? [known.hash] : []));
      return new Set([...hashes, ...others, ...git.map(({ hash }) => hash)]);
    });
  }

  take(found: FoundFile, answer: CountAnswer): void {
    this.putRead(fromAnswer(found, answer));
  }

  /** Looks at one changed, created or deleted path again, and all below it. Returns whether the table changed. */
  async update(absolute: string): Promise<boolean> {
    const { roots, editors, pool, settings } = this.options;
    const place = rootOf(roots(), absolute);
    if (!place || this.leftOutWith(place.root.prefix, place.inner)) return false;
    const { root, inner } = place;
    const path = root.prefix + inner;
    const walk = await walkRoot(root, { ...this.walkOptions(root), under: inner });
    const onDisk = this.shownBelow(path).flatMap((shown) => editors.onDisk(shown) ?? []);
    const before = new Map(onDisk.map((file) => [file.path, file]));
    const read: ReadFile[] = walk.excluded.map((row) => ({ row, kept: undefined }));
    const todo: FileToCount[] = [];
    for (const found of walk.files) {
      const entry = before.get(found.path);
      const index = entry ? toIndex(entry) : this.notText.get(found.path);
      const same = index && fromIndex(found, index);
      if (same) read.push(same);
      else todo.push(entry ? { found, known: entry } : { found });
    }
    await countFiles(todo, {
      pool: pool(),
      maxFileBytes: settings().maxFileBytes,
      urgent: true,
      onCounted: (found, answer) => read.push(fromAnswer(found, answer)),
    });
    return this.replaceBelow(path, before, read);
  }

  /** What the index should keep. */
  *indexEntries(): Iterable<IndexEntry> {
    const { table, editors, knowledge } = this.options;
    for (const { entry } of filesOf(table.root)) {
      const file = editors.onDisk(entry);
      const kept = file && toIndex(file, knowledge.scan(file.hash));
      if (kept) yield kept;
    }
    yield* this.notText.values();
  }

  private walkOptions(root: Root) {
    const { include, maxFileBytes } = this.options.settings();
    return { otherRoots: this.options.roots().filter((other) => other !== root), include, maxFileBytes };
  }

  private putRead(read: ReadFile): void {
    if ("entry" in read) {
      this.putFile(read.entry);
      return;
    }
    const { table, editors } = this.options;
    const { row, kept } = read;
    editors.forget(row.path);
    table.remove(row.path);
    table.putExcluded(row);
    if (kept) this.notText.set(row.path, kept);
  }

  /** An unsaved editor hides the file on disk. */
  private putFile(entry: CountedEntry): void {
    this.options.table.put(this.options.editors.over(entry));
  }

  private replaceBelow(path: string, before: ReadonlyMap<string, CountedEntry>, read: readonly ReadFile[]): boolean {
    const { table, editors } = this.options;
    const after = read.map((one) => ("entry" in one ? withOutline(one, before.get(one.entry.path)) : one));
    const entries = after.flatMap((one) => ("entry" in one ? [editors.over(one.entry)] : []));
    const shown = new Map(this.shownBelow(path).map((entry) => [entry.path, entry]));
    const rows = after.flatMap((one) => ("row" in one ? [one.row] : []));
    const rowsBefore = new Map(table.excludedBelow(path).map((row) => [row.path, row.reason]));
    const same =
      entries.length === shown.size &&
      entries.every((entry) => sameEntry(shown.get(entry.path), entry)) &&
      rows.length === rowsBefore.size &&
      rows.every((row) => rowsBefore.get(row.path) === row.reason);
    for (const row of rowsBefore.keys()) this.notText.delete(row);
    table.removeBelow(path);
    for (const one of after) this.putRead(one);
    return !same;
  }

  private shownBelow(path: string): CountedEntry[] {
    const { table } = this.options;
    const own = table.file(path);
    const folder = table.folder(`${path}/`);
    return [...(own ? [own] : []), ...(folder ? filesOf(folder) : [])].map(({ entry }) => entry);
  }

  /** Whether a folder above the path is left out as a whole and still is: nothing inside it counts. */
  private leftOutWith(prefix: string, inner: string): boolean {
    const parts = inner.split("/");
    return parts.some(
      (_, depth) => depth > 0 && this.options.table.excludedRow(`${prefix}${parts.slice(0, depth).join("/")}/`) !== undefined,
    );
  }
}

/** The same text has the same outline. */
function withOutline(read: { entry: CountedEntry }, before: CountedEntry | undefined): ReadFile {
  if (!before?.outline || before.hash !== read.entry.hash) return read;
  return { entry: { ...read.entry, outline: before.outline } };
}
