import assert from "node:assert/strict";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { readTokenizer } from "../../../extension/server/tokenizerFile.ts";
import { WorkspaceCounts, type WorkspaceCountsOptions } from "../../../extension/server/state.ts";
import type { BudgetSnapshot } from "../../../webview/protocol/panel.ts";
import { withTempTree } from "../../support/tempTree.ts";

/** One token per word: what counts here is which files are counted, and how often. */
function wordTokenizer(): { count(text: string): number; texts: string[] } {
  const texts: string[] = [];
  return {
    texts,
    count(text) {
      texts.push(text);
      return text.split(/\s+/).filter(Boolean).length;
    },
  };
}

function silentProgress() {
  return Promise.resolve({ report: () => undefined, done: () => undefined, onCancel: () => undefined });
}

interface Bench {
  folder: string;
  counts: WorkspaceCounts;
  published: BudgetSnapshot[];
  texts: string[];
}

/** Counts a tree, then runs `use` on it; nothing may have been logged as an internal failure. */
async function withCounts(
  tree: Record<string, string>,
  use: (bench: Bench) => Promise<void>,
  changes: Partial<WorkspaceCountsOptions> = {},
) {
  await withTempTree(tree, async (folder) => {
    const tokenizer = wordTokenizer();
    const published: BudgetSnapshot[] = [];
    const logged: string[] = [];
    const counts = new WorkspaceCounts({
      roots: [{ folder, prefix: "" }],
      readTokenizer: () => Promise.resolve(tokenizer),
      publish: (snapshot) => published.push(snapshot),
      startProgress: silentProgress,
      log: (message) => logged.push(message),
      ...changes,
    });
    await counts.recount("/models/words");
    await use({ folder, counts, published, texts: tokenizer.texts });
    counts.dispose();
    assert.deepEqual(logged, []);
  });
}

/** The state of the counts after changes on disk must be what a count from nothing gives. */
async function assertSameAsFresh({ folder, counts }: Bench): Promise<void> {
  const listing = await counts.listing();
  const fresh = new WorkspaceCounts({
    roots: [{ folder, prefix: "" }],
    readTokenizer: () => Promise.resolve(wordTokenizer()),
    publish: () => undefined,
    startProgress: silentProgress,
    log: () => undefined,
  });
  await fresh.recount("/models/words");
  const wanted = await fresh.listing();
  assert.deepEqual({ ...listing, revision: 0 }, { ...wanted, revision: 0 });
  assert.deepEqual({ ...counts.snapshot(), revision: 0 }, { ...fresh.snapshot(), revision: 0 });
}

test("a count publishes whole states that end in the totals", () =>
  withCounts(
    { "a.txt": "one two", "b/c.txt": "three", ".gitignore": "*.log\n", "x.log": "no" },
    async ({ counts, published }) => {
      const last = published.at(-1);
      assert.equal(published[0]?.state, "counting");
      assert.ok(last);
      const { state, tokens, bytes, totalFiles, doneFiles, excluded, tokenizer } = last;
      assert.deepEqual(
        { state, tokens, bytes, totalFiles, doneFiles, excluded, tokenizer },
        {
          state: "ready",
          tokens: 4,
          bytes: 18,
          totalFiles: 3,
          doneFiles: 3,
          excluded: 1,
          tokenizer: "words",
        },
      );
      const revisions = published.map(({ revision }) => revision);
      assert.deepEqual(
        revisions,
        [...revisions].sort((a, b) => a - b),
      );
      assert.equal(new Set(revisions).size, revisions.length);
      const listing = await counts.listing();
      assert.deepEqual(
        listing.files.map(({ path, tokens: count }) => `${path} ${count}`),
        [".gitignore 1", "a.txt 2", "b/c.txt 1"],
      );
      assert.deepEqual(listing.excluded, [{ path: "x.log", reason: "ignored by .gitignore: *.log" }]);
    },
  ));

test("a saved file is the only one counted again, and an unchanged one changes no revision", () =>
  withCounts({ "a.txt": "one two", "b.txt": "three" }, async (bench) => {
    const { folder, counts, texts } = bench;
    const before = counts.snapshot().revision;
    await counts.update([join(folder, "b.txt")]);
    assert.equal(counts.snapshot().revision, before);
    texts.length = 0;
    await writeFile(join(folder, "b.txt"), "three four five");
    await counts.update([join(folder, "b.txt")]);
    assert.deepEqual(texts, ["three four five"]);
    assert.equal(counts.snapshot().tokens, 5);
    assert.ok(counts.snapshot().revision > before);
    await assertSameAsFresh(bench);
  }));

