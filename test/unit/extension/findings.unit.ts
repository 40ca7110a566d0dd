import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type FindingsFile, type FindingsInput, findingsOf, hostileLineOf } from "../../../extension/server/findings.ts";
import type { ExclusionKind, Finding } from "../../../extension/server/requests.ts";

function file(path: string, more: Partial<FindingsFile> = {}): FindingsFile {
  const tokens = more.tokens ?? 100;
  return { path, tokens, packTokens: tokens, bytes: tokens * 4, hash: `hash of ${path}`, level: "full", marks: [], ...more };
}

function row(path: string, kind: ExclusionKind, reason = `it is ${kind}`) {
  return { path, kind, reason };
}

function findings(input: Partial<FindingsInput>): Finding[] {
  return findingsOf({ files: [], excluded: [], secrets: [], levels: {}, window: 128_000, reserve: 8_000, ...input });
}

/** The only finding there is. */
function finding(input: Partial<FindingsInput>): Finding {
  const all = findings(input);
  assert.equal(all.length, 1, JSON.stringify(all));
  return all[0];
}

/** Levels that the quick fixes set, in their order. */
function levelsOf({ fixes }: Finding): Finding["fixes"][number]["levels"][] {
  return fixes.map(({ levels }) => levels);
}

describe("findings on what is not counted", () => {
  for (const kind of ["minified", "generated"] as const)
    it(`${kind}: include it anyway, or keep it out`, () => {
      const found = finding({ excluded: [row("dist/a.js", kind, "one line of 80,000 characters")] });
      assert.equal(found.kind, kind);
      assert.equal(
        found.message,
        "Not counted: one line of 80,000 characters. Include it anyway where a question is about it, or keep it out for good",
      );
      assert.deepEqual(levelsOf(found), [{ "dist/a.js": "full" }, { "dist/a.js": "excluded" }]);
      assert.deepEqual(findings({ excluded: [row("dist/a.js", kind)], levels: { "dist/a.js": "full" } }), []);
      assert.deepEqual(findings({ excluded: [row("dist/a.js", kind)], levels: { "dist/": "excluded" } }), []);
      assert.equal(findings({ excluded: [row("dist/a.js", kind)], levels: { "dist/": "outline" } }).length, 1);
    });

  it("binary: why, and that only text can go into a pack", () => {
    const found = finding({ excluded: [row("logo.png", "binary", "binary: a NUL byte at 8")] });
    assert.equal(found.kind, "binary");
    assert.match(found.message, /^Not counted: binary: a NUL byte at 8\. Only text/);
    assert.deepEqual(levelsOf(found), [{ "logo.png": "excluded" }]);
  });

  it("too large, and too many: why, and which limit to raise", () => {
    for (const kind of ["too-large", "too-many-files"] as const) {
      const found = finding({ excluded: [row("data/", kind, "larger than 1 MiB (3.0 MiB)")] });
      assert.equal(found.kind, "too-large");
      assert.match(found.message, /larger than 1 MiB \(3\.0 MiB\)\. Raise the limit/);
      assert.deepEqual(levelsOf(found), [{ "data/": "excluded" }]);
      assert.deepEqual(findings({ excluded: [row("data/", kind)], levels: { "data/": "excluded" } }), []);
    }
  });

  it("what ignore files, globs and links leave out is no finding", () => {
    const kinds: ExclusionKind[] = [
      "ignored",
      "git-data",
      "installed-packages",
      "not-included",
      "symlink",
      "submodule",
      "unreadable",
      "other-root",
    ];
    assert.deepEqual(findings({ excluded: kinds.map((kind) => row(kind, kind)) }), []);
  });
});

describe("findings on secrets", () => {
  it("name the line and what it looks like, and offer to exclude the file", () => {
    const found = finding({ files: [file("a.ts")], secrets: [{ path: "a.ts", line: 7, message: "looks like a private key" }] });
    assert.deepEqual([found.kind, found.severity, found.line], ["secret", "warning", 7]);
    assert.match(found.message, /^Looks like a private key\. The file stays out of every export until you allow it/);
    assert.deepEqual(levelsOf(found), [{ "a.ts": "excluded" }]);
  });

  it("come from a name too, once per file", () => {
    const excluded = [row(".env", "secret", "environment files often hold passwords and keys")];
    const found = finding({ excluded });
    assert.deepEqual([found.kind, found.line, found.path], ["secret", 0, ".env"]);
    assert.match(found.message, /^Environment files often hold/);
    assert.equal(finding({ excluded, secrets: [{ path: ".env", line: 2, message: "looks like a Slack token" }] }).line, 2);
  });

  it("are silent where the user excluded the file", () => {
    const secrets = [{ path: "x/a.ts", line: 7, message: "looks like a private key" }];
    assert.deepEqual(findings({ secrets, levels: { "x/": "excluded" } }), []);
  });
});

