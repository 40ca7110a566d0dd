import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { BpeMerger, type MergeRule, PairTable } from "../../../engine/tokenizer/bpe.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { packTokens, TokenTable } from "../../../engine/tokenizer/tokenTable.ts";
import type { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { everyKind } from "../../support/tokenizerKinds.ts";
import { byteLevelJson, isolatedSplit } from "../../support/tinyTokenizer.ts";
import { seeded } from "../../support/random.ts";

const O200K = String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const RUN = 160_000;
const MERGES: [string, string][] = [
  ["_", "_"],
  ["__", "__"],
  ["a", "a"],
  ["ä", "¸"],
  ["ä¸", "Ń"],
  ["Ġ", "Ġ"],
  ["ĠĠ", "ĠĠ"],
  ["ð", "Ł"],
];

/** Counts how often a rule is asked. */
class CountingRule implements MergeRule {
  asked = 0;
  readonly ranks: number;

  constructor(private readonly rule: MergeRule) {
    this.ranks = rule.ranks;
  }

  rank(left: number, right: number): number {
    this.asked++;
    return this.rule.rank(left, right);
  }

  merged(rank: number): number {
    return this.rule.merged(rank);
  }
}

/** The lowest rank merges first, leftmost on ties: the definition, in quadratic time. */
function mergeNaively(rule: MergeRule, symbols: readonly number[]): { symbols: number[]; firsts: number[] } {
  const left = [...symbols];
  const firsts = left.map((_, i) => i);
  for (;;) {
    let best = Infinity;
    let at = -1;
    for (let i = 0; i + 1 < left.length; i++) {
      const rank = rule.rank(left[i], left[i + 1]);
      if (rank >= 0 && rank < best) [best, at] = [rank, i];
    }
    if (at < 0) return { symbols: left, firsts };
    left.splice(at, 2, rule.merged(best));
    firsts.splice(at + 1, 1);
  }
}

describe("merging one long piece", () => {
  it("gives what the definition gives, also where a merge brings up a lower rank", () => {
    const random = seeded(21);
    for (let vocabulary = 0; vocabulary < 60; vocabulary++) {
      // Ids in no order of growth, so that merges bring up pairs of any rank.
      const spellings = new Set(["a", "b", "c"]);
      while (spellings.size < 25) {
        let text = "";
        for (let length = 2 + Math.floor(random() * 5); length > 0; length--) text += "abc".charAt(Math.floor(random() * 3));
        spellings.add(text);
      }
      const table = new TokenTable(packTokens([...spellings].map((text) => new TextEncoder().encode(text))));
      const merger = new BpeMerger(table);
      for (const length of [100, 150, 300]) {
        const symbols = Int32Array.from({ length }, () => Math.floor(random() * 3));
        const expected = mergeNaively(table, [...symbols]);
        const firsts = new Int32Array(length);
        const count = merger.merge(symbols, firsts, length);
        assert.deepEqual([...symbols.subarray(0, count)], expected.symbols);
        assert.deepEqual([...firsts.subarray(0, count)], expected.firsts);
      }
    }
  });

  it("asks the rule in proportion to the length", () => {
    const cycle: [number, number, number][] = [
      [0, 0, 2],
      [0, 1, 3],
      [2, 2, 4],
      [3, 3, 5],
      [4, 4, 6],
    ];
    const random = seeded(22);
    const shapes: ((i: number) => number)[] = [() => 0, (i) => i & 1, () => Math.floor(random() * 2)];
    for (const shape of shapes) {
      for (const length of [1_000, RUN]) {
        const rule = new CountingRule(new PairTable(Int32Array.from(cycle.flat())));
        new BpeMerger(rule).merge(
          Int32Array.from({ length }, (_, i) => shape(i)),
          new Int32Array(length),
          length,
        );
        assert.ok(rule.asked <= 3 * length, `${rule.asked} questions for ${length} symbols`);
      }
    }
  });
});

describe("an unbroken run of 160,000 characters", () => {
  const tokenizers: Readonly<Record<string, Tokenizer>> = {
    "GPT-2": loadTokenizer(byteLevelJson({ merges: MERGES })),
    o200k: loadTokenizer(byteLevelJson({ merges: MERGES, preTokenizer: isolatedSplit(O200K) })),
    "a pattern no scanner knows": loadTokenizer(
      byteLevelJson({ merges: MERGES, preTokenizer: isolatedSplit("\\w+|\\s+|[^\\w\\s]+") }),
    ),
  };
  const runs: readonly [string, string, number][] = [
    ["underscores", "_", RUN / 4],
    ["letters", "a", RUN / 2],
    ["CJK characters", "中", 2 * RUN],
    ["spaces", " ", RUN / 4],
    ["emoji", "🙂", 3 * RUN],
  ];
  for (const [name, tokenizer] of Object.entries(tokenizers)) {
    for (const [what, char, tokens] of runs) {
      it(`of ${what} comes to its exact count with ${name}`, () => {
        const text = char.repeat(RUN);
        const bytes = new TextEncoder().encode(text);
        const expected = char === "中" ? tokenizer.count("中".repeat(50)) * (RUN / 50) : tokens;
        assert.equal(tokenizer.countUtf8(bytes), expected);
        assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
      });

      it(`of ${what} can be stopped at many places with ${name}`, () => {
        const bytes = new TextEncoder().encode(char.repeat(RUN));
        let polls = 0;
        tokenizer.countUtf8(bytes, () => ++polls < 0);
        assert.ok(polls >= 20, `${polls} polls`);
        for (const wanted of [1, Math.floor(polls / 2), polls]) {
          let seen = 0;
          assert.throws(
            () => tokenizer.countUtf8(bytes, () => ++seen === wanted),
            (error) => EngineError.is(error, "aborted"),
          );
        }
        assert.equal(
          tokenizer.countUtf8(bytes.subarray(0, 4 * new TextEncoder().encode(char).length)),
          tokenizer.count(char.repeat(4)),
        );
      });
    }
  }
});

describe("160,000 characters, with every kind of tokenizer", async () => {
  const few = (code: number, count: number) =>
    Array.from({ length: RUN }, (_, i) => String.fromCodePoint(code + (((i * 2_654_435_761) >>> 7) % count))).join("");
  const runs: Readonly<Record<string, string>> = {
    underscores: "_".repeat(RUN),
    letters: "a".repeat(RUN),
    "alternating letters": "ab".repeat(RUN / 2),
    words: "the ".repeat(RUN / 4),
    digits: "7".repeat(RUN),
    "CJK characters": few(0x4e00, 500),
    spaces: " ".repeat(RUN),
    "line breaks": "\n".repeat(RUN),
    "combining marks": "e" + "\u0301".repeat(RUN),
    emoji: few(0x1f600, 64),
  };
  for (const [name, tokenizer] of await everyKind()) {
    for (const [what, text] of Object.entries(runs)) {
      it(`${name}: ${what} in parts come to what they come to as a whole, within the polls of their length`, () => {
        const bytes = new TextEncoder().encode(text);
        const polls = (of: Uint8Array) => {
          let asked = 0;
          tokenizer.countUtf8(of, () => ++asked < 0);
          return asked;
        };
        const [half, whole] = [polls(bytes.subarray(0, (bytes.length >> 4) << 3)), polls(bytes)];
        assert.ok(whole >= 2, `${whole} polls`);
        assert.ok(whole <= 2 * half + 20, `${half} polls for half, ${whole} for all`);
        const ids = tokenizer.encode(text);
        assert.equal(ids.length, tokenizer.countUtf8(bytes));
        let seen = 0;
        assert.throws(
          () => tokenizer.countUtf8(bytes, () => ++seen === whole >> 1),
          (error) => EngineError.is(error, "aborted"),
        );
        assert.equal(tokenizer.countUtf8(bytes), ids.length);
      });
    }
  }
});