test("created, deleted, renamed and newly ignored paths leave the state of a fresh count", () =>
  withCounts(
    { "a.txt": "one", "dir/b.txt": "two", "dir/sub/c.txt": "three", ".gitignore": "out/\n", "out/d.txt": "four" },
    async (bench) => {
      const { folder, counts } = bench;
      await mkdir(join(folder, "new"));
      await writeFile(join(folder, "new", "e.txt"), "five six");
      await counts.update([join(folder, "new")]);
      await assertSameAsFresh(bench);
      await rename(join(folder, "dir"), join(folder, "moved"));
      await counts.update([join(folder, "dir"), join(folder, "moved")]);
      await assertSameAsFresh(bench);
      await rm(join(folder, "a.txt"));
      await writeFile(join(folder, "out", "f.txt"), "not counted");
      await writeFile(join(folder, "moved", "b.txt"), new Uint8Array([0, 1, 2]));
      await counts.update([join(folder, "a.txt"), join(folder, "out", "f.txt"), join(folder, "moved", "b.txt")]);
      await assertSameAsFresh(bench);
      await writeFile(join(folder, ".gitignore"), "moved/\n");
      await counts.update([join(folder, ".gitignore")]);
      await assertSameAsFresh(bench);
      assert.deepEqual(
        (await counts.listing()).files.map(({ path }) => path),
        [".gitignore", "new/e.txt", "out/d.txt", "out/f.txt"],
      );
    },
  ));

test("a path outside the workspace changes nothing", () =>
  withCounts({ "a.txt": "one" }, async ({ counts, folder }) => {
    const before = counts.snapshot();
    await counts.update([join(folder, "..", "elsewhere.txt")]);
    assert.deepEqual(counts.snapshot(), before);
  }));

test("a missing or corrupt tokenizer is a state with a remedy, and the next model is counted with", async () => {
  const tree = { "a.txt": "one two", "model/tokenizer.json": "{ not json" };
  await withCounts(
    tree,
    async ({ counts, folder }) => {
      const missing = counts.snapshot();
      assert.equal(missing.state, "failed");
      assert.match(missing.error?.message ?? "", /there is no .*tokenizer\.json/);
      await assert.rejects(counts.listing(), (error) => EngineError.is(error, "tokenizer-invalid") && error.remedy !== "");
      await counts.recount(join(folder, "model"));
      assert.match(counts.snapshot().error?.message ?? "", /is not JSON/);
      await counts.recount("/models/words");
      assert.equal(counts.snapshot().state, "ready");
      assert.equal(counts.snapshot().error, undefined);
    },
    {
      readTokenizer: (() => {
        let calls = 0;
        return (folder: string) => (++calls < 3 ? readTokenizer(folder) : Promise.resolve(wordTokenizer()));
      })(),
    },
  );
});

test("a newer count gives up the older one, and a listing waits for it", () =>
  withTempTree(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`f${index}.txt`, "one two"])), async (folder) => {
    const published: BudgetSnapshot[] = [];
    const counts = new WorkspaceCounts({
      roots: [{ folder, prefix: "" }],
      readTokenizer: (name) => Promise.resolve({ count: () => (name === "old" ? 1 : 10) }),
      publish: (snapshot) => published.push(snapshot),
      startProgress: silentProgress,
      log: (message) => assert.equal(message, undefined),
    });
    const first = counts.recount("old");
    const second = counts.recount("new");
    const third = counts.update([join(folder, ".gitignore")]);
    const listing = await counts.listing();
    await Promise.all([first, second, third]);
    assert.equal(listing.files.length, 40);
    assert.ok(listing.files.every(({ tokens }) => tokens === 10));
    assert.equal(published.at(-1)?.state, "ready");
    assert.equal(
      published.some(({ state }) => state === "failed"),
      false,
    );
  }));

test("a count that the user stops says how to go on", () =>
  withTempTree({ "a.txt": "one", "b.txt": "two" }, async (folder) => {
    let cancel = (): void => undefined;
    const counts = new WorkspaceCounts({
      roots: [{ folder, prefix: "" }],
      readTokenizer: () =>
        Promise.resolve({
          count: () => {
            cancel();
            return 1;
          },
        }),
      publish: () => undefined,
      startProgress: () =>
        Promise.resolve({
          report: () => undefined,
          done: () => undefined,
          onCancel: (listener) => {
            cancel = listener;
          },
        }),
      log: (message) => assert.equal(message, undefined),
    });
    await counts.recount("words");
    const { state, error } = counts.snapshot();
    assert.deepEqual(
      { state, error },
      {
        state: "failed",
        error: { message: "counting was stopped", remedy: 'run "Long Context: Recount Tokens"' },
      },
    );
  }));
