import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { align } from "../../../engine/tokenizer/aligned.ts";
import { bpeTokenizer } from "../../../engine/tokenizer/bpeTokenizer.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { type PreTokenizer, preTokenizerOf } from "../../../engine/tokenizer/preTokenizers.ts";
import { ggufPattern } from "../../../engine/tokenizer/ggufPatterns.ts";
import { IdList } from "../../../engine/tokenizer/idList.ts";
import { pieceMachine } from "../../../engine/tokenizer/pieceMachine.ts";
import { convertRegex } from "../../../engine/tokenizer/regex.ts";
import { packTokens } from "../../../engine/tokenizer/tokenTable.ts";
import type { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { byteLevelJson, isolatedSplit } from "../../support/tinyTokenizer.ts";
import { seeded } from "../../support/random.ts";

interface Goldens {
  pretokenizers: Record<string, { pattern: string }>;
}
const goldens = JSON.parse(readFileSync("test/golden/tokenizers.json", "utf8")) as Goldens;

/** Of a tokenizer.json; it looks behind. */
const bundled = JSON.parse(readFileSync("media/specimens/ask-5m/tokenizer.json", "utf8")) as {
  pre_tokenizer: { pretokenizers: { pattern: { Regex: string } }[] };
};

const patterns: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.entries(goldens.pretokenizers).map(([name, { pattern }]) => [name, pattern])),
  "gpt2 as first published": String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  "cl100k with blanks at the end in one piece": String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?![\s\S])|\s*[\r\n]|\s+(?!\S)|\s`,
  "the bundled model, which looks behind": bundled.pre_tokenizer.pretokenizers[0].pattern.Regex,
  ...Object.fromEntries(
    ["tekken", "qwen35", "kimi-k2", "seed-coder", "bloom"].map((name) => [name, ggufPattern(name)?.split[0] ?? ""]),
  ),
};

/** Parts that meet every branch of the patterns when they stand side by side. */
const PARTS = [
  ...["a", "Z", "é", "É", "ǅ", "ʰ", "中", "ß", "ж", "Ж", "\u0301", "\u{1d400}", "\u{10400}", "\u{1f642}", "٣", "½", "7", "42"],
  ...[
    " ",
    "  ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\u00a0",
    "\u2003",
    "\u0085",
    "\u2028",
    "\ufeff",
    "\u0000",
    "_",
    "/",
    "//",
    "-",
    "(",
    "'",
  ],
  ...[
    "'s",
    "'S",
    "'re",
    "'VE",
    "'ll",
    "'lL",
    "'m",
    "'d",
    "'t",
    "'\u017f",
    "'r",
    "'v",
    "word",
    "Words",
    "XMLHttp",
    "\ufffd",
    "\u{e0100}",
  ],
];

const integer = (random: () => number, below: number): number => Math.floor(random() * below);

function pick<T>(random: () => number, items: readonly T[]): T {
  return items[integer(random, items.length)];
}

function randomParts(random: () => number, count: number): string {
  let text = "";
  for (let i = 0; i < count; i++) text += pick(random, PARTS);
  return text;
}

function piecesByRegex(preTokenizer: PreTokenizer, text: string): string[] {
  const pieces: string[] = [];
  preTokenizer.splitters[0]?.(align(text), true, (piece) => pieces.push(piece.text));
  return pieces;
}

/** What cuts as patterns do, by automata: every new piece becomes a token of its own. */
function cutter(...regexes: string[]): (text: string) => string[] {
  const known: string[] = [];
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const machine = pieceMachine(regexes.map(convertRegex), {
    merge: (bytes, start, end) => Int32Array.of(known.push(decoder.decode(bytes.subarray(start, end))) - 1),
  });
  assert.ok(machine, regexes.join());
  return (text) => {
    const ids = new IdList();
    machine.encode(text, ids);
    return Array.from(ids.take(), (id) => known[id] ?? "");
  };
}

/** The same pattern as something that no automaton is made of, so that the regular expression itself cuts. */
const uncut = (pattern: string): string => String.raw`(?:${pattern})(?=[\s\S]{0})`;

/** The same tokenizer twice: cutting with the automaton, and with the regular expression. */
function twins(pattern: string): { fast: Tokenizer; slow: Tokenizer } {
  const merges: [string, string][] = [
    ["e", "r"],
    ["o", "r"],
    ["w", "or"],
    ["Ã", "©"],
    ["Ġ", "Ġ"],
    ["X", "M"],
    ["d", "s"],
    ["/", "/"],
  ];
  const load = (regex: string) => loadTokenizer(byteLevelJson({ merges, preTokenizer: isolatedSplit(regex) }));
  return { fast: load(pattern), slow: load(uncut(pattern)) };
}

describe("automata", () => {
  for (const [name, pattern] of Object.entries(patterns)) {
    it(`cut as the pattern does: ${name}`, () => {
      const random = seeded(11);
      const preTokenizer = preTokenizerOf(pattern);
      const cut = cutter(pattern);
      for (let round = 0; round < 3000; round++) {
        const text = randomParts(random, 1 + integer(random, 12));
        assert.deepEqual(cut(text), piecesByRegex(preTokenizer, text), JSON.stringify(text));
      }
    });

    it(`cut every pair and triple of parts as the pattern does: ${name}`, () => {
      const preTokenizer = preTokenizerOf(pattern);
      const cut = cutter(pattern);
      const few = PARTS.filter((_, i) => i % 3 === 0);
      for (const a of PARTS)
        for (const b of PARTS)
          for (const c of ["", ...few]) {
            const text = a + b + c;
            assert.deepEqual(cut(text), piecesByRegex(preTokenizer, text), JSON.stringify(text));
          }
    });
  }

  it("cut the pieces of one pattern with the next, as DeepSeek, SmolLM2 and Falcon have it", () => {
    const random = seeded(15);
    for (const name of ["deepseek-v3", "deepseek-coder", "smollm", "falcon", "viking", "default"]) {
      const regexes = ggufPattern(name)?.split ?? [];
      assert.ok(regexes.length > 1, name);
      const cut = cutter(...regexes);
      for (let round = 0; round < 2000; round++) {
        const text = randomParts(random, 1 + integer(random, 12));
        const expected = regexes.reduce(
          (pieces, regex) => pieces.flatMap((piece) => piecesByRegex(preTokenizerOf(regex), piece)),
          [text],
        );
        assert.deepEqual(cut(text), expected, `${name}: ${JSON.stringify(text)}`);
      }
    }
  });

  it("are not made of what looks further than a character, prefers the shorter match, or refers back", () => {
    const merge = () => Int32Array.of(0);
    for (const source of [uncut("a"), "(?=ab)a", "a+?", "(?<=ab)c", "a{3000}", "(?:a{60}){60}"])
      assert.equal(pieceMachine([new RegExp(source, "u")], { merge }), undefined, source);
    assert.equal(pieceMachine([/(a)\1/u], { merge }), undefined);
    assert.equal(pieceMachine([], { merge }), undefined);
  });

  it("learn about characters that turn up late", () => {
    const pattern = patterns.o200k_phi4mini ?? "";
    const codes = Array.from({ length: 0x11000 }, (_, i) => 16 * i + 1).filter((code) => code < 0xd800 || code > 0xdfff);
    const whole = String.fromCodePoint(...codes.filter((_, i) => i % 16 === 3));
    assert.deepEqual(cutter(pattern)(whole), piecesByRegex(preTokenizerOf(pattern), whole));
  });

  it("find every piece again however many there are, and however alike", () => {
    const cut = cutter(String.raw`[^,]+|,`);
    const random = seeded(16);
    const words = Array.from({ length: 5000 }, () => "\0\0\0ab".charAt(integer(random, 5)).repeat(1 + integer(random, 140)));
    for (let round = 0; round < 3; round++)
      assert.deepEqual(
        cut(words.join(",")),
        words.flatMap((word, i) => (i === 0 ? [word] : [",", word])),
      );
  });
});

describe("counting UTF-8", () => {
  it("gives the tokens and offsets of the regular expression", () => {
    const random = seeded(12);
    for (const pattern of Object.values(patterns)) {
      const { fast, slow } = twins(pattern);
      for (let round = 0; round < 200; round++) {
        const text = randomParts(random, 30) + (round % 5 === 0 ? "\ud800x" : "");
        assert.deepEqual(fast.encode(text), slow.encode(text), JSON.stringify(text));
        assert.deepEqual(fast.encodeWithOffsets(text), slow.encodeWithOffsets(text), JSON.stringify(text));
        assert.equal(fast.count(text), slow.count(text));
        assert.equal(
          fast.countUtf8(new TextEncoder().encode(text)),
          slow.count(new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text))),
        );
      }
    }
  });

  it("replaces bad bytes as TextDecoder does and keeps a byte order mark", () => {
    const random = seeded(13);
    const bad = [0xc0, 0xc1, 0x80, 0xbf, 0xe2, 0x82, 0xed, 0xa0, 0xf0, 0x9f, 0x98, 0xf4, 0x90, 0xf5, 0xff, 0xef, 0xbb, 0xbf];
    const { fast, slow } = twins(patterns.o200k_phi4mini ?? "");
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    for (let round = 0; round < 2000; round++) {
      const bytes = Uint8Array.from({ length: integer(random, 24) }, () =>
        random() < 0.5 ? pick(random, bad) : integer(random, 256),
      );
      assert.equal(fast.countUtf8(bytes), slow.count(decoder.decode(bytes)), bytes.toString());
      assert.equal(slow.countUtf8(bytes), slow.count(decoder.decode(bytes)), bytes.toString());
    }
    assert.equal(fast.countUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), slow.count("\ufeffa"));
    assert.equal(fast.countUtf8(new Uint8Array()), 0);
  });

  it("reads a part of a buffer and nothing around it", () => {
    const { fast } = twins(patterns.o200k_phi4mini ?? "");
    const whole = new TextEncoder().encode("xx words and morewordsandmore 12 yy");
    for (let start = 0; start < 12; start++)
      for (let end = start; end <= whole.length; end++)
        assert.equal(fast.countUtf8(whole.subarray(start, end)), fast.countUtf8(Uint8Array.from(whole.subarray(start, end))));
  });

  it("normalises where the model does", () => {
    const json = { ...(byteLevelJson({ merges: [["Ã", "©"]] }) as object), normalizer: { type: "NFC" } };
    const tokenizer = loadTokenizer(json);
    const count = (text: string) => tokenizer.countUtf8(new TextEncoder().encode(text));
    assert.equal(count("e\u0301"), 1);
    assert.equal(count("abc"), 3);
    assert.deepEqual([...tokenizer.encodeWithOffsets("xe\u0301y").starts], [0, 1, 3]);
  });

  it("stays exact when more different pieces turn up than it remembers", () => {
    const { fast, slow } = twins(patterns.gpt2 ?? "");
    const words = Array.from(
      { length: 150_000 },
      (_, i) => `w${i.toString(36).replaceAll(/[0-9]/g, (digit) => "QRSTUVWXYZ".charAt(+digit))}`,
    );
    const alone = words.slice(0, 500).map((word) => slow.count(` ${word}`));
    fast.countUtf8(new TextEncoder().encode(words.join(" ")));
    words.slice(0, 500).forEach((word, i) => assert.equal(fast.count(` ${word}`), alone[i], word));
  });

  it("stops when told to, and counts right afterwards", () => {
    for (const tokenizer of Object.values(twins(patterns.o200k_phi4mini ?? ""))) {
      const bytes = new TextEncoder().encode("some words, ".repeat(40_000));
      let polls = 0;
      const stopped = () => tokenizer.countUtf8(bytes, () => ++polls === 3);
      assert.throws(stopped, (error) => EngineError.is(error, "aborted"));
      assert.equal(polls, 3);
      assert.equal(
        tokenizer.countUtf8(bytes, () => false),
        tokenizer.countUtf8(bytes),
      );
    }
  });
});

describe("a vocabulary of ranks", () => {
  const texts = ["th", "he", "the", " the", "in", "ing", "abc", "bc", "ab", "bcd", "é", "中", "\n\n", "aa", "aaa", "aaaa"];
  const tokens = [
    ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
    ...texts.map((text) => new TextEncoder().encode(text)),
  ];
  const special = {
    id: 300,
    content: "<|end|>",
    special: true,
    plain: false,
    normalized: false,
    lstrip: false,
    rstrip: false,
    singleWord: false,
  };
  const make = (pattern: string) =>
    bpeTokenizer({ tokens: packTokens(tokens), preTokenizer: preTokenizerOf(pattern), added: [special] });

  /** tiktoken's rule as it is told: of all neighbours whose bytes are a token, the lowest id merges, leftmost first. */
  function mergeNaively(piece: Uint8Array): number[] {
    const spellings = new Map(tokens.map((bytes, id) => [bytes.toString(), id]));
    const whole = spellings.get(piece.toString());
    if (whole !== undefined) return [whole];
    const parts = [...piece].map((byte) => [byte]);
    for (;;) {
      let best = Infinity;
      let at = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const id = spellings.get([...(parts[i] ?? []), ...(parts[i + 1] ?? [])].toString()) ?? Infinity;
        if (id < best) [best, at] = [id, i];
      }
      if (at < 0) return parts.map((part) => spellings.get(part.toString()) ?? -1);
      parts.splice(at, 2, [...(parts[at] ?? []), ...(parts[at + 1] ?? [])]);
    }
  }

  it("merges as tiktoken does, with the scanner and without", () => {
    const random = seeded(14);
    const pattern = patterns.o200k_phi4mini ?? "";
    const [fast, slow] = [make(pattern), make(uncut(pattern))];
    const preTokenizer = preTokenizerOf(pattern);
    for (let round = 0; round < 200; round++) {
      let text = "";
      for (let i = 0; i < 60; i++) text += pick(random, ["the", "a", "b", "c", "d", " ", "in", "é", "中", "\n", "g"]);
      if (round % 10 === 0) text += "abcd".repeat(80) + "a".repeat(200);
      const expected = piecesByRegex(preTokenizer, text).flatMap((piece) => mergeNaively(new TextEncoder().encode(piece)));
      assert.deepEqual([...fast.encode(text)], expected, text);
      assert.deepEqual(slow.encodeWithOffsets(text), fast.encodeWithOffsets(text), text);
      assert.deepEqual([...slow.encode(text)], expected, text);
      assert.equal(fast.decode(expected), text);
    }
  });

  it("knows its special tokens and makes none out of file text", () => {
    const tokenizer = make(patterns.o200k_phi4mini ?? "");
    assert.equal(tokenizer.vocabSize, 301);
    assert.equal(tokenizer.tokenId("<|end|>"), 300);
    assert.equal(tokenizer.tokenId("Ġthe"), 259);
    assert.ok(!tokenizer.encode("a<|end|>").includes(300));
    assert.deepEqual([...tokenizer.encode("a<|end|>", { special: "recognize" })], [97, 300]);
    assert.equal(tokenizer.decode([97, 300], { skipSpecial: true }), "a");
    assert.throws(
      () => tokenizer.tokenBytes(290),
      (error) => EngineError.is(error, "bad-argument"),
    );
  });

  it("refuses a vocabulary in which a byte has no token", () => {
    const without = () => bpeTokenizer({ tokens: packTokens(tokens.slice(1)), preTokenizer: preTokenizerOf("a"), added: [] });
    assert.throws(without, (error) => EngineError.is(error, "tokenizer-invalid") && /byte 0/.test(error.message));
  });
});
