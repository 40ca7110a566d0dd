import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { byteToChar } from "../../../engine/tokenizer/byteAlphabet.ts";
import { ggufPattern } from "../../../engine/tokenizer/ggufPatterns.ts";
import { ggufTokenizer } from "../../../engine/tokenizer/ggufTokenizer.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import type { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { type GgufEntry, ggufFile } from "../../support/ggufFile.ts";
import { byteLevelJson, isolatedSplit } from "../../support/tinyTokenizer.ts";
import { ggufMetadata, kindGoldens } from "../../support/tokenizerKinds.ts";

interface Splits {
  pretokenizer_texts: string[];
  pretokenizers: Record<string, { pattern: string; splits: string[][] }>;
}
const goldens = JSON.parse(readFileSync("test/golden/tokenizers.json", "utf8")) as Splits;

const NORMAL = 1;
const CONTROL = 3;
const USER = 4;
const UNUSED = 5;
const BYTE = 6;

async function load(entries: Record<string, GgufEntry>): Promise<Tokenizer> {
  const keys = Object.fromEntries(Object.entries(entries).map(([key, entry]) => [`tokenizer.ggml.${key}`, entry]));
  return ggufTokenizer(await ggufMetadata(ggufFile(keys)), "model.gguf");
}

/** A byte-level BPE: <|end|>, all bytes, then these tokens. */
function byteLevel(pre: string, extra: readonly string[], merges: readonly string[]): Record<string, GgufEntry> {
  const tokens = ["<|end|>", ...byteToChar, ...extra];
  return {
    model: ["string", "gpt2"],
    pre: ["string", pre],
    tokens: ["strings", tokens],
    token_type: ["i32s", tokens.map((_, id) => (id === 0 ? CONTROL : NORMAL))],
    merges: ["strings", merges],
    bos_token_id: ["u32", 0],
  };
}

const spell = (text: string) => [...new TextEncoder().encode(text)].map((byte) => byteToChar[byte]).join("");
const pieces = (tokenizer: Tokenizer, text: string) => [...tokenizer.encode(text)].map((id) => tokenizer.decode([id]));
const isKind = (code: "tokenizer-invalid" | "unsupported-tokenizer", message: RegExp) => (error: unknown) =>
  EngineError.is(error, code) && message.test(error.message) && error.remedy !== "";