describe("findings on folders", () => {
  const files = [
    file("a/big/one.ts", { tokens: 50_000 }),
    file("a/big/two.ts", { tokens: 20_000 }),
    file("a/small.ts"),
    file("b/x.ts"),
  ];

  it("name the deepest folder over half the window: outlines of it, or exclude it", () => {
    const found = finding({ files });
    assert.deepEqual([found.kind, found.path, found.line, found.severity], ["over-budget-folder", "a/big/", 0, "information"]);
    assert.match(found.message, /^a\/big\/ takes 70,000 tokens, 55 % of the window/);
    assert.deepEqual(levelsOf(found), [{ "a/big/": "outline" }, { "a/big/": "excluded" }]);
  });

  it("warn where one alone does not fit beside the answer", () => {
    assert.equal(finding({ files, window: 72_000, reserve: 4_000 }).severity, "warning");
    assert.equal(finding({ files, window: 72_000, reserve: 1_000 }).severity, "information");
  });

  it("go by what is in the pack, and by the share asked for", () => {
    assert.deepEqual(findings({ files: files.map((one) => ({ ...one, packTokens: 10 })) }), []);
    assert.deepEqual(findings({ files, folderShare: 0.6 }), []);
    assert.deepEqual(findings({ files, window: 0, reserve: 0 }), []);
    assert.equal(finding({ files, folderShare: 0.1, window: 300_000 }).path, "a/big/");
  });

  it("name a parent where only all of its folders together are too much", () => {
    const spread = ["x", "y", "z"].map((name) => file(`src/${name}/a.ts`, { tokens: 30_000 }));
    assert.equal(finding({ files: spread }).path, "src/");
  });
});

describe("findings on counted files", () => {
  it("a duplicate keeps the first by path and offers to exclude this copy, or all", () => {
    const same = { hash: "same", tokens: 500 };
    const all = findings({
      files: [file("z.ts", same), file("a.ts", same), file("m.ts", same), file("other.ts", { tokens: 500 })],
    });
    assert.deepEqual(
      all.map(({ kind, path }) => [kind, path]),
      [
        ["duplicate", "m.ts"],
        ["duplicate", "z.ts"],
      ],
    );
    assert.equal(all[0]?.message, "The same text as a.ts: exclude this copy and save 500 tokens");
    assert.deepEqual(all.map(levelsOf)[0], [{ "m.ts": "excluded" }, { "m.ts": "excluded", "z.ts": "excluded" }]);
    assert.deepEqual(levelsOf(finding({ files: [file("a.ts", same), file("b.ts", same)] })), [{ "b.ts": "excluded" }]);
  });

  it("empty modules, other sizes and files that are left out are no duplicates", () => {
    const same = { hash: "same", tokens: 500 };
    assert.deepEqual(findings({ files: [file("a.ts", { ...same, tokens: 3 }), file("b.ts", { ...same, tokens: 3 })] }), []);
    assert.deepEqual(findings({ files: [file("a.ts", { ...same, bytes: 1 }), file("b.ts", { ...same, bytes: 2 })] }), []);
    for (const level of ["excluded", "name"] as const)
      assert.deepEqual(findings({ files: [file("a.ts", same), file("b.ts", { ...same, level })] }), []);
    assert.equal(findings({ files: [file("a.ts", same), file("b.ts", { ...same, level: "outline" })] }).length, 1);
  });

  it("a line that costs too much: its number, its cost, exclude or name only", () => {
    const hostileLine = { line: 3, characters: 12_000, bytes: 12_000, tokens: 8_000 };
    const found = finding({ files: [file("a.json", { hostileLine })] });
    assert.deepEqual([found.kind, found.line], ["long-line", 3]);
    assert.match(
      found.message,
      /12,000 characters and 8,000 tokens long \(1\.5 bytes per token\).*: exclude the file, or send only its name$/,
    );
    assert.deepEqual(levelsOf(found), [{ "a.json": "excluded" }, { "a.json": "name" }]);
    for (const level of ["outline", "name", "excluded"] as const)
      assert.deepEqual(findings({ files: [file("a.json", { hostileLine, level })] }), []);
  });

  it("invalid UTF-8, and minified or generated files that the user took in", () => {
    const marked = (kind: FindingsFile["marks"][number]["kind"]) =>
      finding({ files: [file("a.ts", { marks: [{ kind, message: "3 bad bytes" }] })] });
    assert.match(marked("invalid-utf8").message, /^3 bad bytes: .*save the file as UTF-8, or exclude it$/);
    assert.deepEqual(levelsOf(marked("invalid-utf8")), [{ "a.ts": "excluded" }]);
    for (const kind of ["minified", "generated"] as const) {
      assert.match(marked(kind).message, /^3 bad bytes: it costs 100 tokens; exclude it/);
      assert.deepEqual(levelsOf(marked(kind)), [{ "a.ts": "excluded" }, { "a.ts": "name" }]);
    }
  });

  it("other marks are no findings, and neither is a file that is excluded", () => {
    const marks = (["utf16", "bom", "unsaved"] as const).map((kind) => ({ kind, message: "as it is" }));
    assert.deepEqual(findings({ files: [file("a.ts", { marks })] }), []);
    const bad = [{ kind: "invalid-utf8" as const, message: "bad" }];
    assert.deepEqual(findings({ files: [file("a.ts", { marks: bad, level: "excluded" })] }), []);
  });
});

