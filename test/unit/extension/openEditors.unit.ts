/** Editors with changes that are not saved count as they stand in memory; everything else counts as it is on disk. */
import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import type { WorkspaceCounts } from "../../../extension/server/state.ts";
import { plainSettings, readingPool, withCounts, wordPool } from "../../support/wordCounts.ts";

const saved = "one two three\n";
const edited = "one two three four five\n";
const tree = { "a.txt": saved, "b.txt": "six\n" };

/** What is shown of a file: its tokens, with "unsaved" where that is what its marks say; undefined where it is not counted. */
function shown(counts: WorkspaceCounts, path = "a.txt"): string | undefined {
  const entry = counts.table.file(path)?.entry;
  return entry && [entry.tokens, ...entry.marks.map(({ kind }) => kind)].join(" ");
}

function uriOf(folder: string, path = "a.txt"): string {
  return pathToFileURL(join(folder, path)).href;
}

describe("an editor with changes", () => {
  it("counts as it stands until the changes are undone, and publishes both", () =>
    withCounts(tree, async ({ counts, folder, published }) => {
      await counts.editors.open(uriOf(folder), saved);
      assert.equal(shown(counts), "3");
      await counts.editors.change(uriOf(folder), edited);
      assert.deepEqual([shown(counts), published.at(-1)?.tokens], ["5 unsaved", 6]);
      assert.equal(counts.editors.textAt("a.txt"), edited);
      await counts.editors.change(uriOf(folder), saved);
      assert.deepEqual([shown(counts), published.at(-1)?.tokens], ["3", 4]);
      await counts.editors.change(uriOf(folder), edited);
      assert.equal(shown(counts), "5 unsaved", "and once more");
    }));

  it("is the file again once it is saved", () =>
    withCounts(tree, async ({ counts, folder }) => {
      await counts.editors.open(uriOf(folder), saved);
      await counts.editors.change(uriOf(folder), edited);
      await writeFile(join(folder, "a.txt"), edited);
      counts.editors.save(uriOf(folder));
      await counts.update([join(folder, "a.txt")]);
      assert.equal(shown(counts), "5");
      counts.editors.close(uriOf(folder));
      assert.equal(shown(counts), "5");
    }));

  it("gives way to the file as it is by then when it is closed without saving", () =>
    withCounts(tree, async ({ counts, folder }) => {
      await counts.editors.open(uriOf(folder), saved);
      await counts.editors.change(uriOf(folder), edited);
      await writeFile(join(folder, "a.txt"), "written by another program, in seven words\n");
      await counts.update([join(folder, "a.txt")]);
      assert.equal(shown(counts), "5 unsaved", "what the user types is what counts");
      counts.editors.close(uriOf(folder));
      assert.equal(shown(counts), "7");
    }));

  it("goes with its file", () =>
    withCounts(tree, async ({ counts, folder }) => {
      await counts.editors.open(uriOf(folder), saved);
      await counts.editors.change(uriOf(folder), edited);
      await rm(join(folder, "a.txt"));
      await counts.update([join(folder, "a.txt")]);
      assert.equal(shown(counts), undefined);
    }));

  it("of a file that is not counted changes nothing", () =>
    withCounts({ ...tree, ".gitignore": "no.txt\n", "no.txt": "ten\n" }, async ({ counts, folder }) => {
      const before = counts.snapshot().tokens;
      for (const path of ["no.txt", "../outside.txt"]) {
        await counts.editors.open(uriOf(folder, path), "ten\n");
        await counts.editors.change(uriOf(folder, path), "ten eleven\n");
      }
      assert.equal(counts.snapshot().tokens, before);
    }));

  it("is counted with another tokenizer when the files are", () =>
    withCounts(
      tree,
      async ({ counts, folder }) => {
        await counts.editors.open(uriOf(folder), saved);
        await counts.editors.change(uriOf(folder), edited);
        await counts.recount({ settings: { ...plainSettings, tokenizer: "cl100k" } });
        assert.deepEqual([shown(counts), counts.snapshot().tokens], ["6 unsaved", 8], "line ends are tokens there");
      },
      { openPool: (tokenizer) => (tokenizer === "cl100k" ? readingPool(tokenizer) : wordPool()) },
    ));

  it("counts from the start where VS Code restored it with its changes, whatever its line ends and byte order mark", () =>
    withCounts({ "a.txt": saved, "b.txt": "\uFEFFone\r\ntwo\r\n" }, async ({ counts, folder }) => {
      await counts.editors.open(uriOf(folder), edited);
      await counts.editors.open(uriOf(folder, "b.txt"), "one\ntwo\n");
      assert.deepEqual([shown(counts), shown(counts, "b.txt")], ["5 unsaved", "2 bom"]);
    }));
});

describe("an editor without a file", () => {
  it("counts until it is closed, also through a count of everything", () =>
    withCounts(tree, async ({ counts, published }) => {
      const untitled = "untitled:Untitled-1";
      await counts.editors.open(untitled, "");
      await counts.editors.change(untitled, "seven eight\n");
      assert.deepEqual([shown(counts, untitled), published.at(-1)?.tokens], ["2 unsaved", 6]);
      await counts.recount();
      assert.equal(counts.snapshot().tokens, 6);
      counts.editors.close(untitled);
      assert.deepEqual([shown(counts, untitled), published.at(-1)?.tokens], [undefined, 4]);
    }));
});
