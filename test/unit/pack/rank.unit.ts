import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readMentions } from "../../../engine/pack/mentions.ts";
import { namesIn, type RankFile, rankFiles } from "../../../engine/pack/rank.ts";

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
const nothing = { open: new Set<string>(), mentions: readMentions([]) };

function rankOf(path: string, files: readonly RankFile[] = all, wishes: Parameters<typeof rankFiles>[1] = nothing): number {
  return rankFiles(files, wishes).get(path)?.rank ?? Number.NaN;
}

describe("ranking files", () => {
  it("what other files use comes first, and all ranks add up to one", () => {
    const ranks = [...rankFiles(all, nothing)].sort(([, a], [, b]) => b.rank - a.rank);
    assert.equal(ranks[0]?.[0], "src/core.ts");
    assert.equal(ranks[0][1].because, "3 files use it");
    assert.ok(Math.abs(ranks.reduce((sum, [, { rank }]) => sum + rank, 0) - 1) < 1e-9);
  });

  it("each wish changes the rank it should, and says so", () => {
    const wish = (path: string, wishes: Partial<typeof nothing>, because: RegExp) => {
      const ranks = rankFiles(all, { ...nothing, ...wishes });
      assert.ok((ranks.get(path)?.rank ?? 0) > rankOf(path), path);
      assert.match(ranks.get(path)?.because ?? "", because);
    };
    wish("src/lonely.ts", { open: new Set(["src/lonely.ts"]) }, /open in an editor/);
    wish("src/lonely.ts", { mentions: readMentions(["What is in lonely.ts?"]) }, /names it/);
    wish("src/lonely.ts", { mentions: readMentions(["What is `gamma`?"]) }, /defines gamma/);
    const asked = rankFiles(all, { ...nothing, mentions: readMentions(["Who uses `Ledger`?"]) });
    assert.ok((asked.get("src/b.ts")?.rank ?? 0) > 3 * (asked.get("src/a.ts")?.rank ?? 1));
    assert.match(asked.get("src/b.ts")?.because ?? "", /uses Ledger/);
  });

  it("recent changes raise, tests sink", () => {
    const day = 86_400_000;
    const dated = all.map((one) => ({ ...one, mtimeMs: one.path === "src/lonely.ts" ? 100 * day : 10 * day }));
    const before = all.map((one) => ({ ...one, mtimeMs: 10 * day }));
    assert.ok(rankOf("src/lonely.ts", dated) > rankOf("src/lonely.ts", before));
    assert.ok(rankOf("test/core.test.ts") < rankOf("src/lonely.ts"));
  });

  it("a name that everybody defines links nobody", () => {
    const many = Array.from({ length: 20 }, (_, i) => ({ path: `m${i}`, definitions: ["main"], references: [], mtimeMs: 0 }));
    const user = { path: "user", definitions: [], references: ["main"], mtimeMs: 0 };
    const ranks = rankFiles([...many, user], nothing);
    assert.equal(ranks.get("m0")?.because, undefined);
  });

  it("reads names of several languages", () => {
    const names = namesIn("def tide_level(hour):\nfunc (s *Server) Listen() {}\npub fn crunch<T>() {}\nstruct Größe;\n");
    assert.deepEqual(names.definitions, ["tide_level", "Listen", "crunch", "Größe"]);
    assert.ok(names.references.includes("hour"));
  });
});
