import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import type { CachedPages } from "../../../engine/kv-cache/api.ts";
import { openPrefixIndex, type PrefixIndex } from "../../../engine/kv-cache/prefixIndex.ts";
import { prefixFileBytes } from "../../../engine/kv-cache/prefixFile.ts";
import { openPageKeys, type PageKeys, type PrefixFacts, prefixRoot } from "../../../engine/kv-cache/prefixKey.ts";
import { MemoryPrefixes } from "../../support/memoryPrefixes.ts";

const TOKENS = 4;
const PAGE_BYTES = 100;
const FILE_BYTES = prefixFileBytes(PAGE_BYTES);

const facts: PrefixFacts = {
  ...{ model: "m", backend: "reference", weightFormat: "f32", products: "exact", positions: "p", layout: "fake" },
  ...{ kv: { keys: "f32", values: "f32" }, attention: { policy: { kind: "flash" } }, tokensPerPage: TOKENS },
};

/** A cache whose page n holds its own number in every byte; of states only those in `states` can be exported. */
class FakePages implements CachedPages {
  readonly tokensPerPage = TOKENS;
  readonly layout = "fake";
  readonly held: number[] = [];
  readonly exported: number[] = [];
  mostAtOnce = 0;

  constructor(
    readonly kind: CachedPages["kind"] = "keys",
    readonly bytesPerPage = PAGE_BYTES,
    /** Pages that can be exported; of keys all by default. */
    readonly states?: readonly number[],
  ) {}

  export(first: number, count: number) {
    this.mostAtOnce = Math.max(this.mostAtOnce, count);
    const pages = Array.from({ length: count }, (_, index) => first + index);
    this.exported.push(...pages);
    return Promise.resolve(
      pages.map((page) => (this.states?.includes(page) === false ? undefined : new Uint8Array(this.bytesPerPage).fill(page))),
    );
  }

  import(pages: readonly Uint8Array<ArrayBuffer>[], firstPage: number) {
    for (const [index, bytes] of pages.entries()) {
      assert.ok(bytes.every((byte) => byte === firstPage + index));
      this.held.push(firstPage + index);
    }
    return Promise.resolve();
  }
}

const ids = (pages: number, changedPage = -1): Int32Array =>
  Int32Array.from({ length: pages * TOKENS }, (_, i) => (Math.floor(i / TOKENS) === changedPage ? 1000 + i : i));

async function keysOf(prompt: Int32Array, usedAt: number, other: Partial<PrefixFacts> = {}): Promise<PageKeys> {
  return openPageKeys(await prefixRoot({ ...facts, ...other }), prompt, TOKENS, usedAt);
}

