import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { packFormats } from "../../../engine/pack/exportPack.ts";
import { packToWindow, type PackSource } from "../../../engine/pack/packToWindow.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { randomText, seeded } from "../../support/random.ts";
import { tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);

describe("a pack within a window", () => {
  it("is counted as it is written, and never longer than the budget", () => {
    const random = seeded(21);
    for (let round = 0; round < 40; round++) {
      const sources = Array.from({ length: 1 + Math.floor(random() * 12) }, (_, i): PackSource => {
        const text = randomText(random, Math.floor(random() * 400));
        const outline = random() < 0.5 ? { outline: [{ number: 1, text: text.split("\n")[0] ?? "" }] } : {};
        return { path: `dir/f${i}.ts`, text, rank: random(), ...outline };
      });
      const format = packFormats[round % packFormats.length] ?? "xml";
      const budgetTokens = 40 + Math.floor(random() * 3000);
      const pack = packToWindow(sources, { tokenizer, format, budgetTokens });
      assert.ok(pack.tokens <= budgetTokens);
      assert.equal(pack.tokens, tokenizer.count(pack.text));
      assert.deepEqual(
        pack.rows.map(({ path }) => path),
        sources.map(({ path }) => path),
      );
      for (const { path, level } of pack.rows) assert.equal(pack.text.includes(path), level !== "excluded", `${path} ${level}`);
    }
  });

  it("says when not even an empty pack fits, and when it is stopped", () => {
    const options = { tokenizer, format: "json" as const, budgetTokens: 1 };
    assert.throws(
      () => packToWindow([], options),
      (error) => EngineError.is(error, "context-too-long"),
    );
    const source = { path: "a", text: "x", rank: 1 };
    assert.throws(
      () => packToWindow([source], { ...options, budgetTokens: 900, signal: AbortSignal.abort() }),
      (error) => EngineError.is(error, "aborted"),
    );
  });
});
