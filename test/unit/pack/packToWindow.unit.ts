import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { packFormats } from "../../../engine/pack/exportPack.ts";
import { numberedLines, packToWindow, type PackSource } from "../../../engine/pack/packToWindow.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { randomText, seeded } from "../../support/random.ts";
import { tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);

function source(path: string, text: string, more: Partial<PackSource> = {}): PackSource {
  return { path, text, rank: 1, reasons: [], ...more };
}

describe("a pack within a window", () => {
  it("is counted as it is written, and never longer than the budget", async () => {
    const random = seeded(21);
    for (let round = 0; round < 40; round++) {
      const sources = Array.from({ length: 1 + Math.floor(random() * 12) }, (_, i) => {
        const lines = random() < 0.5 ? { lines: [{ first: 1, last: 2 }] } : {};
        return source(`dir${i % 3}/f${i}.ts`, randomText(random, Math.floor(random() * 400)), { rank: random(), ...lines });
      });
      const format = packFormats[round % packFormats.length] ?? "xml";
      const budgetTokens = 60 + Math.floor(random() * 3000);
      const pack = await packToWindow(sources, { tokenizer, format, budgetTokens });
      assert.ok(pack.tokens <= budgetTokens);
      assert.equal(pack.tokens, tokenizer.count(pack.text));
      assert.deepEqual(
        pack.rows.map(({ path }) => path),
        sources.map(({ path }) => path),
      );
      const names = pack.rows.map(({ path }) => path.slice(path.indexOf("/") + 1));
      pack.rows.forEach(({ level }, i) =>
        assert.equal(new RegExp(`\\b${names[i] ?? ""}\\b`).test(pack.text), level !== "excluded", `${names[i]} ${level}`),
      );
      if (pack.rows.every(({ level }) => level === "full")) assert.equal(pack.neededTokens, pack.tokens);
      else assert.ok(pack.neededTokens >= pack.tokens);
    }
  });

  it("keeps what is pinned, and its outline where that is the pin", async () => {
    const long = "first line of many\n".repeat(60);
    const sources = [source("a.ts", long, { pinned: "outline", lines: [{ first: 2, last: 2 }] }), source("b.ts", long)];
    const { rows, text } = await packToWindow(sources, { tokenizer, format: "plain", budgetTokens: 200 });
    assert.deepEqual(
      rows.map(({ level }) => level),
      ["outline", "name"],
    );
    assert.match(text, /=== a\.ts === \(outline\)\n2: first line of many\n/);
    await assert.rejects(
      packToWindow([source("a.ts", long, { pinned: "full" })], { tokenizer, format: "plain", budgetTokens: 200 }),
      (error) => EngineError.is(error, "context-too-long") && error.message.includes("a.ts"),
    );
  });

  it("says when not even an empty pack fits, and when it is stopped", async () => {
    const options = { tokenizer, format: "json" as const, budgetTokens: 1 };
    await assert.rejects(packToWindow([], options), (error) => EngineError.is(error, "context-too-long"));
    const stopped = { ...options, budgetTokens: 900, signal: AbortSignal.abort() };
    await assert.rejects(packToWindow([source("a", "x")], stopped), (error) => EngineError.is(error, "aborted"));
    const stop = new AbortController();
    const onProgress = (done: number): void => (done === 2 ? stop.abort() : undefined);
    const three = ["a", "b", "c"].map((path) => source(path, "x"));
    await assert.rejects(packToWindow(three, { ...options, budgetTokens: 900, signal: stop.signal, onProgress }), (error) =>
      EngineError.is(error, "aborted"),
    );
  });

  it("numbers the lines of an outline as the file has them", () => {
    const ranges = [
      { first: 1, last: 1 },
      { first: 3, last: 9 },
    ];
    assert.deepEqual(numberedLines("a\r\nb\nc\rd\n", ranges), [
      { number: 1, text: "a" },
      { number: 3, text: "c" },
      { number: 4, text: "d" },
    ]);
  });
});
