/**
 * Which prefixes are kept, and the way in and out. The index is read from the store once and looked up in memory; blobs are read only to be
 * restored. It never fails a prompt: what cannot be read, is damaged or cannot be written is as if it were not there.
 */
import { plainError, throwIfAborted } from "../errors.ts";
import type { CachedPages, PrefixEntry, PrefixName, PrefixStatistics, PrefixStore } from "./api.ts";
import { decodePrefixFile, encodePrefixFile, prefixFileBytes } from "./prefixFile.ts";
import type { PageKeys } from "./prefixKey.ts";

export interface PrefixIndex {
  /** Whole pages of the prompt's beginning, `most` at most, that can be restored. */
  lookup(keys: PageKeys, pages: CachedPages, most: number): Promise<number>;
  /**
   * Puts the kept pages behind the `from` that are cached, up to `to` of them; returns how many are cached then. A page that turns out damaged is
   * deleted and ends it early. `onPages` hears of every page. Throws `aborted` between pages, and what `CachedPages.import` throws.
   */
  restore(keys: PageKeys, pages: CachedPages, range: PageRange, options?: RestoreOptions): Promise<number>;
  /**
   * Takes pages [from, to), which are whole in the cache, out of it as far as they are not kept yet. Returns when they are out; writing goes
   * on behind it, a bounded number of bytes at a time.
   */
  save(keys: PageKeys, pages: CachedPages, range: PageRange): Promise<void>;
  /** Counts the prompt's first `count` pages as used now, as far as they are kept. */
  touch(keys: PageKeys, count: number): Promise<void>;
  /** Settles when nothing is being written any more. */
  settled(): Promise<void>;
  readonly statistics: PrefixStatistics;
}

export interface PageRange {
  from: number;
  to: number;
}

export interface RestoreOptions {
  signal?: AbortSignal;
  onPages?(pages: number): void;
}

/** Files that are on their way in or out at once. */
const IN_FLIGHT_BYTES = 64 * 2 ** 20;
const MOST_AT_ONCE = 8;
/** Pages that are taken out of the cache in one piece. */
const EXPORT_BYTES = 32 * 2 ** 20;
/**
 * Evenly spread states that are kept of one prompt, beside its last: each stands for all before it and is as large as many pages of keys, and
 * behind an edit at most this part of the prompt is computed again without need.
 */
const STATES_OF_A_PROMPT = 32;
/** Other sessions write to the same store: before more is written, what is known of it may be this old. */
const FRESH_MS = 30_000;

export async function openPrefixIndex(store: PrefixStore): Promise<PrefixIndex> {
  const index = new OpenIndex(store);
  await index.refresh();
  return index;
}

class OpenIndex implements PrefixIndex {
  private entries = new Map<string, PrefixEntry>();
  private maxBytes = 0;
  private listedAt = -Infinity;
  /** Entries that are being written, by key; they take room already. */
  private readonly writing = new Map<string, { entry: PrefixEntry; done: Promise<void> }>();
  private readonly counts = { restoredPages: 0, savedPages: 0, evictedPages: 0, damagedPages: 0 };
  private trouble: string | undefined;
  /** The store refused a file: no more are offered until pages are saved again. */
  private refused = false;

  constructor(private readonly store: PrefixStore) {}

  get statistics(): PrefixStatistics {
    const { entries, maxBytes, counts, trouble } = this;
    return { entries: entries.size, bytes: this.bytes(), maxBytes, ...counts, trouble };
  }

  /** Reads the store's list; what it says goes before what was known, so nothing may be on its way. */
  async refresh(): Promise<void> {
    await this.settled();
    await this.attempt(async () => {
      const { entries, maxBytes } = await this.store.list();
      this.entries = new Map(entries.map((entry) => [entry.key, entry]));
      this.maxBytes = maxBytes;
      this.listedAt = performance.now();
    });
  }

  async lookup(keys: PageKeys, pages: CachedPages, most: number): Promise<number> {
    if (this.maxBytes === 0) return 0;
    const limit = Math.min(most, keys.pages);
    if (pages.kind === "keys") {
      let count = 0;
      while (count < limit && (await this.kept(keys, count))) count++;
      return count;
    }
    for (let count = Math.min(limit, this.deepest(keys.root)); count > 0; count--) {
      if (await this.kept(keys, count - 1)) return count;
    }
    return 0;
  }

