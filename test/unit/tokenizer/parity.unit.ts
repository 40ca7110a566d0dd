/**
 * Token for token the same as two other implementations, on real text in many scripts: prose in hundreds of languages, names,
 * compiler messages and sources. gpt-tokenizer gets more than 20 MB for o200k and every second text of it for cl100k;
 * @huggingface/tokenizers, which does about 1 MB/s, gets all of it for one kind of tokenizer, and a slice of every language for each of the
 * others.
 *
 * Both cut with JavaScript's \s, which has U+FEFF and not U+0085; the models were trained the other way round. The two are
 * taken out of the texts here; test/golden/tokenizer_kinds.json holds them to tiktoken itself.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import * as cl100k from "gpt-tokenizer/encoding/cl100k_base";
import * as o200k from "gpt-tokenizer/encoding/o200k_base";
import { byteToChar } from "../../../engine/tokenizer/byteAlphabet.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { patterns } from "../../../engine/tokenizer/presets.ts";
import { readTiktokenRanks } from "../../../engine/tokenizer/tiktoken.ts";
import { cldrTexts, compilerMessages, declarations, packageSources } from "../../support/manyScripts.ts";
import {
  ggufMetadata,
  kindGoldens,
  rankFile,
  sentencePieceTokenizer,
  tiktokenTokenizer,
  unigramJson,
} from "../../support/tokenizerKinds.ts";
import { isolatedSplit } from "../../support/tinyTokenizer.ts";

const MIN_BYTES = 20_000_000;
/** Of the texts for @huggingface/tokenizers: a slice of every language, and of sources. */
const SLICE_CHARS = 3000;
/** What is no source, and holds the scripts. */
const MIN_LOCALISED_BYTES = 15_000_000;

let localised: string[] = [];
let texts: string[] = [];
let slices: string[] = [];

before(() => {
  const clean = (text: string) => text.replace(/[\ufeff\u0085]/g, "");
  const prose = declarations().map(clean);
  localised = [...prose, ...cldrTexts().map(clean), ...compilerMessages().map(clean)];
  const sources = packageSources(MIN_BYTES / 4).map(clean);
  texts = [...localised, ...sources];
  const few = [...localised.filter((_, i) => i >= prose.length || i % 3 === 0), ...sources.filter((_, i) => i % 10 === 0)];
  slices = few.map((text) => wholeChars(text.slice(0, SLICE_CHARS)));
});

describe("gpt-tokenizer", () => {
  it("is compared on more than 20 MB in many scripts", () => {
    const bytesOf = (of: readonly string[]) => of.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    assert.ok(bytesOf(texts) > MIN_BYTES, `${bytesOf(texts)} bytes`);
    assert.ok(bytesOf(localised) > MIN_LOCALISED_BYTES, `${bytesOf(localised)} bytes`);
    const scripts =
      "Arab Armn Beng Cans Cher Cyrl Deva Ethi Geor Grek Gujr Guru Hang Hani Hebr Hira Kana Khmr Knda Laoo Latn Mlym Mong Mymr Orya Sinh Syrc Taml Telu Thai Tibt Vaii Yiii";
    const all = texts.join("");
    const present = scripts.split(" ").filter((script) => new RegExp(`\\p{Script=${script}}`, "u").test(all));
    assert.ok(present.length >= 28, `only ${present.join(" ")}`);
  });

  for (const [name, reference, every] of [
    ["o200k", o200k, 1],
    ["cl100k", cl100k, 2],
  ] as const) {
    it(`${name}: the same ids`, () => {
      const tokenizer = tiktokenTokenizer(name);
      for (const text of texts.filter((_, i) => i % every === 0))
        same(tokenizer.encode(text), reference.encode(text, { disallowedSpecial: new Set() }), text);
    });
  }
});

