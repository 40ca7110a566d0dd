import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { readTokenizer, tokenizerLabel } from "../../../extension/server/tokenizerFile.ts";
import { byteLevelJson } from "../../support/tinyTokenizer.ts";
import { kindGoldens, rankFile, rwkvLines } from "../../support/tokenizerKinds.ts";

const root = mkdtempSync(join(tmpdir(), "lcp-tokenizers-"));
let folders = 0;
after(() => rmSync(root, { recursive: true }));

/** A folder with one file; gives the path of both. */
function put(name: string, content: string | Uint8Array): { folder: string; file: string } {
  const folder = mkdtempSync(join(root, `${folders++}-`));
  const file = join(folder, name);
  writeFileSync(file, content);
  return { folder, file };
}

const refuses = (source: string, code: "tokenizer-invalid" | "unsupported-tokenizer" | "bad-weights", message: RegExp) =>
  assert.rejects(
    readTokenizer(source),
    (error) => EngineError.is(error, code) && message.test(error.message) && error.remedy.length > 10,
    source,
  );

describe("readTokenizer", () => {
  it("reads the presets that the build made", async () => {
    for (const name of ["o200k", "cl100k"]) {
      const tokenizer = await readTokenizer(name);
      kindGoldens.texts.forEach((text, i) =>
        assert.deepEqual([...tokenizer.encode(text)], kindGoldens.tiktoken[name][i], `${name}: ${text}`),
      );
    }
  });

  it("reads every kind of file, by its path and by its folder", async () => {
    const gguf = Buffer.from(kindGoldens.sentencepiece_bpe.gguf, "base64");
    const kinds: [string, string | Uint8Array, number][] = [
      ["tokenizer.json", JSON.stringify(byteLevelJson({})), 256],
      ["model-Q4_K.gguf", gguf, 700],
      ["o200k_base.tiktoken", rankFile("o200k"), 200_019],
      ["rwkv_vocab_v20230424.txt", rwkvLines.join("\n"), 269],
      ["tokenizer.model", rankFile("r50k"), 50_257],
    ];
    for (const [name, content, vocabSize] of kinds) {
      const { folder, file } = put(name, content);
      assert.equal((await readTokenizer(file)).vocabSize, vocabSize, name);
      assert.equal((await readTokenizer(folder)).vocabSize, vocabSize, name);
    }
  });

  it("takes the original tokenizer of a folder before what was made of it", async () => {
    const { folder } = put("a.gguf", Buffer.from(kindGoldens.sentencepiece_bpe.gguf, "base64"));
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(byteLevelJson({})));
    assert.equal((await readTokenizer(folder)).vocabSize, 256);
  });

  it("says what is wrong and what to do", async () => {
    await refuses("p50k_base", "tokenizer-invalid", /neither a preset nor an absolute path/);
    await refuses("models/llama", "tokenizer-invalid", /neither a preset/);
    await refuses(join(root, "nowhere"), "tokenizer-invalid", /there is no .*nowhere/);
    await refuses(root, "tokenizer-invalid", /there is no .*tokenizer\.json/);
    await refuses(put("tokenizer.json", "{ not json").file, "tokenizer-invalid", /is not JSON/);
    await refuses(put("tokenizer.json", "{}").file, "tokenizer-invalid", /model is not an object/);
    await refuses(put("tokenizer.json", '{"model": {"type": "WordPiece"}}').file, "unsupported-tokenizer", /WordPiece/);
    await refuses(put("a.gguf", "GGUF").file, "bad-weights", /a\.gguf is no GGUF file/);
    await refuses(put("o200k.tiktoken", "IQ== 0\n!!! 1\n").file, "tokenizer-invalid", /o200k\.tiktoken: line 2/);
    await refuses(put("vocab.txt", "1 'a' 2\n").file, "tokenizer-invalid", /vocab\.txt: line 1/);
    await refuses(put("tokenizer.model", Uint8Array.of(0x0a, 0x0e, 0x0a, 0x05)).file, "unsupported-tokenizer", /SentencePiece/);
    await refuses(put("weights.bin", "x").file, "unsupported-tokenizer", /weights\.bin/);
  });

  it("lists the presets where a name is none of them", async () => {
    await assert.rejects(readTokenizer("gpt5"), (error) => EngineError.is(error) && /o200k, cl100k/.test(error.remedy));
  });
});

describe("tokenizerLabel", () => {
  it("is the preset's name, or what the path ends in", () => {
    assert.match(tokenizerLabel("o200k"), /^o200k/);
    assert.equal(tokenizerLabel("/models/Qwen3-0.6B"), "Qwen3-0.6B");
    assert.equal(tokenizerLabel("/models/Qwen3-0.6B/tokenizer.json"), "Qwen3-0.6B");
    assert.equal(tokenizerLabel("/models/llama.gguf"), "llama.gguf");
  });
});
