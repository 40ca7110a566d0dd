import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { byteLevelJson, isolatedSplit } from "../../support/tinyTokenizer.ts";

interface GoldenCase {
  text: string;
  ids: number[];
  decoded: string;
}
interface Goldens {
  pretokenizer_texts: string[];
  pretokenizers: Record<string, { pattern: string; splits: string[][] }>;
  byte_level_bpe: { vocab: Record<string, number>; merges: [string, string][]; special: string[]; cases: GoldenCase[] };
  sentencepiece_bpe_byte_fallback: {
    vocab_beyond_bytes: Record<string, number>;
    merges: [string, string][];
    cases: GoldenCase[];
  };
}
const goldens = JSON.parse(readFileSync("test/golden/tokenizers.json", "utf8")) as Goldens;

function sentencePieceJson(shape: "normalizer" | "metaspace"): unknown {
  const { vocab_beyond_bytes: beyond, merges } = goldens.sentencepiece_bpe_byte_fallback;
  const vocab: Record<string, number> = { ...beyond };
  for (let byte = 0; byte < 256; byte++) vocab[`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`] = 3 + byte;
  const added = ["<unk>", "<s>", "</s>"].map((content, id) => ({ id, content, special: true, normalized: false }));
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    added_tokens: added,
    normalizer:
      shape === "metaspace"
        ? null
        : {
            type: "Sequence",
            normalizers: [
              { type: "Prepend", prepend: "\u2581" },
              { type: "Replace", pattern: { String: " " }, content: "\u2581" },
            ],
          },
    pre_tokenizer:
      shape === "metaspace" ? { type: "Metaspace", replacement: "\u2581", prepend_scheme: "first", split: false } : null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        strip,
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: merges.map((pair) => pair.join(" ")),
    },
  };
}

function goldenByteLevel(): unknown {
  const { vocab, merges, special } = goldens.byte_level_bpe;
  return {
    added_tokens: special.map((content) => ({ id: vocab[content], content, special: true, normalized: false })),
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab, merges },
  };
}

