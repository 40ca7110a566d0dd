/** Tokenizers of every kind against what the reference implementations make of the same texts, and what all have in common. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { readRwkvVocabulary, TrieTokenizer } from "../../../engine/tokenizer/rwkv.ts";
import type { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { randomText, seeded } from "../../support/random.ts";
import {
  everyKind,
  kindGoldens,
  rwkvLines,
  rwkvTokenizer,
  sentencePieceTokenizer,
  tiktokenTokenizer,
  unigramJson,
} from "../../support/tokenizerKinds.ts";

interface Vectors {
  unigram: { pieces: [string, number][]; unk_id: number; cases: { text: string; ids: number[] }[] };
  rwkv_world_greedy: { vocab: Record<string, number[]>; cases: { text: string; ids: number[] }[] };
}
const vectors = JSON.parse(readFileSync("test/golden/tokenizers.json", "utf8")) as Vectors;
const { texts } = kindGoldens;

function agrees(tokenizer: Tokenizer, ids: readonly (readonly number[])[]): void {
  assert.equal(ids.length, texts.length);
  texts.forEach((text, i) => assert.deepEqual([...tokenizer.encode(text)], ids[i], JSON.stringify(text)));
}

describe("reference implementations", () => {
  for (const name of ["o200k", "cl100k", "p50k", "r50k"]) {
    it(`${name}: tiktoken`, () => agrees(tiktokenTokenizer(name), kindGoldens.tiktoken[name]));
  }

  it("SentencePiece BPE with byte fallback, from scores in a GGUF file", async () => {
    agrees(await sentencePieceTokenizer("sentencepiece_bpe"), kindGoldens.sentencepiece_bpe.ids);
  });

  it("SentencePiece Unigram with its character map, from a GGUF file", async () => {
    const tokenizer = await sentencePieceTokenizer("sentencepiece_unigram");
    const { ids } = kindGoldens.sentencepiece_unigram;
    agrees(tokenizer, ids);
  });

  it("Unigram of the tokenizers library, unknown characters as a token and as bytes", () => {
    for (const [unknown, golden] of [
      ["token", kindGoldens.unigram_json],
      ["bytes", kindGoldens.unigram_json_bytes],
    ] as const) {
      const tokenizer = loadTokenizer(unigramJson(unknown));
      agrees(tokenizer, golden.ids);
      golden.ids.forEach((ids, i) => assert.equal(tokenizer.decode(ids), golden.decoded[i], texts[i]));
    }
  });

  it("Unigram vectors", () => {
    const { pieces, unk_id, cases } = vectors.unigram;
    const tokenizer = loadTokenizer({
      pre_tokenizer: { type: "Metaspace", replacement: "\u2581", prepend_scheme: "always" },
      model: { type: "Unigram", unk_id, vocab: pieces },
    });
    for (const { text, ids } of cases) assert.deepEqual([...tokenizer.encode(text)], ids, text);
  });

  it("RWKV vectors", () => {
    const { vocab, cases } = vectors.rwkv_world_greedy;
    const tokens = new Map(Object.entries(vocab).map(([id, bytes]) => [Number(id), Uint8Array.from(bytes)]));
    const tokenizer = new TrieTokenizer({ tokens, special: new Map(), unknownId: 0 });
    for (const { text, ids } of cases) assert.deepEqual([...tokenizer.encode(text)], ids, text);
    assert.deepEqual([...tokenizer.encode("a?b")], [1, 0, 2]);
  });
});

describe("every kind", () => {
  let kinds: Awaited<ReturnType<typeof everyKind>> = [];
  before(async () => {
    kinds = await everyKind();
  });

  it("counts what it encodes, in text and in UTF-8, and streams what it decodes", () => {
    const random = seeded(21);
    const inputs = [...texts, ...Array.from({ length: 100 }, () => randomText(random, 80))];
    for (const [name, tokenizer] of kinds) {
      for (const text of inputs) {
        const where = `${name}: ${JSON.stringify(text)}`;
        const ids = tokenizer.encode(text);
        assert.equal(tokenizer.count(text), ids.length, where);
        assert.equal(tokenizer.countUtf8(new TextEncoder().encode(text)), ids.length, where);
        const stream = tokenizer.stream();
        const parts = [...ids].map((id) => stream.push(id));
        assert.equal(parts.join("") + stream.end(), tokenizer.decode(ids), where);
      }
    }
  });

  it("gives back the text, where the kind keeps all of it", () => {
    const random = seeded(22);
    for (const [name, tokenizer] of kinds.filter(([kind]) => !kind.startsWith("Unigram"))) {
      for (let round = 0; round < 100; round++) {
        const text = randomText(random, 80);
        // U+2581 is how SentencePiece writes a blank, so that it comes back as one.
        const expected = name === "SentencePiece BPE" ? text.replaceAll("\u2581", " ") : text;
        assert.equal(tokenizer.decode(tokenizer.encode(text)), expected, `${name}: ${JSON.stringify(text)}`);
      }
    }
  });

  it("says where tokens begin: in order, inside the text, at the same ids", () => {
    const random = seeded(23);
    for (const [name, tokenizer] of kinds) {
      for (const text of [...texts, ...Array.from({ length: 50 }, () => randomText(random, 60))]) {
        const { ids, starts } = tokenizer.encodeWithOffsets(text);
        assert.deepEqual(ids, tokenizer.encode(text), name);
        assert.equal(starts.length, ids.length);
        starts.forEach((start, i) => assert.ok(start >= (starts[i - 1] ?? 0) && start <= text.length, `${name}: ${text}`));
      }
    }
  });

  it("begins a token where its text stands", () => {
    const text = "the other \u6771\u4eac \ud83d\ude42 the";
    const plain = kinds.filter(([name]) => name === "RWKV" || name === "o200k ranks" || name === "SentencePiece BPE");
    assert.equal(plain.length, 3);
    for (const [name, tokenizer] of plain) {
      const { ids, starts } = tokenizer.encodeWithOffsets(text);
      ids.forEach((id, i) => {
        const token = new TextDecoder().decode(tokenizer.tokenBytes(id));
        // A token of part of a character shows as U+FFFD, and the first blank of SentencePiece stands before the text.
        if (token.includes("\ufffd") || (i === 0 && token.startsWith(" "))) return;
        assert.ok(text.startsWith(token, starts[i]), `${name}: token ${i} is ${token} at ${starts[i]}`);
      });
    }
  });

  it("counts bad UTF-8 as the replacement characters that are shown for it", () => {
    const bytes = Uint8Array.from([...Buffer.from("the \u00e9 "), 0xff, 0xe6, 0x9d, 0x20, 0xc3, ...Buffer.from("\ufeffother")]);
    const shown = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    for (const [name, tokenizer] of kinds) assert.equal(tokenizer.countUtf8(bytes), tokenizer.count(shown), name);
  });

  it("comes to an end on one line of 160,000 characters of one kind, and stops when asked to", () => {
    for (const unit of ["_", "a", "\u6771", " ", "\ud83d\ude42"]) {
      const text = unit.repeat(160_000);
      const bytes = new TextEncoder().encode(text);
      for (const [name, tokenizer] of kinds) {
        assert.equal(tokenizer.countUtf8(bytes), tokenizer.encode(text).length, `${name}: ${unit}`);
        if (unit !== "_") continue;
        assert.throws(
          () => tokenizer.countUtf8(bytes, () => true),
          (error) => EngineError.is(error, "aborted"),
          name,
        );
      }
    }
  });

  it("refuses an id outside the vocabulary", () => {
    for (const [name, tokenizer] of kinds)
      assert.throws(
        () => tokenizer.tokenBytes(tokenizer.vocabSize),
        (error) => EngineError.is(error, "bad-argument"),
        name,
      );
  });

  it("makes control tokens only where they are recognised", () => {
    const spelt = new Map([
      ["o200k ranks", "<|endoftext|>"],
      ["SentencePiece BPE", "</s>"],
      ["Unigram of a GGUF file", "</s>"],
      ["RWKV", "<|endoftext|>"],
    ]);
    for (const [name, tokenizer] of kinds) {
      const special = spelt.get(name);
      if (special === undefined) continue;
      const id = tokenizer.tokenId(special) ?? -1;
      assert.ok(id >= 0, name);
      const text = `the ${special} other`;
      assert.ok(!tokenizer.encode(text).includes(id), name);
      const recognised = tokenizer.encode(text, { special: "recognize" });
      assert.ok(recognised.includes(id), name);
      assert.ok(!tokenizer.decode(recognised, { skipSpecial: true }).includes(special), name);
      assert.ok(tokenizer.decode(recognised).includes(special), name);
    }
  });
});

describe("RWKV vocabulary file", () => {
  it("reads Python literals: text, bytes, escapes, and both kinds of quotes", () => {
    const tokenizer = rwkvTokenizer();
    const bytes = (id: number) => [...tokenizer.tokenBytes(id)];
    assert.deepEqual(bytes(263), [0xc3, 0xa9]);
    assert.deepEqual(bytes(264), [...Buffer.from("it's")]);
    assert.deepEqual(bytes(265), [0xf0, 0x9f]);
    assert.deepEqual(bytes(266), [0xf0, 0x9f, 0x99, 0x82]);
    assert.deepEqual(bytes(262), [10, 10]);
    assert.deepEqual([...tokenizer.encode("it's \u6771\u4eac\n\n")], [264, 33, 261, 262]);
    assert.equal(tokenizer.vocabSize, 269);
  });

  it("takes the longest token, not the one that would serve what follows", () => {
    assert.deepEqual([...rwkvTokenizer().encode("other the")], [267, 259]);
    assert.deepEqual([...rwkvTokenizer().encode("ther the")], [268, 258]);
  });

  it("refuses damaged files, naming the line", () => {
    const refuses = (lines: readonly string[], message: RegExp) =>
      assert.throws(
        () => readRwkvVocabulary(lines.join("\n"), "vocab.txt"),
        (error) => EngineError.is(error, "tokenizer-invalid") && message.test(error.message) && error.remedy !== "",
        String(message),
      );
    refuses([], /vocab\.txt: is empty/);
    refuses(["nothing"], /line 1 is not/);
    refuses([...rwkvLines, "300 'abc' 4"], /line \d+ states 4 bytes for a literal of 3/);
    refuses([...rwkvLines, "258 'abc' 3"], /id 258/);
    refuses([...rwkvLines, "300 'a\\q' 3"], /is not "id literal length"/);
    refuses([...rwkvLines, "300 b'\\u0041' 1"], /is not "id literal length"/);
    refuses(rwkvLines.slice(1), /byte 0/);
  });
});

describe("Unigram model", () => {
  const vocab = [
    ["<unk>", 0],
    ["a", -1],
    ["b", -1],
    ["ab", -2],
    ["</s>", -3],
  ];
  const load = (model: object, added: readonly object[] = []) =>
    loadTokenizer({ added_tokens: added, model: { type: "Unigram", unk_id: 0, vocab, ...model } });

  it("keeps the way found first where two ways are worth the same", () => {
    // tokenizers 0.23 gives the same: "ab" is found from the start, before "a" and "b" get there.
    assert.deepEqual([...load({}).encode("ab")], [3]);
  });

  it("makes one token of unknown characters in a row", () => {
    assert.deepEqual([...load({}).encode("a\u6771\u4eacb")], [1, 0, 2]);
    assert.deepEqual([...load({}).encodeWithOffsets("a\u6771\u4eacb").starts], [0, 1, 3]);
  });

  it("leaves control tokens out of what text can become", () => {
    const control = { id: 4, content: "</s>", special: true, normalized: false };
    assert.ok(load({}).encode("</s>").includes(4));
    assert.ok(!load({}, [control]).encode("</s>").includes(4));
  });

  it("refuses malformed models", () => {
    const refuses = (model: object, message: RegExp) =>
      assert.throws(
        () => load(model),
        (error) => EngineError.is(error, "tokenizer-invalid") && message.test(error.message),
      );
    refuses({ vocab: [] }, /empty/);
    refuses({ vocab: [["a"]] }, /vocab\[0\] has no score/);
    refuses({ vocab: [[1, 1]] }, /vocab\[0\]/);
    refuses({ unk_id: 9 }, /unk_id 9/);
    refuses({ unk_id: null }, /neither an unknown token nor bytes/);
  });
});