describe("byte-level BPE in GGUF metadata", () => {
  it("gives the ids of the tokenizer.json with the same vocabulary and merges", async () => {
    const merges: [string, string][] = [
      ["t", "h"],
      ["th", "e"],
      ["\u0120", "the"],
      ["\u00c3", "\u00a9"],
    ];
    const split =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    const json = loadTokenizer(byteLevelJson({ merges, special: ["<|end|>"], preTokenizer: isolatedSplit(split) }));
    const gguf = await load(
      byteLevel(
        "qwen2",
        merges.map((pair) => pair.join("")),
        merges.map((pair) => pair.join(" ")),
      ),
    );
    for (const text of [...kindGoldens.texts, "the the\u00e9 <|end|>"]) {
      assert.deepEqual(gguf.encode(text), json.encode(text), text);
      assert.deepEqual(gguf.encode(text, { special: "recognize" }), json.encode(text, { special: "recognize" }), text);
      assert.equal(gguf.decode(gguf.encode(text)), text);
    }
  });

  it("cuts by the name of the pre-tokenizer as the model's own pattern does", async () => {
    for (const [golden, names] of [
      ["gpt2", ["gpt-2", "mpt"]],
      ["llama3_smollm3", ["llama-bpe", "llama3"]],
      ["qwen2_qwen3", ["qwen2"]],
      ["o200k_phi4mini", ["gpt-4o", "llama4"]],
    ] as const) {
      const { pattern, splits } = goldens.pretokenizers[golden];
      const { extra, merges } = chains(splits.flat().map(spell));
      const json = loadTokenizer(
        byteLevelJson({
          merges: merges.map((merge) => [merge.slice(0, merge.indexOf(" ")), merge.slice(merge.indexOf(" ") + 1)] as const),
          special: ["<|end|>"],
          preTokenizer: isolatedSplit(pattern),
          ignoreMerges: golden === "llama3_smollm3",
        }),
      );
      for (const name of names) {
        const gguf = await load(byteLevel(name, extra, merges));
        for (const text of [...goldens.pretokenizer_texts, ...kindGoldens.texts])
          assert.deepEqual(gguf.encode(text), json.encode(text), `${name}: ${text}`);
      }
    }
  });

  it("cuts digits one by one for SmolLM, and Han from other scripts for Kimi and DeepSeek", async () => {
    const all = (text: string) => chains([spell(text)]);
    const smollm = all("a12");
    assert.deepEqual(pieces(await load(byteLevel("smollm", ["12", ...smollm.extra], ["1 2", ...smollm.merges])), "12"), [
      "1",
      "2",
    ]);
    for (const name of ["kimi-k2", "deepseek-v3"]) {
      const { extra, merges } = chains(["ab", "\u6771\u4eac", "ab\u6771\u4eac"].map(spell));
      assert.deepEqual(pieces(await load(byteLevel(name, extra, merges)), "ab\u6771\u4eac"), ["ab", "\u6771\u4eac"], name);
    }
  });

  it("keeps every text, whatever the pre-tokenizer", async () => {
    const names = [
      "default",
      "falcon",
      "bloom",
      "viking",
      "deepseek-coder",
      "tekken",
      "qwen35",
      "seed-coder",
      "bailingmoe",
      "kimi-k2",
    ];
    for (const name of names) {
      assert.ok(ggufPattern(name), name);
      const tokenizer = await load(byteLevel(name, [], []));
      for (const text of kindGoldens.texts) assert.equal(tokenizer.decode(tokenizer.encode(text)), text, `${name}: ${text}`);
    }
  });

  it("takes whole pieces first only where the model does", async () => {
    const extra = ["th", "the"];
    const ids = async (pre: string) => [...(await load(byteLevel(pre, extra, ["h e", "t h"].slice(1)))).encode("the")];
    assert.deepEqual(await ids("llama-bpe"), [258]);
    assert.deepEqual(await ids("qwen2"), [257, 1 + 0x65]);
  });

  it("puts a BOS in front as the file says, else as the model does", async () => {
    const prefix = async (pre: string, more: Record<string, GgufEntry> = {}) =>
      (await load({ ...byteLevel(pre, [], []), ...more })).prefixIds;
    assert.deepEqual(await prefix("llama-bpe"), [0]);
    assert.deepEqual(await prefix("qwen2"), []);
    assert.deepEqual(await prefix("llama-bpe", { add_bos_token: ["bool", false] }), []);
    assert.deepEqual(await prefix("qwen2", { add_bos_token: ["bool", true] }), [0]);
  });

  it("never makes an unused or added token out of text", async () => {
    const entries = byteLevel("gpt-2", ["[PAD]", "<tool>"], []);
    const tokens = 1 + 256 + 2;
    const types = Array.from({ length: tokens }, (_, id) =>
      id === 0 ? CONTROL : id === 257 ? UNUSED : id === 258 ? USER : NORMAL,
    );
    const tokenizer = await load({ ...entries, token_type: ["i32s", types] });
    const text = "[PAD] <tool> <|end|>";
    assert.equal(tokenizer.count(text), text.length);
    assert.ok(tokenizer.encode(text, { special: "recognize" }).includes(258));
    assert.equal(tokenizer.vocabSize, tokens);
  });
});