  async restore(keys: PageKeys, pages: CachedPages, range: PageRange, options: RestoreOptions = {}): Promise<number> {
    return pages.kind === "keys" ? this.restoreKeys(keys, pages, range, options) : this.restoreState(keys, pages, range, options);
  }

  private async restoreKeys(keys: PageKeys, pages: CachedPages, range: PageRange, options: RestoreOptions): Promise<number> {
    const { from, to } = range;
    const ahead = filesInFlight(pages);
    const reads: Promise<Uint8Array<ArrayBuffer> | undefined>[] = [];
    for (let page = from; page < to; page++) {
      throwIfAborted(options.signal);
      while (from + reads.length < Math.min(to, page + ahead)) reads.push(this.read(keys, pages, from + reads.length));
      const payload = await reads[page - from];
      if (payload === undefined) return page;
      await pages.import([payload], page);
      // A prompt's pages are many and large: what is in the cache need not stay here.
      reads[page - from] = Promise.resolve(undefined);
      this.counts.restoredPages++;
      options.onPages?.(page + 1);
    }
    return to;
  }

  private async restoreState(keys: PageKeys, pages: CachedPages, range: PageRange, options: RestoreOptions): Promise<number> {
    for (let count = range.to; count > range.from; count = await this.lookup(keys, pages, count - 1)) {
      throwIfAborted(options.signal);
      const payload = await this.read(keys, pages, count - 1);
      if (payload === undefined) continue;
      await pages.import([payload], count - 1);
      this.counts.restoredPages++;
      options.onPages?.(count);
      return count;
    }
    return range.from;
  }

  async save(keys: PageKeys, pages: CachedPages, { from, to }: PageRange): Promise<void> {
    if (performance.now() - this.listedAt > FRESH_MS) await this.refresh();
    if (this.maxBytes === 0) return;
    this.refused = false;
    // The cap may have been lowered.
    if (!(await this.makeRoom(0, keys, to))) return;
    // Without the page before nobody can use these.
    if (pages.kind === "keys" && from > 0 && (await this.wanted(keys, pages, from - 1))) return;
    const batch = pages.kind === "states" ? 1 : atOnce(pages, EXPORT_BYTES);
    for (let first = from, end = from; first < to; first = end) {
      while (end < to && end - first < batch && (await this.wanted(keys, pages, end))) end++;
      if (end === first) end++;
      else if (!(await this.saveRun(keys, pages, { from: first, to: end }))) return;
    }
  }

  /** Takes these pages out and begins to write them; false where one is missing, there is no room left, or the store refuses. */
  private async saveRun(keys: PageKeys, pages: CachedPages, { from, to }: PageRange): Promise<boolean> {
    const bytes = prefixFileBytes(pages.bytesPerPage);
    for (const [index, payload] of (await pages.export(from, to - from)).entries()) {
      if (payload === undefined && pages.kind === "keys") return false;
      if (payload === undefined) continue;
      const name = await nameOf(keys, from + index);
      await this.roomInFlight(pages);
      if (this.refused || !(await this.makeRoom(bytes, keys, from + index))) return false;
      this.write({ ...name, bytes, lastUsed: keys.usedAt }, payload);
    }
    return true;
  }

  async touch(keys: PageKeys, count: number): Promise<void> {
    const used: PrefixEntry[] = [];
    for (let page = 0; page < Math.min(count, keys.pages); page++) {
      const entry = this.entries.get(await keys.at(page));
      if (entry !== undefined && entry.lastUsed < keys.usedAt) used.push(entry);
    }
    if (used.length === 0) return;
    for (const entry of used) this.entries.set(entry.key, { ...entry, lastUsed: keys.usedAt });
    await this.attempt(() => this.store.touch(used.map(plainName), keys.usedAt));
  }

  async settled(): Promise<void> {
    while (this.writing.size > 0) await Promise.all([...this.writing.values()].map(({ done }) => done));
  }

  /** Waits for a page that is on its way: a device may be lost right behind the prefill. */
  private async kept(keys: PageKeys, page: number): Promise<boolean> {
    const key = await keys.at(page);
    await this.writing.get(key)?.done;
    return this.entries.has(key);
  }

