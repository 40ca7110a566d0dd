import assert from "node:assert/strict";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { answersOf } from "../../../extension/server/answers.ts";
import type { WorkspaceListing } from "../../../extension/server/requests.ts";
import type { WorkspaceCounts } from "../../../extension/server/state.ts";
import { newCounts, plainSettings, readingPool, withCounts, type WordBench, wordPool } from "../../support/wordCounts.ts";
import { withTempTree } from "../../support/tempTree.ts";
import type { BudgetSnapshot } from "../../../webview/protocol/panel.ts";

function listing(counts: WorkspaceCounts): Promise<WorkspaceListing> {
  const answers = answersOf(
    () => counts,
    (message) => assert.fail(message),
  );
  return Promise.resolve(answers["longContext/listing"]({}, new AbortController().signal));
}

/** The state of the counts after changes on disk must be what a count from nothing gives. */
async function assertSameAsFresh({ folder, counts }: WordBench): Promise<void> {
  const found = await listing(counts);
  const fresh = newCounts(folder);
  await fresh.recount();
  assert.deepEqual({ ...found, revision: 0 }, { ...(await listing(fresh)), revision: 0 });
  assert.deepEqual({ ...counts.snapshot(), revision: 0 }, { ...fresh.snapshot(), revision: 0 });
}

test("a count publishes whole states that end in the totals", () =>
  withCounts(
    { "a.txt": "one two\n", "b/c.txt": "three\n", ".gitignore": "*.log\n", "x.log": "no" },
    async ({ counts, published }) => {
      const last = published.at(-1);
      assert.equal(published[0]?.state, "counting");
      assert.ok(last);
      const { state, tokens, packTokens, bytes, totalFiles, doneFiles, excluded, window, reserve } = last;
      assert.deepEqual(
        { state, tokens, packTokens, bytes, totalFiles, doneFiles, excluded, window, reserve },
        {
          // "=== a.txt ===" is three words, for each of three files.
          ...{ state: "ready", tokens: 4, packTokens: 13, bytes: 20, totalFiles: 3, doneFiles: 3, excluded: 1 },
          ...{ window: 1000, reserve: 100 },
        },
      );
      const revisions = published.map(({ revision }) => revision);
      assert.deepEqual(
        revisions,
        [...revisions].sort((a, b) => a - b),
      );
      assert.equal(new Set(revisions).size, revisions.length);
      const { files, excluded: rows } = await listing(counts);
      assert.deepEqual(
        files.map(({ path, tokens: count }) => `${path} ${count}`),
        [".gitignore 1", "a.txt 2", "b/c.txt 1"],
      );
      assert.deepEqual(rows, [{ path: "x.log", reason: "ignored by .gitignore: *.log", kind: "ignored" }]);
    },
  ));

test("a saved file is the only one counted again, and an unchanged one changes no revision", () =>
  withCounts({ "a.txt": "one two\n", "b.txt": "three\n" }, async (bench) => {
    const { folder, counts, texts } = bench;
    const before = counts.snapshot().revision;
    texts.length = 0;
    await counts.update([join(folder, "b.txt")]);
    assert.equal(counts.snapshot().revision, before);
    texts.length = 0;
    await writeFile(join(folder, "b.txt"), "three four five\n");
    await counts.update([join(folder, "b.txt")]);
    assert.deepEqual(texts, ["three four five\n"]);
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
        (await listing(counts)).files.map(({ path }) => path),
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

test("a missing or corrupt tokenizer is a state with a remedy, and the next one is counted with", () =>
  withTempTree({ "a.txt": "one two", "model/tokenizer.json": "{ not json" }, async (folder) => {
    const model = join(folder, "model");
    const settings = { ...plainSettings, tokenizer: join(folder, "nothing") };
    const counts = newCounts(folder, {
      settings,
      openPool: (tokenizer) => (tokenizer === "o200k" ? wordPool() : readingPool(tokenizer)),
    });
    await counts.recount();
    const missing = counts.snapshot();
    assert.equal(missing.state, "failed");
    assert.match(missing.error?.message ?? "", /there is no .*tokenizer\.json|nothing/);
    await assert.rejects(listing(counts), (error) => EngineError.is(error, "tokenizer-invalid") && error.remedy !== "");
    await counts.recount({ settings: { ...settings, tokenizer: model } });
    assert.match(counts.snapshot().error?.message ?? "", /is not JSON/);
    await counts.recount({ settings: plainSettings });
    assert.equal(counts.snapshot().state, "ready");
    assert.equal(counts.snapshot().error, undefined);
    await counts.dispose();
  }));

test("a newer count gives up the older one, and a listing waits for it", () =>
  withTempTree(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`f${index}.txt`, "one two"])), async (folder) => {
    const published: BudgetSnapshot[] = [];
    const counts = newCounts(folder, { publish: (snapshot) => published.push(snapshot) });
    const first = counts.recount({ settings: { ...plainSettings, maxFileBytes: 1 } });
    const second = counts.recount({ settings: plainSettings });
    const third = counts.update([join(folder, ".gitignore")]);
    const { files } = await listing(counts);
    await Promise.all([first, second, third]);
    assert.equal(files.length, 40);
    assert.equal(published.at(-1)?.state, "ready");
    assert.equal(
      published.some(({ state }) => state === "failed"),
      false,
    );
  }));

test("a count that the user stops says how to go on", () =>
  withTempTree({ "a.txt": "one", "b.txt": "two" }, async (folder) => {
    let cancel = (): void => undefined;
    let counting = (): void => undefined;
    const shown = new Promise<void>((resolve) => (counting = resolve));
    const slow = wordPool();
    const counts = newCounts(folder, {
      openPool: () => ({ ...slow, call: (...args) => shown.then(() => slow.call(...args)) }),
      startProgress: () =>
        Promise.resolve({
          report: () => undefined,
          done: () => undefined,
          onCancel: (listener) => {
            cancel = listener;
            cancel();
            counting();
          },
        }),
    });
    await counts.recount();
    const { state, error } = counts.snapshot();
    assert.deepEqual(
      { state, error },
      { state: "failed", error: { message: "counting was stopped", remedy: 'run "Long Context: Recount Tokens"' } },
    );
  }));