describe("@huggingface/tokenizers", () => {
  const gpt2 = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
  const digits = { type: "Digits", individual_digits: true };

  it("is compared on megabytes from every language", () => {
    assert.ok(slices.reduce((sum, text) => sum + Buffer.byteLength(text), 0) > 1_000_000);
  });

  it("GPT-2, on everything", () => agree(rankedJson("r50k", gpt2), texts));
  it("SmolLM2", () => agree(rankedJson("r50k", { type: "Sequence", pretokenizers: [digits, gpt2] })));
  it("Llama 3, which takes whole pieces first", () =>
    agree(rankedJson("cl100k", isolatedSplit(patterns.LLAMA3), { ignore_merges: true })));
  it("Qwen, which composes characters first", () =>
    agree({ ...rankedJson("cl100k", isolatedSplit(patterns.QWEN2)), normalizer: { type: "NFC" } }));
  it("o200k style", () => agree(rankedJson("cl100k", isolatedSplit(patterns.O200K))));
  it("the bundled model", () => agree(JSON.parse(readFileSync("media/specimens/ask-5m/tokenizer.json", "utf8")) as object));

  it("SentencePiece BPE with byte fallback, from tokenizer.json and from the scores of a GGUF file", async () => {
    const json = await sentencePieceJson();
    const lines = slices.flatMap((text) => text.split("\n"));
    agree(json, lines);
    const fromJson = loadTokenizer(json);
    const fromScores = await sentencePieceTokenizer("sentencepiece_bpe");
    for (const line of lines) same(fromScores.encode(line), fromJson.encode(line), line);
  });

  it("Unigram", () => {
    // Its Precompiled normalizer is an approximation there, so the comparison is without one.
    agree(
      { ...(unigramJson("token") as object), normalizer: null },
      slices.flatMap((text) => text.split("\n")),
    );
  });
});

function same(actual: ArrayLike<number>, expected: ArrayLike<number>, text: string): void {
  const length = Math.max(actual.length, expected.length);
  for (let i = 0; i < length; i++)
    if (actual[i] !== expected[i])
      assert.fail(`token ${i} is ${actual[i]} and not ${expected[i]} in ${JSON.stringify(text.slice(0, 200))}`);
}

function agree(json: object, inputs: readonly string[] = slices): void {
  const reference = new HuggingFaceTokenizer(json, {});
  const tokenizer = loadTokenizer(json);
  for (const text of inputs) same(tokenizer.encode(text), reference.encode(text, { add_special_tokens: false }).ids, text);
}

/** The tokenizer.json of a rank file: every way to put a token together from two others is a merge, by the rank of the whole. */
function rankedJson(name: string, preTokenizer: unknown, model: object = {}): object {
  const { bytes, offsets } = readTiktokenRanks(rankFile(name), name);
  const ids = new Map<string, number>();
  const spellings: string[] = [];
  for (let id = 0; id + 1 < offsets.length; id++) {
    let spelling = "";
    for (let at = offsets[id]; at < offsets[id + 1]; at++) spelling += byteToChar[bytes[at]];
    spellings.push(spelling);
    if (spelling !== "") ids.set(spelling, id);
  }
  const merges = spellings.flatMap((spelling) =>
    Array.from({ length: Math.max(0, spelling.length - 1) }, (_, i): [string, string] => [
      spelling.slice(0, i + 1),
      spelling.slice(i + 1),
    ])
      .filter(([left, right]) => ids.has(left) && ids.has(right))
      .sort(([a, b], [c, d]) => (ids.get(a) ?? 0) - (ids.get(c) ?? 0) || (ids.get(b) ?? 0) - (ids.get(d) ?? 0)),
  );
  return {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab: Object.fromEntries(ids), merges, ...model },
  };
}

/** The golden SentencePiece BPE as a tokenizer.json. */
async function sentencePieceJson(): Promise<object> {
  const metadata = await ggufMetadata(Buffer.from(kindGoldens.sentencepiece_bpe.gguf, "base64"));
  const tokens = metadata.get("tokenizer.ggml.tokens") as string[];
  const scores = metadata.get("tokenizer.ggml.scores") as Float32Array;
  const types = metadata.get("tokenizer.ggml.token_type") as Int32Array;
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const isText = (token: string) => types[ids.get(token) ?? 0] === 1;
  const merges = tokens
    .filter(isText)
    .sort((a, b) => scores[ids.get(b) ?? 0] - scores[ids.get(a) ?? 0])
    .flatMap((token) =>
      Array.from({ length: token.length - 1 }, (_, i): [string, string] => [token.slice(0, i + 1), token.slice(i + 1)]),
    )
    .filter((parts) => parts.every((part) => ids.has(part) && isText(part)));
  return {
    added_tokens: [],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: "BPE", unk_token: "<unk>", fuse_unk: true, byte_fallback: true, vocab: Object.fromEntries(ids), merges },
  };
}

/** Without half of a surrogate pair at the end. */
function wholeChars(text: string): string {
  return /[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text;
}
