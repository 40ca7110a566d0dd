import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nearnessOf, readAsked } from "../../../engine/pack/nearness.ts";
import { aroundWord } from "../../../engine/pack/wholeWord.ts";

function near(question: string, text: string, path = "src/a.ts"): string {
  const { rank, because } = nearnessOf(readAsked([question]), path, text.split("\n"));
  return `${rank} ${because}`.trim();
}

describe("how near a file is to a question", () => {
  it("is its path first, then a line that bears out what is asked, then the name alone", () => {
    assert.equal(near("What does a.ts export?", "const b = 1;"), "0 the question names this file");
    assert.equal(near("Where is `tide` defined?", "const tide = 1;"), "1 seems to define tide");
    assert.equal(near("Where is `tide` defined?", "wait(tide);"), "2 contains tide");
    assert.equal(near("Where is `tide` defined?", "const tideTable = 1;"), "3");
  });

  it("knows definitions of many shapes", () => {
    const lines = [
      "export class Watcher extends EventEmitter {",
      "export declare class Watcher extends EventEmitter<Events> {",
      "class Watcher(Base):",
      "struct Watcher;",
      "  Watcher(path) {",
      "func (p *Pool) Watcher(path string) error {",
      "Watcher = namedtuple('Watcher', 'path')",
      "Pool.prototype.Watcher = function (path) {",
      "exports.Watcher = async (",
      "module.exports.Watcher = wrap(create)",
    ];
    for (const line of lines) assert.equal(near("Where is Watcher defined? `Watcher`", line), "1 seems to define Watcher", line);
    for (const line of [
      "// class Watcher does it",
      "new Watcher(path)",
      "if (Watcher(path)) {",
      "pool.Watcher = null;",
      "exports.Watcher == x",
    ])
      assert.equal(near("Where is `Watcher` defined?", line), "2 contains Watcher", line);
  });

  it("is told by what is asked of the name", () => {
    const cases: [string, string, string][] = [
      ["Which file imports `openLock`?", 'import { openLock } from "./locks";', "import"],
      ["Where is `openLock` called?", "  const lock = openLock(path);", "call"],
      ["What is the value of `RETRY_LIMIT`?", "  RETRY_LIMIT: 7,", "set"],
      ["What does `openLock` return?", "export function openLock(path) {", "define"],
      ["What are the parameters of `openLock`?", "export function openLock(path) {", "define"],
      [
        "What is the special magic number for `amber-dune`?",
        "The special magic number for amber-dune is: 12.",
        "give a number for",
      ],
    ];
    for (const [question, line, verb] of cases) {
      assert.match(near(question, line), new RegExp(`^1 seems to ${verb} `), question);
      assert.match(near(question, "nothing"), /^3/);
    }
    assert.equal(near("Where is `openLock` called?", "export function openLock(path) {"), "2 contains openLock");
  });

  it("keeps what each question of a conversation names", () => {
    const asked = readAsked(["Where is `tide` defined?", "And who calls `moor`?"]);
    assert.equal(nearnessOf(asked, "a", ["const tide = 1;"]).rank, 1);
    assert.equal(nearnessOf(asked, "b", ["moor(boat);"]).because, "seems to call moor");
  });

  it("says nothing of lines that are left out, and of none where nothing is asked", () => {
    assert.equal(nearnessOf(readAsked(["Where is `tide` defined?"]), "a", [undefined, "x"]).rank, 3);
    assert.deepEqual(nearnessOf(readAsked([]), "a", ["const tide = 1;"]), { rank: 3, because: "" });
  });

  // Each would take minutes where a line is looked at again for every place.
  it("goes through long lines once", () => {
    const parts = "tides".repeat(400_000);
    assert.equal(near("Where is `tide` defined?", parts), "3");
    assert.equal(
      near("Where is `tide` defined?", `${parts} tide${"(".repeat(200_000)}${")".repeat(200_000)}=0`),
      "2 contains tide",
    );
    assert.equal(near("What is `tide` set to?", `tide: ${" ".repeat(400_000)}`), "2 contains tide");
    assert.deepEqual(aroundWord("tides 𝒂tide tide𝒃 (tide)", "tide"), { before: "tides 𝒂tide tide𝒃 (", behind: ")" });
  });
});
