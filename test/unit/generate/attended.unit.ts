import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { attendedRuns } from "../../../engine/generate/attended.ts";
import { attendedPrecision } from "../../../engine/models/attendedFile.ts";
import { BodyCache } from "../../../engine/pack/body.ts";
import { packFiles } from "../../../engine/pack/pack.ts";
import { SpanMap } from "../../../engine/pack/spanMap.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";
import { memoryWorkspace, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);

/** Runs of a pack in which the lines of `heavy` draw so much a token, and all other tokens `rest`. */
async function attended(
  contents: Record<string, string>,
  heavy: readonly [path: string, line: number, mass: number][],
  rest = 0,
) {
  const { files, readFile } = memoryWorkspace(contents);
  const pack = await packFiles({
    ...{ files, readFile, tokenizer, before: Int32Array.of(), windowTokens: 1_000_000, reserveTokens: 0 },
    ...{ questions: [], cache: new BodyCache() },
  });
  const spans = new SpanMap(pack.files);
  const mass = (token: number): number => {
    const place = spans.at(token);
    return heavy.find(([path, line]) => path === place?.path && line === place.line)?.[2] ?? rest;
  };
  let calls = 0;
  const runner = new FakeRunner({ vocabSize: 400, mass });
  const pool: FakeRunner["pool"] = (request) => {
    calls++;
    assert.ok(request.keyEdges.length - 1 <= 512);
    return runner.pool(request);
  };
  const runs = await attendedRuns({ pack, queries: { start: pack.ids.length - 1, end: pack.ids.length }, pool });
  return { runs, calls };
}

const TEN = Array.from({ length: 10 }, (_, i) => `let v${i};`).join("\n");

describe("attended lines", () => {
  it("are runs of neighbours by share of all attention on lines, heaviest first", async () => {
    const { runs } = await attended({ "a.ts": TEN, "b.ts": TEN }, [
      ["a.ts", 4, 0.02],
      ["a.ts", 5, 0.01],
      ["b.ts", 9, 0.01],
    ]);
    assert.deepEqual(
      runs.map(({ path, startLine, endLine, quote }) => [path, startLine, endLine, quote]),
      [
        ["a.ts", 4, 5, "let v3;\nlet v4;"],
        ["b.ts", 9, 9, "let v8;"],
      ],
    );
    // Lines have equally many tokens, and f32 cells carry 7 digits.
    assert.ok(Math.abs((runs[0]?.share ?? 0) - 0.75) < 1e-5);
    assert.ok(Math.abs(runs.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-5);
  });

  it("are at most three runs of at most eight lines", async () => {
    const long = Array.from({ length: 30 }, (_, i) => `let v${i};`).join("\n");
    const everywhere = Array.from({ length: 30 }, (_, i) => ["a.ts", i + 1, 0.01] as [string, number, number]);
    const { runs } = await attended({ "a.ts": long }, everywhere);
    assert.equal(runs.length, 3);
    for (const { startLine, endLine } of runs) assert.ok(endLine - startLine < 8);
  });

  it("are found among very many lines with few poolings", async () => {
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}.ts`, `${TEN}\n`.repeat(40)]));
    const { runs, calls } = await attended(many, [["f31.ts", 333, 0.5]], 1e-6);
    assert.deepEqual([runs[0]?.path, runs[0]?.startLine, runs[0]?.endLine], ["f31.ts", 333, 333]);
    assert.ok(calls < 10, `${calls} calls for 16,000 lines`);
  });

  it("are none where attention cannot be measured or fell on no line", async () => {
    const { runs } = await attended({ "a.ts": TEN }, []);
    assert.deepEqual(runs, []);
    const without = await attendedRuns({ pack: { files: [], lines: () => [] }, queries: { start: 0, end: 1 } });
    assert.deepEqual(without, []);
  });
});

describe("attended.json", () => {
  const file = { hits: 41, asked: 50, contextTokens: 8192, command: "npm run -s evaluate" };

  it("is what was measured, and nothing where the folder has none", async () => {
    assert.deepEqual(await attendedPrecision(memoryFiles({ "attended.json": JSON.stringify(file) })), file);
    assert.equal(await attendedPrecision(memoryFiles({})), undefined);
  });

  it("is refused with a remedy where it cannot be right", async () => {
    for (const text of [
      "[]",
      "{",
      JSON.stringify({ ...file, hits: 51 }),
      JSON.stringify({ ...file, asked: 0 }),
      JSON.stringify({ hits: 1 }),
    ])
      await assert.rejects(
        attendedPrecision(memoryFiles({ "attended.json": text })),
        { code: "unsupported-model", remedy: /delete it/ },
        text,
      );
  });
});
