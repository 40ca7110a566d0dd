import type { NamesOfText } from "../../engine/pack/names.ts";
import { runBatches } from "./batches.ts";
import type { CountedEntry, KnownOutline } from "./budgetTable.ts";
import type { CountJobs } from "./countJobs.ts";
import type { CountPool } from "./countPool.ts";
import { throwIfStopped } from "./countStopped.ts";
import type { ScanAnswer, TextRequest } from "./textJobs.ts";

export interface KnowledgeOptions {
  pool: () => CountPool;
  /** Text of an entry that is not what its file holds: an editor's, git's; undefined where the file is meant. */
  textOf: (path: string) => string | undefined;
}

export interface AskOptions {
  signal?: AbortSignal;
  /** Of those that had to be looked at. */
  onProgress?: (done: number, all: number) => void;
}

/** What of a scan is worth keeping. */
export type KnownScan = Pick<ScanAnswer, "secrets" | "hostileLine">;

/** Small, so that a file that is saved meanwhile is counted soon. */
const batchBytes = 64 * 1024;
const batchFiles = 32;

const nothingFound: KnownScan = { secrets: [] };

/** What is known of texts beyond their counts, by content: asked for when somebody needs it, found out once, a batch at a time. */
export class TextKnowledge {
  private readonly options: KnowledgeOptions;
  private readonly names = new Map<string, NamesOfText>();
  private readonly scans = new Map<string, KnownScan>();

  constructor(options: KnowledgeOptions) {
    this.options = options;
  }

  /** Outlines of entries whose texts are still those that were counted, as they are found; the others have changed and are counted again soon. */
  async outlines(
    entries: readonly CountedEntry[],
    take: (entry: CountedEntry, outline: KnownOutline) => void,
    options: AskOptions = {},
  ): Promise<void> {
    await this.ask("outlines", entries, options, (entry, answer) => {
      if ("reason" in answer) take(entry, { reason: answer.reason });
      else if (answer.hash === entry.hash)
        take(entry, { tokens: answer.tokens, lines: answer.lines, definitions: answer.definitions });
    });
  }

  /** What the entries define and use, by content hash. */
  async namesOf(entries: readonly CountedEntry[], options: AskOptions = {}): Promise<ReadonlyMap<string, NamesOfText>> {
    const missing = entries.filter(({ hash }) => !this.names.has(hash));
    await this.ask("names", missing, options, ({ hash }, names) => this.names.set(hash, names));
    return this.names;
  }

  /** What speaks against entries, by content hash; one that has changed since it was counted is missing. */
  async scansOf(entries: readonly CountedEntry[], options: AskOptions = {}): Promise<ReadonlyMap<string, KnownScan>> {
    await this.ask("scan", this.unscanned(entries), options, ({ hash }, scan) => {
      if (!scan || scan.hash !== hash) return;
      const { secrets, hostileLine } = scan;
      this.scans.set(hash, secrets.length === 0 && !hostileLine ? nothingFound : { secrets, hostileLine });
    });
    return this.scans;
  }

  scan(hash: string): KnownScan | undefined {
    return this.scans.get(hash);
  }

  unscanned(entries: readonly CountedEntry[]): CountedEntry[] {
    return entries.filter(({ hash }) => !this.scans.has(hash));
  }

  /** Takes over what an earlier session found out. */
  learn(hash: string, scan: KnownScan): void {
    this.scans.set(hash, scan);
  }

  /** Another tokenizer counts: a line is costly or not by its tokens. */
  forgetScans(): void {
    this.scans.clear();
  }

  /** Forgets texts that no entry has any more; `hashes` are those of all entries. */
  keepOnly(hashes: () => ReadonlySet<string>): void {
    if (this.names.size + this.scans.size === 0) return;
    const kept = hashes();
    for (const known of [this.names, this.scans]) for (const hash of known.keys()) if (!kept.has(hash)) known.delete(hash);
  }

  private async ask<Name extends "outlines" | "names" | "scan">(
    name: Name,
    entries: readonly CountedEntry[],
    { signal, onProgress }: AskOptions,
    take: (entry: CountedEntry, answer: CountJobs[Name]["result"][number]) => void,
  ): Promise<void> {
    const pool = this.options.pool();
    const check = (): void => throwIfStopped(() => signal?.aborted ?? false);
    const limits = { mostWeight: batchBytes, mostItems: batchFiles, lanes: pool.width, check };
    let done = 0;
    await runBatches(entries, { ...limits, weightOf: ({ sizeBytes }) => sizeBytes }, async (batch) => {
      const files = batch.map((entry) => this.request(entry));
      const answers: CountJobs[Name]["result"] = await pool.call(name, { files }, { signal });
      batch.forEach((entry, i) => take(entry, answers[i]));
      done += batch.length;
      onProgress?.(done, entries.length);
    });
  }

  private request({ path, absolute }: CountedEntry): TextRequest {
    const text = this.options.textOf(path);
    return text === undefined ? { path, absolute } : { path, absolute, text };
  }
}