describe("other kinds in GGUF metadata", () => {
  /** <unk>, <s>, all bytes, then these with falling scores. */
  const sentencePiece = (words: readonly string[], more: Record<string, GgufEntry> = {}): Record<string, GgufEntry> => {
    const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    const tokens = ["<unk>", "<s>", ...bytes, ...words];
    return {
      model: ["string", "llama"],
      tokens: ["strings", tokens],
      scores: ["f32s", tokens.map((_, id) => (id < 258 ? 0 : 258 - id))],
      token_type: ["i32s", tokens.map((_, id) => (id === 0 ? 2 : id === 1 ? CONTROL : id < 258 ? BYTE : NORMAL))],
      bos_token_id: ["u32", 1],
      ...more,
    };
  };

  it("merges SentencePiece pairs by score, and puts a blank in front unless the file says no", async () => {
    const words = ["bc", "ab", "\u2581", "\u2581a", "a", "b", "c"];
    const tokenizer = await load(sentencePiece(words));
    assert.deepEqual(tokenizer.prefixIds, [1]);
    assert.deepEqual([...tokenizer.encode("abc")], [258 + 3, 258]);
    assert.equal(tokenizer.decode(tokenizer.encode("abc \u00e9")), "abc \u00e9");
    const bare = await load(sentencePiece(words, { add_space_prefix: ["bool", false], add_bos_token: ["bool", false] }));
    assert.deepEqual(bare.prefixIds, []);
    assert.deepEqual([...bare.encode("abc")], [258 + 4, 258]);
    assert.deepEqual([...bare.encode("\u00e9")], [2 + 0xc3, 2 + 0xa9]);
  });

  it("reads RWKV tokens, which are written as Python writes bytes", async () => {
    const bytes = Array.from({ length: 256 }, (_, byte) =>
      byte >= 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : byte === 0x5c
          ? "\\\\"
          : `\\x${byte.toString(16).padStart(2, "0")}`,
    );
    const tokens = ["<s>", ...bytes, "the ", "\\xe6\\x9d\\xb1", "\\n\\n"];
    const tokenizer = await load({
      model: ["string", "rwkv"],
      tokens: ["strings", tokens],
      token_type: ["i32s", tokens.map((_, id) => (id === 0 ? CONTROL : NORMAL))],
    });
    assert.deepEqual([...tokenizer.encode("the \u6771\n\n\\")], [257, 258, 259, 1 + 0x5c]);
    for (const text of kindGoldens.texts) assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
    await assert.rejects(
      load({ model: ["string", "rwkv"], tokens: ["strings", ["\\q"]] }),
      isKind("tokenizer-invalid", /tokens\[0\]/),
    );
  });

  it("refuses what it does not know by its name, and malformed metadata by its key", async () => {
    const base = byteLevel("gpt-2", ["ab"], ["a b"]);
    const refuses = (more: Record<string, GgufEntry>, ...expected: Parameters<typeof isKind>) =>
      assert.rejects(load({ ...base, ...more }), isKind(...expected), String(expected[1]));
    await assert.rejects(load({}), isKind("tokenizer-invalid", /model\.gguf: holds no tokenizer/));
    await refuses({ model: ["string", "bert"] }, "unsupported-tokenizer", /"bert"/);
    await refuses({ pre: ["string", "magic"] }, "unsupported-tokenizer", /"magic"/);
    await refuses({ pre: ["u32", 1] }, "tokenizer-invalid", /ggml\.pre is not a string/);
    await refuses({ tokens: ["strings", []] }, "tokenizer-invalid", /token_type|no tokenizer\.ggml\.tokens/);
    await refuses({ token_type: ["i32s", [1]] }, "tokenizer-invalid", /token_type/);
    await refuses({ merges: ["strings", ["ab"]] }, "tokenizer-invalid", /merges\[0\]/);
    await refuses({ merges: ["strings", ["a c"]] }, "tokenizer-invalid", /merges\[0\]/);
    await refuses({ merges: ["u32", 0] }, "tokenizer-invalid", /merges/);
    await refuses({ bos_token_id: ["u32", 9999] }, "tokenizer-invalid", /bos_token_id is 9999/);
    await refuses({ model: ["string", "llama"] }, "tokenizer-invalid", /scores/);
    await refuses({ add_bos_token: ["u32", 1] }, "tokenizer-invalid", /add_bos_token/);
  });
});

/** Tokens and merges that build each word from its left end. */
function chains(words: readonly string[]): { extra: string[]; merges: string[] } {
  const extra = new Set<string>();
  const merges: string[] = [];
  // Longer words last, so that what they share is merged the same way.
  for (const word of [...words].sort((a, b) => a.length - b.length)) {
    for (let end = 2; end <= word.length; end++) {
      if (extra.has(word.slice(0, end))) continue;
      extra.add(word.slice(0, end));
      merges.push(`${word.slice(0, end - 1)} ${word.slice(end - 1, end)}`);
    }
  }
  return { extra: [...extra], merges };
}