describe("tokenizer.json", () => {
  it("splits like the pre-tokenizers of GPT-2, Llama 3, Qwen and o200k", () => {
    for (const [name, { pattern, splits }] of Object.entries(goldens.pretokenizers)) {
      const tokenizer = loadTokenizer(byteLevelJson({ preTokenizer: isolatedSplit(pattern) }));
      goldens.pretokenizer_texts.forEach((text, i) => {
        // With every byte a token, two tokens of one piece are never told apart; so a piece is made one token by ignore_merges.
        const vocabulary = (splits[i] ?? []).filter((piece) => piece !== "");
        const whole = loadTokenizer(
          byteLevelJson({ preTokenizer: isolatedSplit(pattern), pieces: vocabulary, ignoreMerges: true }),
        );
        const pieces = [...whole.encode(text)].map((id) => whole.decode([id]));
        assert.deepEqual(pieces, splits[i], `${name}: ${text}`);
        assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
      });
    }
  });

  it("agrees with the byte-level goldens, special tokens recognised", () => {
    const tokenizer = loadTokenizer(goldenByteLevel());
    for (const golden of goldens.byte_level_bpe.cases) {
      assert.deepEqual([...tokenizer.encode(golden.text, { special: "recognize" })], golden.ids, golden.text);
      assert.equal(tokenizer.decode(golden.ids, { skipSpecial: true }), golden.decoded);
    }
  });

  it("agrees with the SentencePiece goldens in both ways of writing them", () => {
    for (const shape of ["normalizer", "metaspace"] as const) {
      const tokenizer = loadTokenizer(sentencePieceJson(shape));
      assert.deepEqual(tokenizer.prefixIds, [1]);
      for (const golden of goldens.sentencepiece_bpe_byte_fallback.cases) {
        assert.deepEqual([...tokenizer.encode(golden.text)], golden.ids, `${shape}: ${golden.text}`);
        assert.equal(tokenizer.decode(golden.ids), golden.decoded);
      }
    }
  });

  it("keeps offsets through a blank put in front and through byte fallback", () => {
    const tokenizer = loadTokenizer(sentencePieceJson("normalizer"));
    const { ids, starts } = tokenizer.encodeWithOffsets("he lowé");
    assert.deepEqual([...ids], [274, 271, 198, 172]);
    assert.deepEqual([...starts], [0, 2, 6, 6]);
  });

  it("never makes a control token out of file text", () => {
    const tokenizer = loadTokenizer(byteLevelJson({ special: ["<|end|>"] }));
    const end = tokenizer.tokenId("<|end|>");
    const text = "a <|end|> b";
    assert.ok(![...tokenizer.encode(text)].includes(end ?? -1));
    assert.equal(tokenizer.decode(tokenizer.encode(text), { skipSpecial: true }), text);
    assert.ok([...tokenizer.encode(text, { special: "recognize" })].includes(end ?? -1));
  });

  it("reads what the post-processor puts in front of a text, whichever way it is written", () => {
    const prefix = (postProcessor: unknown) =>
      loadTokenizer({ ...(byteLevelJson({}) as object), post_processor: postProcessor }).prefixIds;
    const roberta = { type: "RobertaProcessing", sep: ["</s>", 2], cls: ["<s>", 7], trim_offsets: true, add_prefix_space: false };
    assert.deepEqual(prefix(roberta), [7]);
    assert.deepEqual(prefix({ type: "Sequence", processors: [{ type: "ByteLevel" }, roberta] }), [7]);
    assert.deepEqual(prefix({ type: "ByteLevel" }), []);
  });

  it("applies the normalizers of SentencePiece models", () => {
    const load = (normalizer: unknown) => loadTokenizer({ ...(byteLevelJson({}) as object), normalizer });
    const shown = (normalizer: unknown, text: string) => {
      const tokenizer = load(normalizer);
      return tokenizer.decode(tokenizer.encode(text));
    };
    assert.equal(shown({ type: "Strip", strip_left: true, strip_right: true }, " \u3000a b\n "), "a b");
    assert.equal(shown({ type: "Strip", strip_left: false, strip_right: true }, " a b\n "), " a b");
    assert.equal(shown({ type: "StripAccents" }, "e\u0301a\u0308"), "ea");
    const both = { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "StripAccents" }] };
    assert.equal(shown(both, "\u00e9\u00fc"), "eu");
    assert.deepEqual([...load(both).encodeWithOffsets("x\u00e9y").starts], [0, 1, 2]);
    for (const precompiled_charsmap of ["!", "AAAA"]) {
      assert.throws(
        () => load({ type: "Precompiled", precompiled_charsmap }),
        (error) => EngineError.is(error, "tokenizer-invalid") && /precompiled_charsmap/.test(error.message),
      );
    }
  });

  it("refuses other kinds by name and malformed files", () => {
    const fails = (json: unknown, code: "unsupported-tokenizer" | "tokenizer-invalid", message: RegExp) => {
      assert.throws(
        () => loadTokenizer(json),
        (error) => EngineError.is(error, code) && message.test(error.message) && error.remedy.length > 10,
      );
    };
    fails({ model: { type: "WordPiece", vocab: {} } }, "unsupported-tokenizer", /WordPiece/);
    fails({ model: { type: "BPE", vocab: { a: 0 }, merges: [["a", "b"]] } }, "tokenizer-invalid", /merges\[0\]/);
    fails("nothing", "tokenizer-invalid", /not an object/);
    fails({ model: { type: "BPE", vocab: {}, merges: [] } }, "tokenizer-invalid", /empty/);
    fails(byteLevelJson({ preTokenizer: isolatedSplit("a++") }), "unsupported-tokenizer", /possessive/);
    fails(byteLevelJson({ preTokenizer: isolatedSplit("(?>a)") }), "unsupported-tokenizer", /atomic/);
    fails({ ...(byteLevelJson({}) as object), normalizer: { type: "Magic" } }, "unsupported-tokenizer", /Magic/);
  });
});
