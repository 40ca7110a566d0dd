import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { BodyCache } from "../../../engine/pack/body.ts";
import { packFiles, type PackOptions } from "../../../engine/pack/pack.ts";
import { SpanMap } from "../../../engine/pack/spanMap.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { randomText, seeded } from "../../support/random.ts";
import { memoryWorkspace, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);

function pack(contents: Record<string, string | Uint8Array>, options: Partial<PackOptions> = {}) {
  const workspace = memoryWorkspace(contents);
  return packFiles({
    files: workspace.files,
    readFile: workspace.readFile,
    tokenizer,
    before: Int32Array.of(),
    windowTokens: 1_000_000,
    reserveTokens: 0,
    questions: [],
    cache: new BodyCache(),
    ...options,
  });
}

describe("pack", () => {
  it("writes a header line and every line, in path order, line breaks made LF", async () => {
    const packed = await pack({ "b.ts": "x\r\ny", "a.ts": "one\n\ntwo\n", "empty.ts": "" });
    assert.equal(tokenizer.decode(packed.ids), "=== a.ts ===\none\n\ntwo\n=== b.ts ===\nx\ny\n=== empty.ts ===\n");
    assert.deepEqual(packed.lines("b.ts"), ["x", "y"]);
    assert.deepEqual(packed.lines("a.ts"), ["one", "", "two"]);
  });

  it("maps every line to its tokens and back", async () => {
    const random = seeded(3);
    const contents: Record<string, string> = {};
    for (let i = 0; i < 8; i++) contents[`src/${i}.ts`] = randomText(random, 200);
    const before = tokenizer.encode("before ");
    const packed = await pack(contents, { before });
    const spans = new SpanMap(packed.files);
    assert.equal(spans.at(0), undefined);
    for (const file of packed.files) {
      assert.deepEqual(spans.at(file.tokenStart), { path: file.path, line: 0 });
      packed.lines(file.path).forEach((line, i) => {
        const range = spans.tokens({ path: file.path, startLine: i + 1, endLine: i + 1 });
        assert.ok(range);
        assert.equal(tokenizer.decode(packed.ids.subarray(range.start, range.end)), `${line}\n`);
        assert.deepEqual(spans.at(range.start), { path: file.path, line: i + 1 });
        assert.deepEqual(spans.spans(range.start, range.end), [{ path: file.path, startLine: i + 1, endLine: i + 1 }]);
      });
    }
    const whole = spans.spans(0, packed.ids.length).map(({ path }) => path);
    assert.deepEqual(
      whole,
      packed.files.map(({ path }) => path),
    );
    assert.equal(spans.at(packed.ids.length), undefined);
  });

  it("gives every file a row, whatever the window", async () => {
    const contents = { "a.ts": "const a = 1;\n".repeat(9), "b.ts": "b\n", "c.ts": "const c = 2;\n".repeat(4) };
    for (let window = 0; window < 400; window += 7) {
      const packed = await pack(contents, { windowTokens: window, reserveTokens: 20 });
      assert.deepEqual(
        packed.rows.map((row) => row.path),
        ["a.ts", "b.ts", "c.ts"],
      );
      const included = packed.rows.filter((row) => row.included);
      assert.deepEqual(included.map((row) => row.path).sort(), packed.files.map((file) => file.path).sort());
      assert.equal(
        packed.ids.length,
        included.reduce((sum, row) => sum + row.tokens, 0),
      );
      assert.ok(packed.ids.length === 0 || packed.ids.length + 20 <= window);
      for (const row of packed.rows) if (!row.included) assert.match(row.reason, /needs [\d,]+ tokens, [\d,]+ left/);
    }
  });

  it("prefers what the question names, and says so", async () => {
    const filler = "let y = 0;\n".repeat(30);
    const contents = {
      "a.ts": filler,
      "defines.ts": filler + filler + "const retryCeiling = 3;\n",
      "small.ts": "z\n",
      "uses.ts": filler + filler + "wait(retryCeiling);\n",
      "src/named.ts": filler + filler,
    };
    const all = await pack(contents);
    const defines = all.rows.find((row) => row.path === "defines.ts")?.tokens ?? 0;
    const tight = await pack(contents, { windowTokens: defines + 15, questions: ["Where is `retryCeiling` defined?"] });
    assert.deepEqual(
      tight.files.map((file) => file.path),
      ["defines.ts", "small.ts"],
    );
    assert.match(tight.rows[1]?.reason ?? "", /seems to define retryCeiling/);
    assert.match(tight.rows.find((row) => row.path === "uses.ts")?.reason ?? "", /contains retryCeiling, but needs/);
    const named = await pack(contents, { windowTokens: defines + 60, questions: ["What is in named.ts?"] });
    assert.equal(named.files.at(-1)?.path, "src/named.ts");
  });

  it("gives a part of a file that is too large, around what is asked for, with its own line numbers", async () => {
    const lines = (name: string): string => Array.from({ length: 600 }, (_, i) => `const ${name}${i} = ${i};\n`).join("");
    const contents = { "a.ts": lines("tide"), "b.ts": `${lines("x")}wait(tide300);\n`, "c.ts": lines("y") };
    const options = { windowTokens: 900, reserveTokens: 20, questions: ["What is the value of `tide300`?"] };
    const packed = await pack(contents, options);
    const [a, b, c] = packed.rows;
    assert.match(
      a?.reason ?? "",
      /^in part, \d+ of 600 lines: seems to set tide300, but all of it needs [\d,]+ tokens, 880 left$/,
    );
    assert.match(b?.reason ?? "", /^in part, \d+ of 601 lines: contains tide300, but all of it needs/);
    assert.match(c?.reason ?? "", /^needs [\d,]+ tokens, \d+ left$/);
    assert.deepEqual([a?.included, b?.included, c?.included], [true, true, false]);
    const whole = await pack(contents);
    assert.deepEqual([a?.wholeTokens, b?.wholeTokens], [whole.rows[0]?.tokens, whole.rows[1]?.tokens]);
    assert.equal(
      packed.ids.length,
      [a, b].reduce((sum, row) => sum + (row?.tokens ?? 0), 0),
    );
    assert.ok(packed.ids.length + 20 <= 900);
    assert.equal(packed.lines("a.ts")[300], "const tide300 = 300;");
    assert.deepEqual([packed.lines("a.ts")[0], packed.lines("a.ts")[599]], [undefined, undefined]);
    const spans = new SpanMap(packed.files);
    const place = spans.at(packed.files.find(({ path }) => path === "a.ts")?.lineTokens[300] ?? -1);
    assert.deepEqual([place?.path, place?.line], ["a.ts", 301]);
    assert.ok(tokenizer.decode(packed.ids).includes("const tide299 = 299;\nconst tide300 = 300;\nconst tide301 = 301;\n"));
  });

  it("gives every file of a kind its share, and nothing of a level that was chosen", async () => {
    const lines = Array.from({ length: 300 }, (_, i) => (i % 100 === 50 ? "moor(boat);\n" : `const a${i} = ${i};\n`)).join("");
    const contents = { "a.ts": lines, "b.ts": `${lines}b\n`, "c.ts": `${lines}c\nd\n` };
    const options = { windowTokens: 1200, questions: ["Where is `moor` called?"] };
    const shared = await pack(contents, options);
    for (const { included, wholeTokens, tokens } of shared.rows)
      assert.ok(included && wholeTokens !== undefined && tokens > 200, `${tokens} of ${wholeTokens}`);
    const { files } = memoryWorkspace(contents);
    const outlined = files.map((file) => ({ ...file, level: "outline" as const, lines: [{ first: 1, last: 290 }] }));
    const chosen = await pack(contents, { ...options, files: outlined });
    for (const { wholeTokens } of chosen.rows) assert.equal(wholeTokens, undefined);
  });

  it("prefers what the user pointed at to what the question names", async () => {
    const filler = "let y = 0;\n".repeat(30);
    const contents = { "a.ts": filler, "pointed.ts": filler, "named.ts": filler, "small.ts": "z\n" };
    const all = await pack(contents);
    const one = all.rows.find((row) => row.path === "pointed.ts")?.tokens ?? 0;
    const tight = await pack(contents, { windowTokens: one + 15, questions: ["What is in named.ts?"], first: ["pointed.ts"] });
    assert.deepEqual(
      tight.files.map((file) => file.path),
      ["small.ts", "pointed.ts"],
    );
    assert.equal(tight.rows.find((row) => row.path === "pointed.ts")?.reason, "you pointed at this file");
    assert.match(tight.rows.find((row) => row.path === "named.ts")?.reason ?? "", /^the question names this file, but needs/);
  });

  it("never reorders when everything fits", async () => {
    const contents = { "a.ts": "a\n", "b.ts": "b\n", "c.ts": "c\n" };
    const asked = await pack(contents, { questions: ["What is in a.ts?"] });
    assert.deepEqual(
      asked.files.map((file) => file.path),
      ["a.ts", "b.ts", "c.ts"],
    );
  });

  it("reads and tokenises equal bytes once, and nothing the second time", async () => {
    const contents = { "a.ts": "same\n", "b.ts": "same\n", "c.ts": "other\n" };
    const workspace = memoryWorkspace(contents);
    const cache = new BodyCache();
    const first = await pack(contents, { ...workspace, cache });
    assert.deepEqual(workspace.reads, ["a.ts", "c.ts"]);
    const second = await pack(contents, { ...workspace, cache });
    assert.deepEqual(workspace.reads, ["a.ts", "c.ts"]);
    assert.deepEqual(second.ids, first.ids);
    assert.deepEqual(first.lines("b.ts"), ["same"]);
  });

  it("shows bytes that are not UTF-8 and says so", async () => {
    const packed = await pack({ "a.ts": Uint8Array.of(97, 0xff, 98, 10) });
    assert.deepEqual(packed.lines("a.ts"), ["a\ufffdb"]);
    assert.match(packed.rows[0]?.reason ?? "", /not UTF-8/);
  });

  it("stops between files", async () => {
    const controller = new AbortController();
    const packing = pack({ "a.ts": "a\n", "b.ts": "b\n" }, { signal: controller.signal, onProgress: () => controller.abort() });
    await assert.rejects(packing, (error) => EngineError.is(error, "aborted"));
  });
});
