import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { convertRegex } from "../../../engine/tokenizer/regex.ts";
import { byteLevelJson, isolatedSplit } from "../../support/tinyTokenizer.ts";
import { randomText, seeded } from "../../support/random.ts";

const MERGES: [string, string][] = [
  ["_", "_"],
  ["__", "__"],
  ["e", "r"],
  ["t", "h"],
  ["th", "er"],
  ["Ã", "©"],
  ["Ġ", "th"],
];

describe("byte-level BPE", () => {
  const tokenizer = loadTokenizer(byteLevelJson({ merges: MERGES, preTokenizer: isolatedSplit("\\s+|\\w+|[^\\s\\w]+") }));

  it("gives back every text it encodes", () => {
    const random = seeded(7);
    for (let round = 0; round < 300; round++) {
      const text = randomText(random, 60);
      assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
      assert.equal(tokenizer.count(text), tokenizer.encode(text).length);
    }
  });

  it("says where each token begins: the bytes up to it are the text up to it", () => {
    const random = seeded(8);
    const encoder = new TextEncoder();
    for (let round = 0; round < 200; round++) {
      const text = randomText(random, 40);
      const { ids, starts } = tokenizer.encodeWithOffsets(text);
      assert.deepEqual(ids, tokenizer.encode(text));
      let bytes = 0;
      ids.forEach((id, i) => {
        const start = starts[i] ?? -1;
        const before = encoder.encode(text.slice(0, start)).length;
        const char = encoder.encode(String.fromCodePoint(text.codePointAt(start) ?? 0)).length;
        assert.ok(before <= bytes && bytes < before + char, `token ${i} of ${JSON.stringify(text)}`);
        bytes += tokenizer.tokenBytes(id).length;
      });
    }
  });

  it("merges the same by heap as by scan", () => {
    const long = "the_other__".repeat(40);
    const ids = tokenizer.encode(long);
    assert.equal(tokenizer.decode(ids), long);
    // "the_other__" has a period, so the merges of a long run are those of one period in its surroundings.
    const period = [...tokenizer.encode("the_other__".repeat(3))];
    assert.deepEqual([...ids.subarray(0, period.length - 4)], period.slice(0, -4));
  });

  it("comes to an end on one line of 160,000 underscores", () => {
    assert.equal(tokenizer.count("_".repeat(160_000)), 40_000);
  });

  it("streams characters only when they are complete", () => {
    const plain = loadTokenizer(byteLevelJson({}));
    const stream = plain.stream();
    const parts = [...plain.encode("a🙂é")].map((id) => stream.push(id));
    assert.deepEqual(parts, ["a", "", "", "", "🙂", "", "é"]);
    assert.equal(stream.end(), "");
    const broken = plain.stream();
    assert.equal(broken.push(plain.encode("é")[0] ?? 0) + broken.end(), "\ufffd");
  });
});

describe("regular expressions of tokenizer.json", () => {
  const matches = (pattern: string, text: string) => text.match(convertRegex(pattern)) ?? [];

  it("rewrites what differs between the engines", () => {
    assert.deepEqual(matches("(?i:'s|'LL)", "it'S we'll"), ["'S", "'ll"]);
    assert.deepEqual(matches("\\s", "a\u0085b\ufeffc"), ["\u0085"]);
    assert.deepEqual(matches("\\w+", "naïve_1"), ["naïve_1"]);
    assert.deepEqual(matches("\\d+", "٣4"), ["٣4"]);
    assert.deepEqual(matches(".+", "a\rb\nc"), ["a\rb", "c"]);
    assert.deepEqual(matches("^b", "a\nb"), ["b"]);
    assert.deepEqual(matches("\\p{Han}+", "a東京b"), ["東京"]);
    assert.deepEqual(matches("[^(\\s|[.,!])]+", "ab(c"), ["ab", "c"]);
    assert.deepEqual(matches("[^\\s[.,!]]+", "ab, c!"), ["ab", "c"]);
    assert.deepEqual(matches("\\_\\'\\ {2}]", "_'  ]"), ["_'  ]"]);
    assert.deepEqual(matches("(?i)select", "SeLeCt"), ["SeLeCt"]);
  });
});
