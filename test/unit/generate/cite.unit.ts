import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BodyCache } from "../../../engine/pack/body.ts";
import { packFiles } from "../../../engine/pack/pack.ts";
import { SpanMap } from "../../../engine/pack/spanMap.ts";
import { citeLines, citePlaces, citeText, lookedAt } from "../../../engine/generate/cite.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { memoryWorkspace, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);

async function packed(contents: Record<string, string>) {
  const { files, readFile } = memoryWorkspace(contents);
  return packFiles({
    files,
    readFile,
    tokenizer,
    before: Int32Array.of(),
    windowTokens: 1_000_000,
    reserveTokens: 0,
    questions: [],
    cache: new BodyCache(),
  });
}

const SOURCES = {
  "src/a.ts": "export const limit = 3;\nfunction go() {\n  return limit;\n}\n",
  "src/b.ts": "function stay() {\n  return limit;\n}\n",
};

describe("citations of a constrained quote", () => {
  it("orders several places by the answer's attention, with shares that sum to one", async () => {
    const pack = await packed(SOURCES);
    const spans = new SpanMap(pack.files);
    const wanted = spans.tokens({ path: "src/b.ts", startLine: 2, endLine: 2 });
    assert.ok(wanted);
    const runner = new FakeRunner({
      vocabSize: 400,
      mass: (token) => (token >= wanted.start && token < wanted.end ? 0.03 : 0.01),
    });
    const places = [
      { path: "src/a.ts", line: 3 },
      { path: "src/b.ts", line: 2 },
    ];
    const queries = { start: pack.ids.length - 1, end: pack.ids.length };
    const citations = await citePlaces(places, { pack, queries, pool: (request) => runner.pool(request) });
    assert.deepEqual(
      citations.map(({ path, startLine, endLine, quote, verified }) => ({ path, startLine, endLine, quote, verified })),
      [
        { path: "src/b.ts", startLine: 2, endLine: 2, quote: "return limit;", verified: true },
        { path: "src/a.ts", startLine: 3, endLine: 3, quote: "return limit;", verified: true },
      ],
    );
    // The masses are 0.03 and 0.01 a token over lines of equal length; f32 cells carry 7 digits.
    assert.ok(Math.abs((citations[0]?.attention ?? 0) - 0.75) < 1e-6);
    const alone = await citePlaces(places.slice(0, 1), { pack, queries, pool: (request) => runner.pool(request) });
    assert.equal(alone[0]?.attention, undefined);
  });

  it("a header line cites the first line of its file", async () => {
    const pack = await packed(SOURCES);
    const [citation] = await citePlaces([{ path: "src/b.ts", line: 0 }], { pack, queries: { start: 0, end: 1 } });
    assert.deepEqual(citation, { path: "src/b.ts", startLine: 1, endLine: 1, quote: "function stay() {", verified: true });
  });

  it("finds the most attended files among more than one map has cells", async () => {
    const names = Array.from({ length: 600 }, (_, i) => `f${String(i).padStart(3, "0")}.ts`);
    const pack = await packed(Object.fromEntries(names.map((name) => [name, "x\n"])));
    const heavy = pack.files[570];
    const runner = new FakeRunner({ vocabSize: 400, mass: (token) => (token === heavy?.bodyStart ? 0.5 : 0.0001) });
    let calls = 0;
    const looked = await lookedAt({
      pack,
      queries: { start: pack.ids.length - 1, end: pack.ids.length },
      pool: (request) => {
        calls++;
        assert.ok(request.keyEdges.length - 1 <= 512);
        return runner.pool(request);
      },
    });
    assert.equal(looked.length, 8);
    assert.equal(looked[0]?.path, heavy?.path);
    assert.ok(calls > 1);
  });
});

describe("citations of free text", () => {
  const cite = async (answer: string) => {
    const pack = await packed(SOURCES);
    return (await citeText(answer, { pack, queries: { start: 0, end: 1 } })).map(
      ({ path, startLine, endLine, quote, verified }) => [path, startLine, endLine, quote, verified] as const,
    );
  };

  it("finds quotes word for word at their lines", async () => {
    assert.deepEqual(await cite("It is `const limit = 3;` there."), [["src/a.ts", 1, 1, "const limit = 3;", true]]);
    assert.deepEqual(await cite("See:\n```ts\nfunction go() {\n    return limit;\n}\n```\n"), [
      ["src/a.ts", 2, 4, "function go() {\n  return limit;\n}", true],
    ]);
  });

  it("takes what stands between quotation marks for a quote too", async () => {
    assert.deepEqual(await cite('In src/a.ts: "const limit = 3;"'), [["src/a.ts", 1, 1, "const limit = 3;", true]]);
    assert.deepEqual(await cite("It says “const limit = 4;” in src/a.ts."), [["", 0, 0, "const limit = 4;", false]]);
    assert.deepEqual(await cite('The "limit" is a name, and `f("a b c")` is code.'), [["", 0, 0, 'f("a b c")', false]]);
  });

  it("prefers the file named beside the quote and lists all otherwise", async () => {
    assert.deepEqual(await cite("In src/b.ts it says `return limit;`"), [["src/b.ts", 2, 2, "return limit;", true]]);
    assert.equal((await cite("It says `return limit;`")).length, 2);
  });

  it("never invents a line: what is not there has none, and a path only if it exists", async () => {
    assert.deepEqual(await cite("In src/a.ts: `const limit = 4;`"), [["src/a.ts", 0, 0, "const limit = 4;", false]]);
    assert.deepEqual(await cite("In src/zzz.ts: `const limit = 4;`"), [["", 0, 0, "const limit = 4;", false]]);
    assert.deepEqual(await cite("See src/a.ts:99 and src/q.ts:3."), [["src/a.ts", 0, 0, "src/a.ts:99", false]]);
    assert.deepEqual(await cite("`limit` and `go()` in `src/a.ts` are names."), []);
  });

  it("an extractive model that spelt freely is verified by its line or not at all", async () => {
    const pack = await packed(SOURCES);
    const options = { pack, queries: { start: 0, end: 1 } };
    assert.deepEqual(
      (await citeLines("return limit;", options)).map(({ path, startLine }) => [path, startLine]),
      [
        ["src/a.ts", 3],
        ["src/b.ts", 2],
      ],
    );
    assert.equal((await citeLines("return limits;", options))[0]?.verified, false);
  });
});
