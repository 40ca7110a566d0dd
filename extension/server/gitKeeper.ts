import { plainError } from "../../engine/errors.ts";
import type { BudgetTable, CountedEntry } from "./budgetTable.ts";
import type { CountPool } from "./countPool.ts";
import { countText } from "./countText.ts";
import { type GitRow, gitRows } from "./gitRows.ts";
import { Later } from "./later.ts";
import type { ServerOptions } from "./requests.ts";
import type { Root } from "./roots.ts";

export interface GitKeeperOptions {
  table: BudgetTable;
  settings: () => ServerOptions;
  roots: () => readonly Root[];
  pool: () => CountPool;
  /** The table changed. */
  onChange: () => void;
  log: (message: string) => void;
}

/** Saving a few files in a row asks git once. */
const settleMs = 700;

/** Git's rows in the table: asked for when somebody looks at them or has chosen one, and again when files changed since. */
export class GitKeeper {
  private readonly options: GitKeeperOptions;
  private readonly texts = new Map<string, { hash: string; text: string }>();
  private readonly later: Later;
  private wanted = false;
  private running: AbortController | undefined;
  private work: Promise<void> = Promise.resolve();

  constructor(options: GitKeeperOptions) {
    this.options = options;
    this.later = new Later(settleMs, () => void this.refresh());
  }

  /** Somebody looks: from now on the rows are there and current. */
  want(): void {
    if (this.wanted) return;
    this.wanted = true;
    void this.refresh();
  }

  /** Files changed; nothing is asked before somebody wanted the rows. */
  changed(): void {
    if (this.wanted) this.later.soon();
  }

  /** Text of a row as it was counted; undefined where there is none. */
  textOf(path: string): string | undefined {
    return this.texts.get(path)?.text;
  }

  hashOf(path: string): string | undefined {
    return this.texts.get(path)?.hash;
  }

  /** Settles once the rows are those of the last refresh. */
  settled(): Promise<void> {
    return this.work;
  }

  dispose(): void {
    this.later.dispose();
    this.running?.abort();
  }

  /** Asks git anew and counts what it says; a refresh that is under way is given up. */
  refresh(): Promise<void> {
    this.running?.abort();
    const controller = new AbortController();
    this.running = controller;
    this.work = this.read(controller.signal).catch((error: unknown) => {
      if (!controller.signal.aborted) this.options.log(`git's rows cannot be read: ${plainError(error).message}`);
    });
    return this.work;
  }

  private async read(signal: AbortSignal): Promise<void> {
    const { roots, settings } = this.options;
    const { git: trusted, commits } = settings();
    const all: { root: Root; rows: GitRow[] }[] = [];
    for (const root of roots()) all.push({ root, rows: await gitRows(root.folder, { commits, trusted, signal }) });
    const entries: CountedEntry[] = [];
    const empty: { path: string; reason: string }[] = [];
    for (const { root, rows } of all) {
      // One reason for all of them (no repository, no trust) is one row.
      const [first] = rows;
      const common = first && rows.every(({ text, reason }) => text === "" && reason === first.reason) ? first.reason : undefined;
      if (common !== undefined) {
        empty.push({ path: pathIn(root, "git:"), reason: common });
        continue;
      }
      for (const row of rows) {
        if (row.text === "") empty.push({ path: pathIn(root, row.path), reason: row.reason });
        else entries.push(await this.counted(root, row, signal));
      }
    }
    if (signal.aborted) return;
    this.put(entries, empty);
  }

  private async counted(root: Root, row: GitRow, signal: AbortSignal): Promise<CountedEntry> {
    const path = pathIn(root, row.path);
    const counts = await countText(this.options.pool(), path, row.text, signal);
    this.texts.set(path, { hash: counts.hash, text: row.text });
    const name = root.prefix === "" ? row.name : `${row.name} in ${root.prefix.slice(0, -1)}`;
    const sizeBytes = Buffer.byteLength(row.text);
    const fixed = { kind: "git" as const, absolute: "", mtimeMs: 0, marks: [], approximate: false, racy: false };
    return { path, name, remark: row.reason, sizeBytes, ...fixed, ...counts };
  }

  private put(entries: readonly CountedEntry[], empty: readonly { path: string; reason: string }[]): void {
    const { table } = this.options;
    const paths = new Set(entries.map(({ path }) => path));
    for (const path of [...table.git.files.keys()]) if (!paths.has(path)) table.remove(path);
    for (const path of this.texts.keys()) if (!paths.has(path)) this.texts.delete(path);
    for (const path of [...table.root.excluded.keys()]) if (path.startsWith("git:")) table.removeExcluded(path);
    for (const entry of entries) table.put(entry);
    for (const { path, reason } of empty) table.putExcluded({ path, reason, kind: "git" });
    this.options.onChange();
  }
}

/** With several folders each has rows of its own: "git:log", or "git:name/log". */
function pathIn({ prefix }: Root, path: string): string {
  return `git:${prefix}${path.slice("git:".length)}`;
}