describe("the index of kept prefixes", () => {
  let store: MemoryPrefixes;
  let index: PrefixIndex;
  let pages: FakePages;

  beforeEach(async () => {
    store = new MemoryPrefixes();
    index = await openPrefixIndex(store);
    pages = new FakePages();
  });

  const save = async (keys: PageKeys, from: number, to: number, into = index): Promise<void> => {
    await into.save(keys, pages, { from, to });
    await into.settled();
  };
  /** An index that knows only what the store says, as after a reload. */
  const reloaded = (): Promise<PrefixIndex> => openPrefixIndex(store);

  it("finds the longest kept beginning without reading a page, also after a reload", async () => {
    await save(await keysOf(ids(6), 1), 0, 6);
    const after = await reloaded();
    assert.equal(await after.lookup(await keysOf(ids(9), 2), pages, 9), 6);
    assert.equal(await after.lookup(await keysOf(ids(9), 2), pages, 4), 4, "not more than was asked for");
    assert.equal(await after.lookup(await keysOf(ids(6, 3), 2), pages, 6), 3, "up to the page of an edit");
    assert.equal(await after.lookup(await keysOf(ids(6, 0), 2), pages, 6), 0);
    assert.deepEqual(store.reads, []);
  });

  it("finds nothing of another model, rotation, cache format, attention or layout", async () => {
    await save(await keysOf(ids(3), 1), 0, 3);
    const others: Partial<PrefixFacts>[] = [
      { model: "n" },
      { positions: "q" },
      { kv: { keys: "q8", values: "f32" } },
      { attention: { policy: { kind: "window", window: 64 } } },
      { layout: "fake 2" },
    ];
    for (const other of others)
      assert.equal(await index.lookup(await keysOf(ids(3), 2, other), pages, 3), 0, JSON.stringify(other));
  });

  it("restores page by page behind what is cached", async () => {
    await save(await keysOf(ids(20), 1), 0, 20);
    const seen: number[] = [];
    const keys = await keysOf(ids(20), 2);
    const end = await index.restore(keys, pages, { from: 3, to: 20 }, { onPages: (count) => seen.push(count) });
    assert.equal(end, 20);
    assert.deepEqual(
      pages.held,
      Array.from({ length: 17 }, (_, i) => i + 3),
    );
    assert.deepEqual(
      seen,
      pages.held.map((page) => page + 1),
    );
    assert.equal(index.statistics.restoredPages, 17);
  });

  it("stops between pages when it is told to", async () => {
    await save(await keysOf(ids(8), 1), 0, 8);
    const controller = new AbortController();
    const options = { signal: controller.signal, onPages: (count: number) => (count === 3 ? controller.abort() : undefined) };
    await assert.rejects(index.restore(await keysOf(ids(8), 2), pages, { from: 0, to: 8 }, options), { code: "aborted" });
    assert.deepEqual(pages.held, [0, 1, 2]);
  });

  it("ends a chain at a hole, and fills it", async () => {
    const keys = await keysOf(ids(6), 1);
    await save(keys, 0, 6);
    store.files.delete(await keys.at(2));
    const after = await reloaded();
    const again = await keysOf(ids(6), 2);
    assert.equal(await after.lookup(again, pages, 6), 2);
    pages.exported.length = 0;
    await save(again, 0, 6, after);
    assert.deepEqual(pages.exported, [2], "the others are there");
    assert.equal(await after.lookup(again, pages, 6), 6);
  });

  it("keeps nothing behind a page that the runner gave up before it was taken out", async () => {
    const keys = await keysOf(ids(9), 1);
    pages = new FakePages("keys", PAGE_BYTES, [0, 1, 3, 4, 5, 6, 7, 8]);
    await save(keys, 0, 5);
    assert.deepEqual(store.pages, [0, 1]);
    await save(keys, 5, 9);
    assert.deepEqual(store.pages, [0, 1]);
  });

  it("deletes a damaged page, goes on without, and has it again after the next run", async () => {
    const keys = await keysOf(ids(5), 1);
    await save(keys, 0, 5);
    const file = store.page(3);
    file.bytes[80] = (file.bytes[80] ?? 0) ^ 4;
    assert.equal(await index.restore(keys, pages, { from: 0, to: 5 }), 3);
    assert.deepEqual(pages.held, [0, 1, 2]);
    assert.deepEqual(store.pages, [0, 1, 2, 4]);
    assert.equal(index.statistics.damagedPages, 1);
    assert.equal(await index.lookup(keys, pages, 5), 3);
    await save(keys, 3, 5);
    assert.equal(await index.lookup(keys, pages, 5), 5);
  });

  it("takes a page for absent that somebody else deleted", async () => {
    const keys = await keysOf(ids(4), 1);
    await save(keys, 0, 4);
    store.files.delete(await keys.at(1));
    assert.equal(await index.lookup(keys, pages, 4), 4, "it cannot know yet");
    assert.equal(await index.restore(keys, pages, { from: 0, to: 4 }), 1);
    assert.equal(await index.lookup(keys, pages, 4), 1);
    assert.equal(index.statistics.damagedPages, 0);
  });

  it("evicts what was least recently used, and of one prompt the last pages first", async () => {
    store.maxBytes = 10 * FILE_BYTES;
    index = await reloaded();
    const old = await keysOf(ids(4), 1);
    const newer = await keysOf(ids(4, 0), 2);
    await save(old, 0, 4);
    await save(newer, 0, 4);
    await save(await keysOf(ids(4, 1), 3), 0, 4);
    // Page 0 is shared with the old prompt and not written again: 11 files would be one too many.
    assert.deepEqual(store.deleted, [3]);
    assert.equal(await index.lookup(await keysOf(ids(4), 9), pages, 4), 3);
    // Asking the old one again makes the other one the oldest.
    await index.touch(await keysOf(ids(4), 4), 3);
    await save(
      await keysOf(
        ids(2, 1).map((id) => id + 5),
        5,
      ),
      0,
      2,
    );
    assert.deepEqual(store.deleted, [3, 3, 2]);
    assert.equal(await index.lookup(newer, pages, 4), 2);
    assert.ok(store.bytes <= store.maxBytes);
    assert.equal(index.statistics.evictedPages, 3);
    assert.equal(index.statistics.bytes, store.bytes);
  });

  it("keeps the beginning of a prompt that is larger than all there is room for", async () => {
    store.maxBytes = 3 * FILE_BYTES;
    index = await reloaded();
    await save(await keysOf(ids(8), 1), 0, 8);
    assert.deepEqual(store.pages, [0, 1, 2]);
    assert.deepEqual(store.deleted, []);
  });

  it("does nothing at all with a cap of nothing", async () => {
    await save(await keysOf(ids(3), 1), 0, 3);
    store.maxBytes = 0;
    const off = await reloaded();
    const keys = await keysOf(ids(5), 2);
    assert.equal(await off.lookup(keys, pages, 5), 0);
    pages.exported.length = 0;
    await save(keys, 0, 5, off);
    assert.deepEqual(pages.exported, []);
    assert.equal(store.files.size, 3, "and what is there stays until it is cleared");
  });

  it("comes down to a lower cap with the next prompt, even one that adds nothing", async () => {
    await save(await keysOf(ids(4), 1), 0, 4);
    await save(await keysOf(ids(4, 0), 2), 0, 4);
    store.maxBytes = 5 * FILE_BYTES;
    await save(await keysOf(ids(4, 0), 3), 0, 4, await reloaded());
    assert.deepEqual(store.pages, [0, 0, 1, 2, 3]);
  });

  it("counts what other windows keep before it adds more", async () => {
    const other = await reloaded();
    store.maxBytes = 5 * FILE_BYTES;
    index = await reloaded();
    await save(await keysOf(ids(5), 1), 0, 5, other);
    await save(await keysOf(ids(2, 0), 2), 0, 2, await reloaded());
    assert.ok(store.bytes <= store.maxBytes);
    assert.deepEqual(store.pages, [0, 0, 1, 1, 2]);
  });

  it("writes a bounded number of pages at a time, of bounded size", async () => {
    await save(await keysOf(ids(40), 1), 0, 40);
    assert.ok(store.mostWriting > 1 && store.mostWriting <= 8, `${store.mostWriting} at a time`);
    assert.equal(store.files.size, 40);
    pages = new FakePages("keys", 40 * 2 ** 20);
    store.mostWriting = 0;
    await save(await keysOf(ids(3), 2, { layout: "large" }), 0, 3);
    assert.equal(store.mostWriting, 1);
    assert.equal(pages.mostAtOnce, 1);
  });

  it("goes on without a store that refuses, and says why", async () => {
    store.failing = new Error("the disk is full");
    await save(await keysOf(ids(30), 1), 0, 30);
    assert.equal(store.files.size, 0);
    assert.match(index.statistics.trouble ?? "", /disk is full/);
    assert.ok(pages.exported.length < 30, "the rest is not even taken out");
    store.failing = undefined;
    await save(await keysOf(ids(30), 2), 0, 30);
    assert.equal(store.files.size, 30, "the next prompt tries again");
    const broken = await openPrefixIndex({ ...unreadable, list: () => Promise.reject(new Error("no such folder")) });
    assert.equal(await broken.lookup(await keysOf(ids(3), 1), pages, 3), 0);
    assert.match(broken.statistics.trouble ?? "", /no such folder/);
  });
});

