/** A server that was killed, or whose index is damaged, goes on or starts again; nothing is lost and nothing is fatal. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { CountPool } from "../../../extension/server/countPool.ts";
import { newCounts, plainSettings, withCounts, type WordBench, wordPool } from "../../support/wordCounts.ts";

const tree = { "a.ts": "one two\n", "b/c.md": "three\n", "d.bin": "\0\0\0", "store/.keep": "" };

/** Counts with an index, as a first session leaves it. */
function indexed(use: (bench: WordBench & { index: string }) => Promise<void>): Promise<void> {
  return withCounts(tree, async (bench) => {
    const { counts, folder } = bench;
    // Younger files are read again, because a second change within the clock's resolution would not show.
    for (const path of Object.keys(tree)) execFileSync("touch", ["-d", "2020-01-01", join(folder, path)]);
    await counts.recount({ settings: { ...plainSettings, storageFolder: join(folder, "store") }, reread: true });
    await counts.dispose();
    const [index = ""] = (await readdir(join(folder, "store"))).filter((name) => name.endsWith(".index"));
    await use({ ...bench, index: join(folder, "store", index) });
  });
}

/** A pool that must not be asked to read a file. */
function idlePool(): CountPool {
  const pool = wordPool();
  return { ...pool, call: (name, ...rest) => (name === "count" ? assert.fail("a file is read") : pool.call(name, ...rest)) };
}

async function nextSession(
  folder: string,
  openPool: () => CountPool,
): Promise<{ tokens: number; excluded: number; logged: string[] }> {
  const logged: string[] = [];
  const settings = { ...plainSettings, storageFolder: join(folder, "store") };
  const next = newCounts(folder, { settings, openPool, log: (message) => logged.push(message) });
  await next.recount();
  const { state, tokens, excluded } = next.snapshot();
  assert.equal(state, "ready");
  await next.dispose();
  return { tokens, excluded, logged };
}

describe("the index of token counts", () => {
  it("answers for every file that has not changed, binary ones too, without reading one", () =>
    indexed(async ({ folder }) => {
      // The index and the levels lie in the workspace here and are new: they would be read.
      await writeFile(join(folder, ".longcontextignore"), "store/\n.longcontextignore\n");
      assert.deepEqual(await nextSession(folder, idlePool), { tokens: 3, excluded: 3, logged: [] });
    }));

  it("that is damaged is reported and made again", () =>
    indexed(async ({ folder, index }) => {
      await writeFile(join(folder, ".longcontextignore"), "store/\n.longcontextignore\n");
      const whole = await readFile(index);
      for (const damage of [whole.subarray(0, whole.length - 7), Buffer.from("not an index"), Buffer.alloc(0)]) {
        await writeFile(index, damage);
        const { tokens, excluded, logged } = await nextSession(folder, () => wordPool());
        assert.deepEqual([tokens, excluded], [3, 3]);
        assert.equal(logged.length, 1);
        assert.match(logged[0] ?? "", /the index of token counts is damaged and is made again/);
        assert.deepEqual(await nextSession(folder, idlePool), { tokens: 3, excluded: 3, logged: [] });
      }
    }));

  it("of another tokenizer counts for nothing, and is kept for when that one comes back", () =>
    indexed(async ({ folder }) => {
      await writeFile(join(folder, ".longcontextignore"), "store/\n.longcontextignore\n");
      const other = { ...plainSettings, tokenizer: "cl100k", storageFolder: join(folder, "store") };
      let read = 0;
      const pool = wordPool();
      const next = newCounts(folder, {
        settings: other,
        openPool: () => ({ ...pool, call: (name, ...rest) => (name === "count" ? read++ : 0, pool.call(name, ...rest)) }),
      });
      await next.recount();
      assert.ok(read > 0);
      await next.dispose();
      assert.equal((await nextSession(folder, idlePool)).tokens, 3);
    }));
});
