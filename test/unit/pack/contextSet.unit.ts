import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { levelOf, parseContextSet, writeContextSet } from "../../../engine/pack/contextSet.ts";
import { EngineError } from "../../../engine/errors.ts";

const set = {
  version: 1 as const,
  name: "review",
  window: 8000,
  reserve: 500,
  tokenizer: "o200k",
  levels: { "src/": "full", "": "excluded", "src/gen/": "name", "src/gen/keep.ts": "outline" } as const,
};

describe("context sets", () => {
  it("the deepest key decides, and what no key holds is whole", () => {
    assert.deepEqual(levelOf(set.levels, "src/gen/keep.ts"), { level: "outline", key: "src/gen/keep.ts" });
    assert.deepEqual(levelOf(set.levels, "src/gen/deep/other.ts"), { level: "name", key: "src/gen/" });
    assert.deepEqual(levelOf(set.levels, "src/a.ts"), { level: "full", key: "src/" });
    assert.deepEqual(levelOf(set.levels, "srcs/a.ts"), { level: "excluded", key: "" });
    assert.deepEqual(levelOf({}, "a.ts"), { level: "full", key: undefined });
  });

  it("is read back as it was written, with sorted keys", () => {
    const text = writeContextSet(set);
    assert.deepEqual(parseContextSet(text), set);
    assert.ok(text.indexOf('"src/"') < text.indexOf('"src/gen/"'));
    assert.equal(writeContextSet(parseContextSet(text)), text);
  });

  it("refuses what it does not know, and says which key and what to do", () => {
    const bad = (change: object, what: RegExp) => {
      assert.throws(
        () => parseContextSet(JSON.stringify({ ...set, ...change })),
        (error) => EngineError.is(error, "bad-argument") && what.test(error.message) && error.remedy.length > 0,
      );
    };
    bad({ url: "x" }, /unknown key "url"/);
    bad({ version: 2 }, /version 2/);
    bad({ levels: { "a.ts": "half" } }, /"a\.ts" the level "half"/);
    bad({ levels: { "../x": "full" } }, /path "\.\.\/x"/);
    bad({ window: 1.5 }, /window 1\.5/);
    bad({ reserve: 9000 }, /keeps 9000 of 8000/);
    bad({ tokenizer: "/etc/passwd" }, /tokenizer/);
    bad({ name: "" }, /no name/);
    assert.throws(() => parseContextSet("{"), /not JSON/);
  });
});