describe("the number of findings", () => {
  it("is bounded per kind: the costliest are told, and a last one says how many there are beyond", () => {
    const files = Array.from({ length: 50 }, (_, index) =>
      file(`f${index}.ts`, { tokens: 1_000 + index, hash: `h${index >> 1}`, bytes: 1 }),
    );
    const marked = files.map((one) => ({ ...one, marks: [{ kind: "invalid-utf8" as const, message: "bad bytes" }] }));
    const all = findings({ files: marked, excluded: [row("a.png", "binary")], maxPerKind: 3 });
    assert.deepEqual(
      all.filter(({ kind }) => kind === "invalid-utf8").map(({ path }) => path),
      ["f49.ts", "f48.ts", "f47.ts", "f46.ts"],
    );
    const last = all.filter(({ kind }) => kind === "invalid-utf8").at(-1);
    assert.match(last?.message ?? "", /^47 more: files that are not valid UTF-8\. /);
    assert.deepEqual(last?.fixes, []);
    assert.equal(all.filter(({ kind }) => kind === "binary").length, 1);
    assert.equal(all.filter(({ kind }) => kind === "duplicate").length, 4);
  });

  it("says nothing more where all are told", () => {
    const excluded = Array.from({ length: 3 }, (_, index) => row(`${index}.png`, "binary"));
    assert.equal(findings({ excluded, maxPerKind: 3 }).length, 3);
    assert.match(findings({ excluded, maxPerKind: 2 }).at(-1)?.message ?? "", /^1 more: binary files/);
  });

  it("stays small for a hundred thousand copies of one file", () => {
    const files = Array.from({ length: 100_000 }, (_, index) => file(`${index}/a.ts`, { hash: "same", bytes: 1 }));
    const all = findings({ files, window: 100_000_000 });
    assert.equal(all.length, 101);
    assert.ok(JSON.stringify(all).length < 100_000);
  });

  it("puts secrets first", () => {
    const excluded = [row("a.png", "binary"), row("b.js", "minified"), row(".env", "secret")];
    assert.deepEqual(
      findings({ excluded }).map(({ kind }) => kind),
      ["secret", "minified", "binary"],
    );
  });
});

describe("a line that is hostile to the tokenizer", () => {
  /** 4 characters a token in prose, 1 in what looks like base64. */
  const count = (line: string): number => Math.ceil(line.length / (line.includes(" ") ? 4 : 1));

  it("is one of over 10,000 characters, or with far too many tokens for its bytes", () => {
    const prose = "all is well ".repeat(500);
    const noise = "aGVsbG8".repeat(200);
    assert.equal(hostileLineOf(`${prose}\n${prose}`, count), undefined);
    assert.deepEqual(hostileLineOf(`${prose}\n${noise}\n${prose}`, count), {
      line: 2,
      characters: 1_400,
      bytes: 1_400,
      tokens: 1_400,
    });
    assert.equal(hostileLineOf(`a\r\nb\n${"all is well ".repeat(1_000)}`, count)?.line, 3);
    assert.equal(hostileLineOf("aGVsbG8".repeat(100), count), undefined, "a short one costs little");
    assert.equal(hostileLineOf("", count), undefined);
  });

  it("is the costliest of several; bytes, not characters, are compared with tokens", () => {
    const noise = (length: number): string => "x".repeat(length);
    assert.equal(hostileLineOf([noise(1_000), noise(3_000), noise(2_000), ""].join("\n"), count)?.line, 2);
    assert.equal(hostileLineOf("東".repeat(2_000), count), undefined);
  });

  it("only long lines are counted", () => {
    let counted = 0;
    hostileLineOf(`${"short line\n".repeat(5_000)}${"x".repeat(5_000)}`, (line) => (counted += line.length));
    assert.equal(counted, 5_000);
  });
});
