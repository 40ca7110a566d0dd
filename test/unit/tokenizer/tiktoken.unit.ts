import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { encodingOf, encodings, packPreset, readPreset } from "../../../engine/tokenizer/presets.ts";
import { rankTokenizer, readTiktokenRanks } from "../../../engine/tokenizer/tiktoken.ts";
import { packTokens } from "../../../engine/tokenizer/tokenTable.ts";
import { rankFile } from "../../support/tokenizerKinds.ts";

/** All bytes, then these texts, as a rank file. */
function ranks(...texts: readonly string[]): string[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => Buffer.of(byte));
  return [...bytes, ...texts.map((text) => Buffer.from(text))].map((token, rank) => `${token.toString("base64")} ${rank}`);
}

const read = (lines: readonly string[], end = "\n") => readTiktokenRanks(Buffer.from(lines.join(end) + end), "ranks.tiktoken");
const isInvalid = (message: RegExp) => (error: unknown) =>
  EngineError.is(error, "tokenizer-invalid") && message.test(error.message) && error.remedy !== "";

describe("tiktoken rank files", () => {
  it("merges the pair whose bytes have the lowest rank, wherever its halves come from", () => {
    const tokenizer = rankTokenizer(read(ranks("ab", "bc", "abc", "cd")), encodings.cl100k);
    assert.deepEqual([...tokenizer.encode("abc")], [258]);
    assert.deepEqual([...tokenizer.encode("abcd")], [258, 100]);
    assert.deepEqual([...tokenizer.encode("xbcd")], [120, 257, 100]);
    assert.equal(tokenizer.decode([258, 259]), "abccd");
  });

  it("takes a piece that is a token whole, whatever the merges would do", () => {
    // From "ab" and "cd" no merge leads to "abcd"; tiktoken looks the piece up first.
    const tokenizer = rankTokenizer(read(ranks("bc", "abcd")), encodings.cl100k);
    assert.deepEqual([...tokenizer.encode("abcd")], [257]);
    assert.deepEqual([...tokenizer.encode("abcde")], [97, 256, 100, 101]);
  });

  it("reads lines in any order, with Windows line ends and without padding", () => {
    const lines = ranks("ab", "abc");
    const plain = read(lines);
    assert.deepEqual(read([...lines].reverse()), plain);
    assert.deepEqual(read(lines, "\r\n"), plain);
    assert.deepEqual(read(lines.map((line) => line.replace(/=+ /, " "))), plain);
  });

  it("leaves room for ids that no rank has", () => {
    const tokenizer = rankTokenizer(read([...ranks(), "YWI= 300"]), encodings.cl100k);
    assert.deepEqual([...tokenizer.encode("ab")], [300]);
    assert.throws(() => tokenizer.tokenBytes(299), isArgument);
  });

  it("refuses damaged files, naming the line", () => {
    assert.throws(() => read([]), isInvalid(/ranks\.tiktoken: is empty/));
    assert.throws(() => read([...ranks(), "YWI="]), isInvalid(/line 257 is not "base64 rank"/));
    assert.throws(() => read([...ranks(), "Y!I= 256"]), isInvalid(/line 257 is not/));
    assert.throws(() => read([...ranks(), "YWI= 2x"]), isInvalid(/line 257 is not/));
    assert.throws(() => read([...ranks(), "YWI= 255"]), isInvalid(/line 257 gives the rank 255 a second time/));
    assert.throws(() => read([...ranks(), "YWI= 99999999"]), isInvalid(/line 257 has the rank 99999999/));
    assert.throws(() => read(ranks().slice(0, 200)), isInvalid(/no token for the byte 200/));
    assert.throws(() => readTiktokenRanks(Uint8Array.of(0x0a, 0xff, 0x00), "x"), isInvalid(/line 2 is not/));
  });

  it("knows the encoding by the name of the file, else by how many ranks it has, else says what to do", () => {
    assert.equal(encodingOf("o200k_base.tiktoken", 5), encodings.o200k);
    assert.equal(encodingOf("Meta-Llama-3.model", 5), encodings.llama3);
    assert.equal(encodingOf("tokenizer.model", 128_000), encodings.llama3);
    assert.equal(encodingOf("vocab.tiktoken", 151_643), encodings.qwen);
    for (const name of ["o200k", "cl100k", "p50k", "r50k"]) {
      assert.equal(encodings[name].ranks, readTiktokenRanks(rankFile(name), name).offsets.length - 1, name);
    }
    assert.throws(
      () => encodingOf("vocab.tiktoken", 257),
      (error) => isInvalid(/257 ranks/)(error) && EngineError.is(error) && /o200k, cl100k/.test(error.remedy),
    );
  });
});

describe("packed vocabularies", () => {
  const tokens = packTokens([Uint8Array.of(1, 2), undefined, Uint8Array.of(255), new Uint8Array(255)]);

  it("come back as they were", () => {
    assert.deepEqual(readPreset(packPreset(tokens), "x.bin"), tokens);
    assert.throws(() => packPreset(packTokens([new Uint8Array(256)])), isInvalid(/256 bytes/));
  });

  it("are refused when they are damaged", () => {
    const file = packPreset(tokens);
    const spoilt = file.slice();
    spoilt[0] = 0;
    assert.throws(() => readPreset(spoilt, "x.bin"), isInvalid(/x\.bin: is no packed vocabulary/));
    assert.throws(() => readPreset(file.subarray(0, 6), "x.bin"), isInvalid(/too short/));
    assert.throws(() => readPreset(file.subarray(0, 10), "x.bin"), isInvalid(/states 4 tokens/));
    assert.throws(() => readPreset(file.subarray(0, 100), "x.bin"), isInvalid(/258 are stated/));
  });
});

const isArgument = (error: unknown) => EngineError.is(error, "bad-argument");
