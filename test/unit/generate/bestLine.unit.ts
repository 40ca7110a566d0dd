import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mostProbableLine } from "../../../engine/generate/bestLine.ts";
import { QuoteIndex } from "../../../engine/generate/quote.ts";
import { BodyCache } from "../../../engine/pack/body.ts";
import { headerLine, packFiles } from "../../../engine/pack/pack.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { randomText, seeded } from "../../support/random.ts";
import { memoryWorkspace, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);
const ABSENT = 2;
const { vocabSize } = tokenizer;

async function linesOf(contents: Record<string, string>) {
  const { files, readFile } = memoryWorkspace(contents);
  const before = Int32Array.of();
  const windowTokens = () => 1_000_000;
  const cache = new BodyCache();
  const pack = await packFiles({ files, readFile, tokenizer, before, windowTokens, reserveTokens: 0, questions: [], cache });
  const lines = files.flatMap(({ path }) => [headerLine(path), ...pack.lines(path).map((line) => line?.trim() ?? "")]);
  return {
    quotes: new QuoteIndex({ pack, tokenizer, vocabSize, absentTokenId: ABSENT }),
    lines: [...new Set(lines.filter((line) => line !== ""))],
  };
}

/** Logits that depend on everything before, so that each line has a probability of its own. */
function logit(id: number, cache: readonly number[]): number {
  let mixed = 17 + id;
  for (const token of cache) mixed = (Math.imul(mixed ^ token, 0x9e3779b1) >>> 0) ^ (mixed >>> 15);
  return ((mixed >>> 0) % 1000) / 60;
}

/** Sum of log-probabilities of `ids` behind `prompt`, from all logits, in plain loops. */
function logProbability(prompt: readonly number[], ids: readonly number[]): number {
  let sum = 0;
  ids.forEach((id, at) => {
    const cache = [...prompt, ...ids.slice(0, at)];
    const weights = Array.from({ length: vocabSize }, (_, other) => Math.exp(logit(other, cache)));
    sum += logit(id, cache) - Math.log(weights.reduce((a, b) => a + b, 0));
  });
  return sum;
}

describe("the most probable line", () => {
  it("is the one that comparing every line finds, and leaves prompt and answer in the cache", async () => {
    const random = seeded(11);
    for (let round = 0; round < 12; round++) {
      const contents = {
        "a.ts": `${randomText(random, 120)}\nlet a;\nlet ab;\n`,
        "b.ts": `${randomText(random, 80)}\nlet ab;\n`,
      };
      const { quotes, lines } = await linesOf(contents);
      const prompt = Array.from({ length: 20 + round }, () => 3 + Math.floor(random() * 200));
      const runner = new FakeRunner({ vocabSize, logit });
      await runner.append(prompt);
      const best = await mostProbableLine({
        runner,
        prompt: Int32Array.from(prompt),
        quotes,
        from: quotes.start,
        maxTokens: 500,
        onLead: () => undefined,
      });
      const candidates = lines.map((line) => {
        const ids = [...tokenizer.encode(line)];
        return { ids, logProb: logProbability(prompt, [...ids, quotes.newlineId]) };
      });
      candidates.push({ ids: [ABSENT], logProb: logProbability(prompt, [ABSENT]) });
      const expected = candidates.reduce((a, b) => (b.logProb > a.logProb ? b : a));
      assert.deepEqual(best.ids, expected.ids);
      assert.equal(best.stoppedBy, "end");
      assert.deepEqual(runner.cache, [...prompt, ...best.ids]);
    }
  });

  it("does not follow a likely first word into a line that the model finds unlikely", async () => {
    const { quotes } = await linesOf({ "a.ts": "aa bb\ncc dd\n" });
    const wrong = [...tokenizer.encode("aa bb")];
    const right = [...tokenizer.encode("cc dd"), quotes.newlineId];
    const prompt = [5, 6, 7];
    const runner = new FakeRunner({
      vocabSize,
      logit: (id, cache) => {
        const at = cache.length - prompt.length;
        if (at === 0) return id === wrong[0] ? 6 : id === right[0] ? 5 : 0;
        return cache[prompt.length] === right[0] ? (id === right[at] ? 12 : 0) : 0;
      },
    });
    await runner.append(prompt);
    const best = await mostProbableLine({
      runner,
      prompt: Int32Array.from(prompt),
      quotes,
      from: quotes.start,
      maxTokens: 50,
      onLead: () => undefined,
    });
    assert.equal(tokenizer.decode(best.ids), "cc dd");
  });

  it("goes on from the best beginning alone when everything is equally likely", async () => {
    const random = seeded(3);
    const text = Array.from({ length: 400 }, () => randomText(random, 40).replaceAll("\n", " ")).join("\n");
    const { quotes, lines } = await linesOf({ "a.ts": text });
    const runner = new FakeRunner({ vocabSize, logit: () => 0 });
    await runner.append([9]);
    const best = await mostProbableLine({
      runner,
      prompt: Int32Array.of(9),
      quotes,
      from: quotes.start,
      maxTokens: 500,
      onLead: () => undefined,
    });
    assert.equal(best.stoppedBy, "end");
    if (best.quote.end === "line") assert.ok(lines.includes(tokenizer.decode(best.ids)));
  });

  it("stopped, it says what led, and nothing of another beginning stays in the cache", async () => {
    const { quotes } = await linesOf({ "a.ts": "let a = 1;\nlet b = 2;\nfoo();\n" });
    const prompt = Array.from({ length: 33 }, (_, i) => 3 + i);
    const runner = new FakeRunner({ vocabSize, logit });
    await runner.append(prompt);
    const controller = new AbortController();
    const best = await mostProbableLine({
      runner,
      prompt: Int32Array.from(prompt),
      quotes,
      from: quotes.start,
      maxTokens: 50,
      signal: controller.signal,
      onLead: () => controller.abort(),
    });
    assert.equal(best.stoppedBy, "user");
    assert.ok(best.ids.length > 0);
    assert.deepEqual(runner.cache, prompt.slice(0, runner.length));
    assert.ok(runner.length <= prompt.length);
  });
});
