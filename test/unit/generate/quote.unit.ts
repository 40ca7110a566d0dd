import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BodyCache } from "../../../engine/pack/body.ts";
import { headerLine, packFiles } from "../../../engine/pack/pack.ts";
import { QuoteIndex, type QuoteState } from "../../../engine/generate/quote.ts";
import { decodeQuotedLines } from "../../../engine/generate/quotedLines.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { randomText, seeded } from "../../support/random.ts";
import { memoryWorkspace, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);
const ABSENT = 2;

async function indexOf(contents: Record<string, string>) {
  const { files, readFile } = memoryWorkspace(contents);
  const pack = await packFiles({
    files,
    readFile,
    tokenizer,
    before: Int32Array.of(),
    windowTokens: 1_000_000,
    reserveTokens: 0,
    questions: [],
    cache: new BodyCache(),
  });
  const lines = files.flatMap(({ path }) => [headerLine(path), ...pack.lines(path).map((line) => line?.trim() ?? "")]);
  const index = new QuoteIndex({ pack, tokenizer, vocabSize: tokenizer.vocabSize, absentTokenId: ABSENT });
  return { index, pack, lines: new Set(lines.filter((line) => line !== "")) };
}

function allowedIn(mask: Uint32Array): number[] {
  return Array.from({ length: mask.length * 32 }, (_, id) => id).filter((id) => ((mask[id >>> 5] ?? 0) >>> (id & 31)) & 1);
}

function spell(index: QuoteIndex, text: string): QuoteState {
  return [...tokenizer.encode(text)].reduce((state, id) => index.advance(state, id), index.start);
}

describe("quote-constrained decoding", () => {
  it("yields only whole lines of the files, whatever the model wants", async () => {
    const random = seeded(5);
    const contents: Record<string, string> = {};
    for (let i = 0; i < 6; i++) contents[`f${i}.ts`] = randomText(random, 300) + "\n" + "  return x;\n";
    const { index, lines } = await indexOf(contents);
    for (let round = 0; round < 60; round++) {
      const runner = new FakeRunner({ vocabSize: tokenizer.vocabSize });
      await runner.append([round]);
      const decoded = await decodeQuotedLines({
        runner,
        prompt: Int32Array.of(round),
        tokenizer,
        sampling: { temperature: 1, topP: 1, seed: round },
        stopIds: new Set(),
        maxTokens: 500,
        quotes: index,
        maxLines: 1,
        onText: () => undefined,
        onCandidate: () => undefined,
      });
      assert.equal(decoded.stoppedBy, "end");
      if (decoded.lines[0]?.quote.end === "absent") assert.deepEqual(decoded.ids, [ABSENT]);
      else assert.ok(lines.has(decoded.text), JSON.stringify(decoded.text));
    }
  });

  it("allows every line of the files to its end", async () => {
    const random = seeded(6);
    const { index, lines } = await indexOf({ "a.ts": randomText(random, 400), "b/c.ts": randomText(random, 400) });
    for (const line of lines) {
      let state = index.start;
      for (const id of [...tokenizer.encode(line), index.newlineId]) {
        assert.ok(allowedIn(index.mask(state)).includes(id), line);
        state = index.advance(state, id);
      }
      assert.equal(state.end, "line");
    }
  });

  it("allows the absent token only before the first, and the line break only where a line ends", async () => {
    const { index } = await indexOf({ "a.ts": "const a = 1;\nconst a = 1; // one\n" });
    assert.ok(allowedIn(index.mask(index.start)).includes(ABSENT));
    assert.equal(index.advance(index.start, ABSENT).end, "absent");
    const middle = spell(index, "const a");
    assert.ok(!allowedIn(index.mask(middle)).includes(ABSENT));
    assert.ok(!allowedIn(index.mask(middle)).includes(index.newlineId));
    const whole = spell(index, "const a = 1;");
    assert.ok(allowedIn(index.mask(whole)).includes(index.newlineId));
    assert.ok(allowedIn(index.mask(whole)).length > 1);
    assert.throws(() => index.advance(middle, ABSENT));
  });

  it("lists every place of a line that stands in several, indentation aside", async () => {
    const { index } = await indexOf({ "a.ts": "return 0;\nx\n  return 0;\n", "b.ts": "return 0;\nreturn 0; // no\n" });
    const state = index.advance(spell(index, "return 0;"), index.newlineId);
    assert.deepEqual(index.occurrences(state), [
      { path: "a.ts", line: 1 },
      { path: "a.ts", line: 3 },
      { path: "b.ts", line: 1 },
    ]);
    const header = index.advance(spell(index, "=== b.ts ==="), index.newlineId);
    assert.deepEqual(index.occurrences(header), [{ path: "b.ts", line: 0 }]);
  });
});