const unreadable = {
  read: () => Promise.resolve(undefined),
  write: () => Promise.resolve(),
  touch: () => Promise.resolve(),
  delete: () => Promise.resolve(),
};

describe("the index of kept states", () => {
  it("restores the last state alone, and needs none before it", async () => {
    const store = new MemoryPrefixes();
    const index = await openPrefixIndex(store);
    const pages = new FakePages("states", PAGE_BYTES, [0, 3, 4, 7, 9, 100]);
    const keys = await keysOf(ids(101), 1);
    await index.save(keys, pages, { from: 0, to: 101 });
    await index.settled();
    // Every fourth page and the last, as far as the runner has them.
    assert.deepEqual(store.pages, [3, 7, 100]);
    assert.equal(await index.lookup(keys, pages, 101), 101);
    assert.equal(await index.lookup(keys, pages, 100), 8);
    assert.equal(await index.lookup(await keysOf(ids(101, 8), 2), pages, 101), 8, "the state before an edit");
    assert.equal(await index.lookup(await keysOf(ids(101, 7), 2), pages, 101), 4);
    assert.equal(await index.restore(keys, pages, { from: 2, to: 101 }), 101);
    assert.deepEqual(pages.held, [100]);
    assert.deepEqual(store.reads, [100]);
  });

  it("goes back to the state before a damaged one", async () => {
    const store = new MemoryPrefixes();
    const index = await openPrefixIndex(store);
    const pages = new FakePages("states", PAGE_BYTES, [3, 7]);
    const keys = await keysOf(ids(8), 1);
    await index.save(keys, pages, { from: 0, to: 8 });
    await index.settled();
    store.page(7).bytes = store.page(7).bytes.slice(0, 50);
    assert.equal(await index.restore(keys, pages, { from: 0, to: 8 }), 4);
    assert.deepEqual(pages.held, [3]);
    store.page(3).bytes.fill(0);
    assert.equal(await index.restore(keys, pages, { from: 0, to: 4 }), 0);
    assert.equal(store.files.size, 0);
  });
});
