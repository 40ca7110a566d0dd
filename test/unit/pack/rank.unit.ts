import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readMentions } from "../../../engine/pack/mentions.ts";
import { nameIds, namesIn } from "../../../engine/pack/names.ts";
import { type RankFile, rankFiles, type RankWishes } from "../../../engine/pack/rank.ts";

const texts: Record<string, string> = {
  "src/core.ts": "export function openStore() {}\nexport class Ledger {}\n",
  "src/a.ts": 'import { openStore } from "./core";\nexport const alpha = openStore();\n',
  "src/b.ts": 'import { Ledger } from "./core";\nexport const beta = new Ledger();\n',
  "src/lonely.ts": "export const gamma = 1;\n",
  "test/core.test.ts": "openStore(); export const probe = 2;\n",
};

function file(path: string, mtimeMs = 0): RankFile {
  return { path, mtimeMs, ...namesIn(texts[path] ?? "") };
}

const all = Object.keys(texts).map((path) => file(path));
const nothing: RankWishes = { open: new Set(), pinned: new Set(), mentions: readMentions([]) };

function rankOf(path: string, files: readonly RankFile[] = all, wishes = nothing): number {
  return rankFiles(files, wishes).get(path)?.rank ?? Number.NaN;
}

describe("ranking files", () => {
  it("what other files use comes first, and all ranks add up to one", () => {
    const ranks = [...rankFiles(all, nothing)].sort(([, a], [, b]) => b.rank - a.rank);
    assert.equal(ranks[0]?.[0], "src/core.ts");
    assert.deepEqual(ranks[0][1].reasons, ["3 files use it"]);
    assert.ok(Math.abs(ranks.reduce((sum, [, { rank }]) => sum + rank, 0) - 1) < 1e-9);
  });

  it("each wish changes the rank it should, and says so", () => {
    const wish = (path: string, wishes: Partial<RankWishes>, because: RegExp) => {
      const ranks = rankFiles(all, { ...nothing, ...wishes });
      assert.ok((ranks.get(path)?.rank ?? 0) > rankOf(path), path);
      assert.match(ranks.get(path)?.reasons.join() ?? "", because);
    };
    wish("src/lonely.ts", { open: new Set(["src/lonely.ts"]) }, /open in the editor/);
    wish("src/lonely.ts", { pinned: new Set(["src/lonely.ts"]) }, /chosen by you/);
    wish("src/lonely.ts", { mentions: readMentions(["What is in lonely.ts?"]) }, /names it/);
    wish("src/lonely.ts", { mentions: readMentions(["What is `gamma`?"]) }, /defines gamma/);
    const asked = rankFiles(all, { ...nothing, mentions: readMentions(["Who uses `Ledger`?"]) });
    assert.ok((asked.get("src/b.ts")?.rank ?? 0) > 3 * (asked.get("src/a.ts")?.rank ?? 1));
    assert.deepEqual(asked.get("src/b.ts")?.reasons, ["uses Ledger"]);
    assert.deepEqual(asked.get("src/core.ts")?.reasons, ["defines Ledger", "3 files use it"]);
  });

  it("recent changes raise, and say so where they tell files apart", () => {
    const day = 86_400_000;
    const before = all.map((one) => ({ ...one, mtimeMs: 10 * day }));
    const dated = before.map((one) => ({ ...one, mtimeMs: one.path === "src/lonely.ts" ? 100 * day : 10 * day }));
    assert.ok(rankOf("src/lonely.ts", dated) > rankOf("src/lonely.ts", before));
    assert.deepEqual(rankFiles(dated, nothing).get("src/lonely.ts")?.reasons, ["edited recently"]);
    // In a fresh clone every file is as new as the others.
    assert.deepEqual(rankFiles(before, nothing).get("src/lonely.ts")?.reasons, []);
  });

  it("tests, documents, lock files and generated files sink, unless the question names them", () => {
    const plain = { ...namesIn(""), mtimeMs: 0 };
    const files = [
      ...["src/a.ts", "src/testing.ts", "src/a.test.ts", "tests/a.py", "docs/a.ts", "README.md", "yarn.lock", "src/gen/a.ts"],
      ...["vendor/x/a.go", "proto/a.pb.go"],
    ].map((path) => ({ path, ...plain }));
    const ranks = rankFiles(files, nothing);
    const rank = (path: string) => ranks.get(path)?.rank ?? 0;
    assert.equal(rank("src/testing.ts"), rank("src/a.ts"));
    for (const { path } of files.slice(2)) assert.ok(rank(path) < rank("src/a.ts"), path);
    assert.equal(ranks.get("tests/a.py")?.lowered, "a test");
    assert.equal(ranks.get("src/gen/a.ts")?.lowered, "generated or not your own");
    const asked = rankFiles(files, { ...nothing, mentions: readMentions(["What does README.md say?"]) });
    assert.deepEqual(asked.get("README.md")?.reasons, ["the question names it"]);
    assert.ok((asked.get("README.md")?.rank ?? 0) > (asked.get("src/a.ts")?.rank ?? 1));
  });

  it("a name that many use says less than a rare one", () => {
    const file = (path: string, definitions: string[], references: string[]): RankFile => ({
      path,
      definitions: nameIds(definitions),
      references: nameIds(references),
      mtimeMs: 0,
    });
    const users = Array.from({ length: 30 }, (_, i) => file(`user${i}`, [], i === 0 ? ["log", "rare"] : ["log", "helper"]));
    const ranks = rankFiles([file("log", ["log"], []), file("rare", ["rare"], []), ...users], {
      ...nothing,
      open: new Set(["user0"]),
    });
    const alone = rankFiles([file("log", ["log"], []), file("rare", ["rare"], []), ...users.slice(0, 1)], nothing);
    assert.equal(alone.get("log")?.rank, alone.get("rare")?.rank);
    const share = (name: string) => ranks.get(name)?.rank ?? 0;
    // user0 gives "rare" more than the same user gives "log"; "log" still has 29 other users.
    assert.ok(share("rare") > share("log") / 3, `${share("rare")} and ${share("log")}`);
  });

  it("ranks nothing where there is nothing, and files without any link", () => {
    assert.equal(rankFiles([], nothing).size, 0);
    const lonely = rankFiles([{ path: "a", definitions: nameIds(["x"]), references: nameIds(["x"]), mtimeMs: 0 }], nothing);
    assert.deepEqual(lonely.get("a"), { rank: 1, reasons: [] });
  });

  it("a name that everybody defines links nobody", () => {
    const many = Array.from({ length: 20 }, (_, i) => ({
      path: `m${i}`,
      definitions: nameIds(["main"]),
      references: nameIds([]),
      mtimeMs: 0,
    }));
    const user = { path: "user", definitions: nameIds([]), references: nameIds(["main"]), mtimeMs: 0 };
    const ranks = rankFiles([...many, user], nothing);
    assert.deepEqual(ranks.get("m0")?.reasons, []);
  });
});