  /** Whether a page is worth taking out, and not kept or on its way. */
  private async wanted(keys: PageKeys, pages: CachedPages, page: number): Promise<boolean> {
    if (pages.kind === "states" && (page + 1) % stateStep(keys) !== 0 && page + 1 !== keys.pages) return false;
    return !this.writing.has(await keys.at(page)) && !(await this.kept(keys, page));
  }

  /** Pages up to which anything is kept of prompts of this root. */
  private deepest(root: string): number {
    let count = 0;
    for (const entry of this.entries.values()) if (entry.root === root) count = Math.max(count, entry.page + 1);
    return count;
  }

  /** The payload of a page; a file that is not what it should be is deleted. */
  private async read(keys: PageKeys, pages: CachedPages, page: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const name = await nameOf(keys, page);
    const bytes = await this.attempt(() => this.store.read(name));
    const payload = bytes === undefined ? undefined : await decodePrefixFile(bytes, name, pages.bytesPerPage);
    if (payload !== undefined) return payload;
    this.entries.delete(name.key);
    if (bytes === undefined) return undefined;
    this.counts.damagedPages++;
    await this.attempt(() => this.store.delete([name]));
    return undefined;
  }

  private write(entry: PrefixEntry, payload: Uint8Array): void {
    const work = async (): Promise<void> => {
      const name = plainName(entry);
      try {
        await this.store.write(name, await encodePrefixFile(name, payload), entry.lastUsed);
        this.entries.set(entry.key, entry);
        this.counts.savedPages++;
      } catch (error) {
        this.refused = true;
        this.trouble = plainError(error).message;
      } finally {
        this.writing.delete(entry.key);
      }
    };
    this.writing.set(entry.key, { entry, done: work() });
  }

  /** Waits until another file of this size may be on its way. */
  private async roomInFlight(pages: CachedPages): Promise<void> {
    while (this.writing.size >= filesInFlight(pages)) await Promise.race([...this.writing.values()].map(({ done }) => done));
  }

  /**
   * Deletes what was least recently used, and of one prompt its last pages first, until `bytes` more fit. False where only the first `page`
   * pages of this prompt are left to delete: its beginning is worth more than its end.
   */
  private async makeRoom(bytes: number, keys: PageKeys, page: number): Promise<boolean> {
    const excess = (): number => this.bytes() + bytes - this.maxBytes;
    if (excess() <= 0) return true;
    const own = new Set<string>();
    for (let before = 0; before < page; before++) own.add(await keys.at(before));
    const victims: PrefixEntry[] = [];
    const oldestFirst = [...this.entries.values()].sort((a, b) => a.lastUsed - b.lastUsed || b.page - a.page);
    for (const entry of oldestFirst) {
      if (excess() <= 0) break;
      if (own.has(entry.key)) continue;
      this.entries.delete(entry.key);
      victims.push(entry);
    }
    this.counts.evictedPages += victims.length;
    if (victims.length > 0) await this.attempt(() => this.store.delete(victims.map(plainName)));
    return excess() <= 0;
  }

  private bytes(): number {
    let sum = 0;
    for (const { bytes } of this.entries.values()) sum += bytes;
    for (const { entry } of this.writing.values()) if (!this.entries.has(entry.key)) sum += entry.bytes;
    return sum;
  }

  /** What the store does; where it fails the prompt goes on without, and the statistics say why. */
  private async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.trouble = plainError(error).message;
      return undefined;
    }
  }
}

function filesInFlight(pages: CachedPages): number {
  return atOnce(pages, IN_FLIGHT_BYTES);
}

/** Pages that fit into these bytes: at least one, and never many, so that a stop or a failure is soon heard. */
function atOnce({ bytesPerPage }: CachedPages, bytes: number): number {
  return Math.max(1, Math.min(MOST_AT_ONCE, Math.floor(bytes / bytesPerPage)));
}

/** A power of two, so that the states of a prompt are among those of a longer one that begins with it. */
function stateStep({ pages }: PageKeys): number {
  let step = 1;
  while (pages / step > STATES_OF_A_PROMPT) step *= 2;
  return step;
}

async function nameOf(keys: PageKeys, page: number): Promise<PrefixName> {
  return { root: keys.root, page, key: await keys.at(page) };
}

function plainName({ root, page, key }: PrefixEntry): PrefixName {
  return { root, page, key };
}
