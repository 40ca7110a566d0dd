import assert from "node:assert/strict";
import { mkdir, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { PrefixName } from "../../../engine/kv-cache/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { openPrefixFolder, type PrefixFolder } from "../../../extension/prefixes/prefixFolder.ts";
import { withTempTree } from "../../support/tempTree.ts";

const ROOT = "0".repeat(32);
const OTHER_ROOT = "a".repeat(32);
const name = (page: number, root = ROOT): PrefixName => ({ root, page, key: String(page).padStart(32, "f") });
const bytesOf = (page: number): Uint8Array<ArrayBuffer> => new Uint8Array(1000 + page).fill(page);

function withFolder(use: (store: PrefixFolder, folder: string) => Promise<void>, maxBytes = 5000): Promise<void> {
  return withTempTree({}, (folder) =>
    use(
      openPrefixFolder(join(folder, "prefixes"), () => maxBytes),
      join(folder, "prefixes"),
    ),
  );
}

describe("the folder of kept prefixes", () => {
  it("gives back what was written, and lists it with its time of use", () =>
    withFolder(async (store, folder) => {
      assert.deepEqual(await store.list(), { entries: [], maxBytes: 5000 });
      assert.equal(await store.read(name(3)), undefined);
      await store.write(name(3), bytesOf(3), 1_700_000_000_123);
      await store.write(name(0, OTHER_ROOT), bytesOf(0), 1_700_000_000_001);
      assert.deepEqual(await store.read(name(3)), bytesOf(3));
      const expected = [
        { ...name(3), bytes: 1003, lastUsed: 1_700_000_000_123 },
        { ...name(0, OTHER_ROOT), bytes: 1000, lastUsed: 1_700_000_000_001 },
      ];
      assert.deepEqual((await store.list()).entries, expected);
      // Another window, and the same after a restart.
      assert.deepEqual((await openPrefixFolder(folder, () => 1).list()).entries, expected);
      assert.deepEqual((await readdir(folder)).sort(), [ROOT, OTHER_ROOT], "one folder for each root");
    }));

  it("touches what is there, and deletes without leaving empty folders", () =>
    withFolder(async (store, folder) => {
      for (const page of [0, 1, 2]) await store.write(name(page), bytesOf(page), 1000);
      await store.touch([name(0), name(1), name(9)], 5000);
      assert.deepEqual(
        (await store.list()).entries.map(({ page, lastUsed }) => [page, lastUsed]),
        [
          [0, 5000],
          [1, 5000],
          [2, 1000],
        ],
      );
      await store.delete([name(1), name(7)]);
      assert.deepEqual(
        (await store.list()).entries.map(({ page }) => page),
        [0, 2],
      );
      await store.delete([name(0), name(2)]);
      assert.deepEqual(await readdir(folder), []);
    }));

  it("knows nothing of a file whose writer ended before it was whole, and sweeps it in time", () =>
    withFolder(async (store, folder) => {
      await store.write(name(0), bytesOf(0), 1000);
      const [unfinished, recent] = ["1-" + "e".repeat(32) + ".kv.aabbcc.tmp", "2-" + "e".repeat(32) + ".kv.ddeeff.tmp"];
      for (const file of [unfinished, recent]) await writeFile(join(folder, ROOT, file), "half of a pa");
      const hourAgo = new Date(Date.now() - 3_600_000);
      await utimes(join(folder, ROOT, unfinished), hourAgo, hourAgo);
      assert.deepEqual(
        (await store.list()).entries.map(({ page }) => page),
        [0],
      );
      const left = await readdir(join(folder, ROOT));
      assert.ok(!left.includes(unfinished), "nobody finishes it any more");
      assert.ok(left.includes(recent), "another window may be writing this one");
      assert.equal(await store.read({ root: ROOT, page: 1, key: "e".repeat(32) }), undefined);
    }));

  it("leaves nothing of a page whose pieces end early, fail or are too many", () =>
    withFolder(async (store, folder) => {
      async function* pieces(count: number, fails = false) {
        for (let piece = 0; piece < count; piece++) yield Promise.resolve(new Uint8Array(100).fill(piece));
        if (fails) throw new Error("the connection broke");
      }
      const refused = (work: Promise<void>) => assert.rejects(work, (error) => EngineError.is(error, "storage-failed"));
      await refused(store.writePieces(name(0), pieces(9), 1000, 1));
      await refused(store.writePieces(name(0), pieces(11), 1000, 1));
      await refused(store.writePieces(name(0), pieces(5, true), 1000, 1));
      assert.deepEqual((await store.list()).entries, []);
      assert.deepEqual(await readdir(join(folder, ROOT)), [], "nor an unfinished file");
      await store.writePieces(name(0), pieces(10), 1000, 1);
      assert.equal((await store.read(name(0)))?.[950], 9);
    }));

  it("is written by several windows at once without a broken page", () =>
    withFolder(async (_, folder) => {
      const windows = Array.from({ length: 4 }, () => openPrefixFolder(folder, () => 1e9));
      const pages = [0, 1, 2, 3, 4];
      const seen: (Uint8Array | undefined)[] = [];
      await Promise.all(
        windows.flatMap((store, window) =>
          pages.map(async (page) => {
            await store.write(name(page), bytesOf(page), window);
            seen.push(await store.read(name(page)));
            if (window === 3) await store.delete([name(page)]);
          }),
        ),
      );
      for (const bytes of seen) if (bytes) assert.deepEqual(bytes, bytesOf(bytes[0] ?? 0));
      for (const { page, bytes } of (await windows[0]?.list())?.entries ?? []) assert.equal(bytes, bytesOf(page).length);
    }));

  it("clears everything of its own and nothing else, and says how much that was", () =>
    withFolder(async (store, folder) => {
      await store.write(name(0), bytesOf(0), 1);
      await store.write(name(1, OTHER_ROOT), bytesOf(1), 1);
      await mkdir(join(folder, "somebody-elses"));
      await writeFile(join(folder, "notes.txt"), "mine");
      assert.deepEqual(await store.clear(), { freedBytes: 2001 });
      assert.deepEqual((await readdir(folder)).sort(), ["notes.txt", "somebody-elses"]);
      assert.deepEqual(await store.clear(), { freedBytes: 0 });
    }));

  it("takes nothing but keys for a path", () =>
    withFolder(async (store, folder) => {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "secret"), "no");
      for (const wrong of [
        { ...name(0), root: "../secret" },
        { ...name(0), key: "../../secret" },
        { ...name(0), root: "" },
        { ...name(0), page: -1 },
        { ...name(0), page: 0.5 },
      ]) {
        await assert.rejects(store.write(wrong, bytesOf(0), 1), (error) => EngineError.is(error, "bad-argument"));
        await assert.rejects(store.read(wrong), (error) => EngineError.is(error, "bad-argument"));
      }
      assert.equal(await readFile(join(folder, "secret"), "utf8"), "no");
    }));

  it("says what the disk refuses", () =>
    withTempTree({ prefixes: "a file, not a folder" }, async (folder) => {
      const store = openPrefixFolder(join(folder, "prefixes"), () => 1000);
      assert.deepEqual((await store.list()).entries, []);
      await assert.rejects(store.write(name(0), bytesOf(0), 1), (error) => EngineError.is(error, "storage-failed"));
      assert.ok((await stat(join(folder, "prefixes"))).isFile());
    }));
});
