import { replaceAligned } from "./aligned.ts";
import { BpeModel } from "./bpeModel.ts";
import { BpeTokenizer } from "./bpeTokenizer.ts";
import type { PieceModel } from "./pieceModel.ts";
import { readCharsMap } from "./charsMap.ts";
import { readDecoder } from "./decoder.ts";
import { asFields, asFlag, asList, asText, type Fields, isFields, unsupportedTokenizer } from "./fields.ts";
import { readNormalizer, type Step } from "./normalizers.ts";
import { readPrefixIds } from "./postProcessor.ts";
import { readPreTokenizer } from "./preTokenizers.ts";
import { tokenBorders } from "./tokenBorders.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { readUnigram, UnigramModel } from "./unigram.ts";
import { readAddedTokens, readVocab, Vocabulary } from "./vocabulary.ts";

/**
 * A tokenizer from a parsed Hugging Face tokenizer.json: byte-level BPE, SentencePiece-style BPE with byte fallback, or
 * Unigram. Throws `tokenizer-invalid` for a malformed file and `unsupported-tokenizer` for another kind.
 */
export function loadTokenizer(json: unknown): Tokenizer {
  const file = asFields(json, "the file");
  const model = asFields(file.model, "model");
  const preTokenizer = readPreTokenizer(file.pre_tokenizer);
  const { vocabulary, pieces } = readModel(model, file.added_tokens, preTokenizer.byteLevel);
  const borders = preTokenizer.byteLevel || model.ignore_merges === true ? [] : [tokenBorders(vocabulary.ids.keys())];
  return new BpeTokenizer(
    vocabulary,
    readSteps(file.normalizer),
    { ...preTokenizer, splitters: [...preTokenizer.splitters, ...borders] },
    pieces,
    readPrefixIds(file.post_processor),
    readDecoder(file.decoder),
  );
}

function readModel(model: Fields, addedTokens: unknown, byteLevel: boolean): { vocabulary: Vocabulary; pieces: PieceModel } {
  const type = modelType(model);
  if (type === "BPE") {
    const ids = readVocab(model);
    const vocabulary = new Vocabulary(ids, readAddedTokens(addedTokens, byteLevel ? undefined : ids), byteLevel);
    return { vocabulary, pieces: new BpeModel(model, vocabulary, byteLevel) };
  }
  if (type !== "Unigram") throw unsupportedTokenizer(`the tokenizer model ${type}`);
  if (byteLevel) throw unsupportedTokenizer("a Unigram model behind a ByteLevel pre-tokenizer");
  const { contents, ...rest } = readUnigram(model);
  const ids = new Map(contents.map((content, id) => [content, id]));
  const vocabulary = new Vocabulary(ids, readAddedTokens(addedTokens, ids), false);
  return { vocabulary, pieces: new UnigramModel({ contents, ...rest, withheld: vocabulary.specialIds }) };
}

/** The normalizers, with those that only SentencePiece models have. */
function readSteps(json: unknown): readonly Step[] {
  if (!isFields(json)) return readNormalizer(json);
  switch (json.type) {
    case "Sequence":
      return asList(json.normalizers, "normalizer.normalizers").flatMap(readSteps);
    case "Precompiled":
      return [readCharsMap(json)];
    case "Strip": {
      const left = asFlag(json.strip_left, true, "normalizer.strip_left") ? "^\\p{White_Space}+" : "";
      const right = asFlag(json.strip_right, true, "normalizer.strip_right") ? "\\p{White_Space}+$" : "";
      const ends = new RegExp([left, right].filter((end) => end !== "").join("|") || "(?!)", "gu");
      return [(input, poll) => replaceAligned(input, ends, () => "", poll)];
    }
    case "StripAccents":
      return [(input, poll) => replaceAligned(input, /\p{M}+/gu, () => "", poll)];
    default:
      return readNormalizer(json);
  }
}

/** Old files leave the type out; what else they have tells it. */
function modelType(model: Fields): string {
  if (model.type !== undefined) return asText(model.type, "model.type");
  if (Array.isArray(model.merges)) return "BPE";
  return Array.isArray(model.vocab) ? "Unigram" : asText(model.type, "model.type");
}
