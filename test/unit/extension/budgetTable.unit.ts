/** The sums of every folder after any changes are those of its files. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BudgetTable, type CountedEntry, filesOf, type FolderNode } from "../../../extension/server/budgetTable.ts";
import { seeded } from "../../support/random.ts";

const random = seeded(11);
const below = (count: number): number => Math.floor(random() * count);

function anyPath(): string {
  const folders = Array.from({ length: below(4) }, () => `${"abc"[below(3)] ?? ""}/`).join("");
  return `${folders}f${below(4)}`;
}

function entryOf(path: string): CountedEntry {
  const tokens = below(1000);
  const counts = { hash: `h${below(30)}`, tokens, bodyTokens: tokens, nameTokens: 3, marks: [] };
  return {
    path,
    kind: "file",
    absolute: `/${path}`,
    sizeBytes: below(5000),
    mtimeMs: below(99),
    ...counts,
    approximate: false,
    racy: false,
  };
}

/** Checks a folder and all below it against the files that should be there. */
function check(folder: FolderNode, expected: ReadonlyMap<string, CountedEntry>): void {
  const inside = [...expected.values()].filter(({ path }) => path.startsWith(folder.path));
  assert.deepEqual(
    filesOf(folder)
      .map(({ entry }) => entry.path)
      .sort(),
    inside.map(({ path }) => path).sort(),
  );
  const { files, bytes, fullTokens, packTokens } = folder.sums;
  const sum = (of: (entry: CountedEntry) => number): number => inside.reduce((all, entry) => all + of(entry), 0);
  assert.deepEqual(
    { files, bytes, fullTokens, packTokens },
    {
      files: inside.length,
      bytes: sum(({ sizeBytes }) => sizeBytes),
      fullTokens: sum(({ tokens }) => tokens),
      packTokens: sum(({ bodyTokens, nameTokens }) => bodyTokens + nameTokens),
    },
  );
  for (const inner of folder.folders.values()) {
    assert.ok(inner.files.size + inner.folders.size > 0, `${inner.path} is empty`);
    check(inner, expected);
  }
}

describe("the table of counts", () => {
  it("adds up in every folder and knows copies, whatever is put and removed", () => {
    const table = new BudgetTable(() => "full");
    const expected = new Map<string, CountedEntry>();
    for (let step = 0; step < 4000; step++) {
      const path = anyPath();
      const choice = random();
      if (choice < 0.6) {
        const entry = entryOf(path);
        table.put(entry);
        expected.set(path, entry);
      } else if (choice < 0.9) {
        table.remove(path);
        expected.delete(path);
      } else if (choice < 0.99) {
        const folder = path.slice(0, path.lastIndexOf("/"));
        if (folder === "") continue;
        table.removeBelow(folder);
        for (const inner of [...expected.keys()]) if (inner === folder || inner.startsWith(`${folder}/`)) expected.delete(inner);
      } else {
        table.clear();
        expected.clear();
      }
      if (step % 10 > 0) continue;
      check(table.root, expected);
      for (const entry of expected.values()) {
        const same = [...expected.values()].filter(({ hash }) => hash === entry.hash).map((other) => other.path);
        const first = same.sort()[0];
        assert.equal(table.originalOf(entry), first === entry.path ? undefined : first);
      }
    }
  });
});
