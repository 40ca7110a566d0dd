/** From what was attached to a chat question to the files that are read. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Attached, chooseContext, missingFiles, scopeText, snapshotFiles } from "../../../extension/chat/contextChoice.ts";
import { questionOf, withNames } from "../../../extension/chat/question.ts";
import type { ListedFile } from "../../../extension/server/requests.ts";

const file = (path: string, implicit = false): Attached => ({ kind: "file", path, implicit });
const lines = (path: string, first: number, last: number, implicit = false): Attached => ({
  ...{ kind: "lines", path, implicit },
  lines: { first, last },
});
const listed = (path: string, extra: Partial<ListedFile> = {}): ListedFile => ({
  ...{ path, hash: `hash of ${path}`, sizeBytes: 9, tokens: 3, mtimeMs: 1, level: "full" },
  ...extra,
});

describe("what is attached to a chat question", () => {
  it("limits it to these files, which are read whole even where the Budget view leaves them out", () => {
    const choice = chooseContext([file("src/a.ts"), file("b.ts")], { "src/": "excluded" });
    assert.deepEqual(choice.levels, { "": "excluded", "src/a.ts": "full", "b.ts": "full" });
    assert.deepEqual(choice.first, ["src/a.ts", "b.ts"]);
    assert.equal(scopeText(choice, []), "src/a.ts, b.ts");
    assert.equal(scopeText(choice, [{ path: "b.ts" }]), "src/a.ts", "what is missing is not read");
  });

  it("limits it to a folder, less what the user excluded below it", () => {
    const choice = chooseContext([{ kind: "folder", path: "src/" }], { "src/gen/": "excluded", "docs/": "outline", "": "name" });
    assert.deepEqual(choice.levels, { "": "excluded", "src/": "full", "src/gen/": "excluded" });
  });

  it("limits it to the lines that are selected, numbered as in the file", () => {
    const choice = chooseContext([lines("a.ts", 3, 5), lines("a.ts", 9, 9), lines("b.ts", 1, 2), file("b.ts")], {});
    assert.equal(scopeText(choice, []), "a.ts:3-5, a.ts:9, b.ts:1-2, b.ts");
    const files = snapshotFiles([listed("a.ts"), listed("b.ts")], choice.lines);
    assert.deepEqual(files, [
      {
        ...{ path: "a.ts", hash: "hash of a.ts", sizeBytes: 9, level: "outline" },
        lines: [
          { first: 3, last: 5 },
          { first: 9, last: 9 },
        ],
      },
      { path: "b.ts", hash: "hash of b.ts", sizeBytes: 9, level: "full" },
    ]);
  });

  it("puts first what VS Code attached by itself, and limits nothing to it", () => {
    const choice = chooseContext([file("open.ts", true), lines("open.ts", 1, 2, true)], { "x/": "excluded" });
    assert.deepEqual([choice.levels, scopeText(choice, []), choice.lines.size], [undefined, undefined, 0]);
    assert.deepEqual(choice.first, ["open.ts"]);
  });

  it("takes the levels of a context set in place of the Budget view's, with attached files whole", () => {
    const set: Attached = { kind: "set", name: "net", levels: { "": "name", "src/net/": "outline" } };
    const choice = chooseContext([set], { "": "excluded" });
    assert.deepEqual(choice.levels, { "": "name", "src/net/": "outline" });
    assert.equal(scopeText(choice, []), 'the context set "net"');
    const both = chooseContext([set, file("src/net/a.ts")], {});
    assert.deepEqual(both.levels, { "": "name", "src/net/": "outline", "src/net/a.ts": "full" });
    const outlined = listed("src/net/b.ts", { level: "outline", lines: [{ first: 1, last: 1 }] });
    assert.deepEqual(snapshotFiles([outlined], both.lines)[0]?.lines, [{ first: 1, last: 1 }]);
  });

  it("is told with the reason where it is not read", () => {
    const attached: Attached[] = [
      file("a.ts"),
      file("logo.png"),
      file("out/x.js"),
      file("gone.ts"),
      file("seen.png", true),
      { kind: "other", what: "an attached text" },
    ];
    const excluded = [
      { path: "logo.png", reason: "binary content", kind: "binary" as const },
      { path: "out/", reason: "ignored by .gitignore", kind: "ignored" as const },
    ];
    assert.deepEqual(chooseContext(attached, {}).notRead, ["an attached text"]);
    assert.deepEqual(missingFiles(attached, [listed("a.ts")], excluded), [
      { path: "logo.png", reason: "binary content" },
      { path: "out/x.js", reason: "ignored by .gitignore" },
      { path: "gone.ts", reason: "it is not counted; see the Budget view" },
    ]);
  });

  it("is named in words in the question", () => {
    const prompt = "What does #file:a.ts say that #sel does not?";
    const text = withNames(prompt, [
      { range: [10, 20], name: "src/a.ts" },
      { range: [30, 34], name: "b.ts" },
    ]);
    assert.equal(text, "What does src/a.ts say that b.ts does not?");
  });

  it("a name behind /where is the question where it is defined; a sentence stays as it is", () => {
    assert.equal(questionOf("where", "retryCeiling"), "Where is `retryCeiling` defined?");
    assert.equal(questionOf("where", "`Backoff.next()`"), "Where is `Backoff.next` defined?");
    assert.equal(questionOf("where", "Which file imports it?"), "Which file imports it?");
    assert.equal(questionOf(undefined, "retryCeiling"), "retryCeiling");
  });
});
