import type { PrefixEntry, PrefixListing, PrefixName, PrefixStore } from "../../engine/kv-cache/api.ts";

/** A place for prefixes in memory, and a record of what was asked of it. */
export class MemoryPrefixes implements PrefixStore {
  readonly files = new Map<string, { name: PrefixName; bytes: Uint8Array<ArrayBuffer>; lastUsed: number }>();
  readonly reads: number[] = [];
  readonly deleted: number[] = [];
  lists = 0;
  /** Files that are being written now, and the most there were. */
  writing = 0;
  mostWriting = 0;
  /** What it throws on every write, e.g. because a disk is full. */
  failing: Error | undefined;

  constructor(public maxBytes = 2 ** 30) {}

  get bytes(): number {
    return [...this.files.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /** Pages that are there, rising. */
  get pages(): number[] {
    return [...this.files.values()].map(({ name }) => name.page).sort((a, b) => a - b);
  }

  list(): Promise<PrefixListing> {
    this.lists++;
    const entries: PrefixEntry[] = [...this.files.values()].map(({ name, bytes, lastUsed }) => ({
      ...name,
      bytes: bytes.length,
      lastUsed,
    }));
    return Promise.resolve({ entries, maxBytes: this.maxBytes });
  }

  read(name: PrefixName): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.reads.push(name.page);
    return Promise.resolve(this.files.get(name.key)?.bytes.slice());
  }

  async write(name: PrefixName, bytes: Uint8Array<ArrayBuffer>, lastUsed: number): Promise<void> {
    this.mostWriting = Math.max(this.mostWriting, ++this.writing);
    await new Promise((resolve) => setTimeout(resolve, 1));
    this.writing--;
    if (this.failing) throw this.failing;
    this.files.set(name.key, { name, bytes: bytes.slice(), lastUsed });
  }

  touch(names: readonly PrefixName[], lastUsed: number): Promise<void> {
    for (const { key } of names) {
      const file = this.files.get(key);
      if (file) file.lastUsed = lastUsed;
    }
    return Promise.resolve();
  }

  delete(names: readonly PrefixName[]): Promise<void> {
    for (const { key, page } of names) if (this.files.delete(key)) this.deleted.push(page);
    return Promise.resolve();
  }

  /** The one file of this page. */
  page(page: number) {
    const found = [...this.files.values()].find(({ name }) => name.page === page);
    if (!found) throw new Error(`no page ${page} among ${this.pages.join(", ")}`);
    return found;
  }
}
