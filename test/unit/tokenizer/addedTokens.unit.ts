import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { byteLevelJson } from "../../support/tinyTokenizer.ts";

const added = (id: number, content: string, fields: object = {}) => ({
  ...{ id, content, special: false, normalized: false, lstrip: false, rstrip: false, single_word: false },
  ...fields,
});

/** A SentencePiece vocabulary that holds a tag, with one token added behind it. */
function sentencePiece(tokens: readonly object[]): ReturnType<typeof loadTokenizer> {
  const vocab = ["<unk>", "<td>", "\n\n", "\u2581", "<", "t", "d", ">", "x", "/", "h", "i", "n", "k"];
  return loadTokenizer({
    added_tokens: tokens,
    normalizer: { type: "Replace", pattern: { String: " " }, content: "\u2581" },
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: "BPE", unk_token: "<unk>", vocab: Object.fromEntries(vocab.map((text, id) => [text, id])), merges: [] },
  });
}

describe("added tokens in plain text", () => {
  it("are those that a SentencePiece vocabulary holds itself, and blanks", () => {
    const tokenizer = sentencePiece([added(1, "<td>"), added(2, "\n\n")]);
    assert.deepEqual([...tokenizer.encode("x<td>\n\n<t>")], [8, 1, 2, 4, 5, 7]);
    assert.deepEqual([...tokenizer.encodeWithOffsets("x<td>\n\nx").starts], [0, 1, 5, 7]);
    assert.equal(tokenizer.countUtf8(new TextEncoder().encode("x<td>\n\n<t>")), 6);
  });

  it("are none that direct the model, whether they are called special or not", () => {
    const late = sentencePiece([added(14, "<think>")]);
    assert.ok(!late.encode("<think>").includes(14));
    assert.deepEqual([...late.encode("x<think>", { special: "recognize" })], [8, 14]);
    const special = sentencePiece([added(1, "<td>", { special: true })]);
    assert.ok(!special.encode("<td>").includes(1));
    const json = byteLevelJson({}) as object;
    const bytes = loadTokenizer({ ...json, added_tokens: [added(256, "<think>"), added(257, "  ")] });
    assert.ok(!bytes.encode("<think>").includes(256));
    assert.deepEqual([...bytes.encode("a   b")].slice(1, 2), [257]);
  });
});

describe("added tokens where they are recognised", () => {
  const recognize = (fields: object, text: string) =>
    [...sentencePiece([added(14, "<think>", fields)]).encode(text, { special: "recognize" })].join();

  it("take the blanks beside them as their flags say", () => {
    assert.equal(recognize({}, "x <think> x"), "8,3,14,3,8");
    assert.equal(recognize({ lstrip: true }, "x <think> x"), "8,14,3,8");
    assert.equal(recognize({ rstrip: true }, "x <think> \nx"), "8,3,14,8");
    assert.equal(recognize({ lstrip: true, rstrip: true }, "  <think>  "), "14");
  });

  it("stand alone where they must be words", () => {
    const word = sentencePiece([added(14, "think", { single_word: true })]);
    const encode = (text: string) => [...word.encode(text, { special: "recognize" })];
    assert.deepEqual(encode("x think/"), [8, 3, 14, 9]);
    assert.ok(!encode("xthink").includes(14));
    assert.ok(!encode("thinkx").includes(14));
  });

  it("prefer the longer of two that begin at one place", () => {
    const two = sentencePiece([added(14, "<th"), added(15, "<think>")]);
    assert.deepEqual([...two.encode("<think><thx", { special: "recognize" })], [15, 14, 8]);
  });
});

describe("what stands around a text", () => {
  const tokenizer = (single: unknown) =>
    loadTokenizer({
      ...(byteLevelJson({ special: ["<s>", "</s>"] }) as object),
      post_processor: {
        type: "TemplateProcessing",
        single,
        pair: [],
        special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] }, "</s>": { id: "</s>", ids: [1], tokens: ["</s>"] } },
      },
    });
  const [begin, text, end] = [
    { SpecialToken: { id: "<s>", type_id: 0 } },
    { Sequence: { id: "A", type_id: 0 } },
    { SpecialToken: { id: "</s>", type_id: 0 } },
  ];

  it("is the prefix of a template; what would end the text is left out, because a prompt goes on", () => {
    assert.deepEqual(tokenizer([begin, text]).prefixIds, [0]);
    assert.deepEqual(tokenizer([text]).prefixIds, []);
    assert.deepEqual(tokenizer([begin, text, end]).prefixIds, [0]);
    assert.deepEqual(tokenizer([text, end]).prefixIds, []);
  });
});
