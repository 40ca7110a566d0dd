import type { ByteSource } from "../api.ts";
import { type GgufValue, readGguf } from "../formats/gguf.ts";
import { alphabetBytes } from "./byteAlphabet.ts";
import { BpeTokenizer, bpeTokenizer } from "./bpeTokenizer.ts";
import type { PieceModel } from "./pieceModel.ts";
import { charsMapStep } from "./charsMap.ts";
import { invalidTokenizer, unsupportedTokenizer } from "./fields.ts";
import { ggufPattern } from "./ggufPatterns.ts";
import { readNormalizer, type Step } from "./normalizers.ts";
import { type PreTokenizer, preTokenizerOf, readPreTokenizer } from "./preTokenizers.ts";
import { TrieTokenizer, unescapeBytes } from "./rwkv.ts";
import { ScoredBpe } from "./sentencePiece.ts";
import { packTokens } from "./tokenTable.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { tokenBorders } from "./tokenBorders.ts";
import { UnigramModel } from "./unigram.ts";
import { type AddedToken, specialToken, Vocabulary } from "./vocabulary.ts";

/**
 * The tokenizer in the metadata of a GGUF file; the tensors are not read. It cuts and merges as llama.cpp does with the same
 * file: what the original tokenizer normalises and the file does not mention is not normalised. Throws `tokenizer-invalid`,
 * `unsupported-tokenizer` for a kind or a `tokenizer.ggml.pre` that is not known, and `bad-weights` for a damaged file.
 */
export async function readGgufTokenizer(source: ByteSource, signal?: AbortSignal): Promise<Tokenizer> {
  const { metadata } = await readGguf(source, signal);
  return ggufTokenizer(metadata, source.name);
}

/** The same from metadata that has been read; `file` is for messages. */
export function ggufTokenizer(metadata: ReadonlyMap<string, GgufValue>, file: string): Tokenizer {
  const fields = new TokenizerFields(metadata, file);
  const model = fields.text("model");
  switch (model) {
    case "gpt2":
      return byteLevelBpe(fields);
    case "llama":
      return scoredBpe(fields);
    case "t5":
    case "unigram":
      return unigram(fields);
    case "rwkv":
      return rwkv(fields);
    case undefined:
      throw fields.invalid("holds no tokenizer (tokenizer.ggml.model is missing)");
    default:
      throw unsupportedTokenizer(`the GGUF tokenizer "${model}"`);
  }
}

const METASPACE = "\u2581";

/** `tokenizer.ggml.token_type`. */
const TokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

function byteLevelBpe(fields: TokenizerFields): Tokenizer {
  const { contents, types } = fields;
  const name = fields.text("pre") ?? "default";
  const pattern = ggufPattern(name);
  if (!pattern) throw unsupportedTokenizer(`the GGUF pre-tokenizer "${name}"`);
  const encoder = new TextEncoder();
  const ids = new Map<string, number>();
  const tokens: Uint8Array[] = [];
  contents.forEach((content, id) => {
    if (types[id] !== TokenType.normal && types[id] !== TokenType.byte) return;
    ids.set(content, id);
    tokens[id] = alphabetBytes(content) ?? encoder.encode(content);
  });
  return bpeTokenizer({
    tokens: packTokens(tokens),
    merges: readMerges(fields, ids),
    ignoreMerges: pattern.ignoreMerges,
    preTokenizer: splitInTurn(pattern.split),
    added: fields.added(false),
    prefixIds: fields.prefixIds(pattern.addBos),
  });
}

/** Left, right and merged id of every "left right"; the first character may be a blank in files that are not byte-level. */
function readMerges(fields: TokenizerFields, ids: ReadonlyMap<string, number>): Int32Array {
  const merges = fields.texts("merges");
  if (!merges) throw fields.invalid("has no tokenizer.ggml.merges");
  const triples = new Int32Array(3 * merges.length);
  merges.forEach((merge, rank) => {
    const blank = merge.indexOf(" ", 1);
    const left = merge.slice(0, blank);
    const right = merge.slice(blank + 1);
    const found = [ids.get(left), ids.get(right), ids.get(left + right)];
    for (const [part, id] of found.entries()) {
      if (blank < 0 || id === undefined)
        throw fields.invalid(`tokenizer.ggml.merges[${rank}] ("${merge}") names no tokens of the file`);
      triples[3 * rank + part] = id;
    }
  });
  return triples;
}

function splitInTurn(regexes: readonly string[]): PreTokenizer {
  if (regexes.length === 1) return preTokenizerOf(regexes[0]);
  const splits = regexes.map((regex) => ({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false }));
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
  return readPreTokenizer({ type: "Sequence", pretokenizers: [...splits, byteLevel] });
}

function scoredBpe(fields: TokenizerFields): Tokenizer {
  const { contents, types } = fields;
  const model = new ScoredBpe({
    contents: contents.map((content, id) => (types[id] === TokenType.normal ? content : undefined)),
    scores: fields.scores(),
    byteIds: fields.byteIds(),
    unknownId: fields.unknownId(),
  });
  const addsBlank = fields.flag("add_space_prefix") ?? true;
  return wholeTextTokenizer(fields, model, addsBlank, [], fields.prefixIds(true));
}

function unigram(fields: TokenizerFields): Tokenizer {
  const { contents, types } = fields;
  const withheld = new Set<number>();
  contents.forEach((_, id) => {
    if (types[id] !== TokenType.normal && types[id] !== TokenType.userDefined) withheld.add(id);
  });
  const model = new UnigramModel({
    contents,
    scores: fields.scores(),
    unknownId: fields.unknownId(),
    byteFallback: fields.byteIds() !== undefined,
    withheld,
  });
  const steps: Step[] = [];
  const charsMap = fields.bytes("precompiled_charsmap");
  if (charsMap && charsMap.length > 0) steps.push(charsMapStep(charsMap, fields.file));
  if (fields.flag("remove_extra_whitespaces") ?? false) {
    steps.push(...readNormalizer(replacing("^ +| +(?= )| +$", "")));
  }
  return wholeTextTokenizer(fields, model, fields.flag("add_space_prefix") ?? false, steps, fields.prefixIds(false));
}

/** SentencePiece: blanks are U+2581, and the text between control tokens is one piece. */
function wholeTextTokenizer(
  fields: TokenizerFields,
  model: PieceModel,
  addsBlank: boolean,
  first: readonly Step[],
  prefixIds: readonly number[],
): Tokenizer {
  const ids = new Map<string, number>();
  fields.contents.forEach((content, id) => {
    if (!fields.isAdded(id)) ids.set(content, id);
  });
  const prepend = addsBlank ? readNormalizer({ type: "Prepend", prepend: METASPACE }) : [];
  return new BpeTokenizer(
    new Vocabulary(ids, fields.added(true), false),
    [...first, ...prepend, ...readNormalizer({ type: "Replace", pattern: { String: " " }, content: METASPACE })],
    { ...readPreTokenizer(null), splitters: [tokenBorders(ids.keys())] },
    model,
    prefixIds,
    { stripStart: addsBlank ? 1 : 0 },
  );
}

function replacing(regex: string, content: string): unknown {
  return { type: "Replace", pattern: { Regex: regex }, content };
}

function rwkv(fields: TokenizerFields): Tokenizer {
  const tokens = new Map<number, Uint8Array<ArrayBuffer>>();
  const special = new Map<string, number>();
  fields.contents.forEach((content, id) => {
    if (fields.types[id] !== TokenType.normal) {
      special.set(content, id);
      return;
    }
    const bytes = unescapeBytes(content);
    if (!bytes) throw fields.invalid(`tokenizer.ggml.tokens[${id}] is not written as RWKV tokens are`);
    tokens.set(id, bytes);
  });
  return new TrieTokenizer({ tokens, special, unknownId: fields.unknownId() ?? 0 });
}

/** The keys below `tokenizer.ggml.`, read with their types checked. */
class TokenizerFields {
  readonly contents: readonly string[];
  /** Type of every token; normal where the file does not say. */
  readonly types: ArrayLike<number>;

  constructor(
    private readonly metadata: ReadonlyMap<string, GgufValue>,
    readonly file: string,
  ) {
    this.contents = this.texts("tokens") ?? [];
    const types = this.value("token_type");
    if (types === undefined) this.types = this.contents.map((_, id) => this.typeByUse(id));
    else if (isNumbers(types) && types.length === this.contents.length) this.types = types;
    else throw this.invalid(`tokenizer.ggml.token_type is no list of ${this.contents.length} numbers`);
    if (this.contents.length === 0 && this.value("model") !== undefined) throw this.invalid("has no tokenizer.ggml.tokens");
  }

  text(key: string): string | undefined {
    const value = this.value(key);
    if (value !== undefined && typeof value !== "string") throw this.invalid(`tokenizer.ggml.${key} is not a string`);
    return value;
  }

  texts(key: string): readonly string[] | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (!isTexts(value)) throw this.invalid(`tokenizer.ggml.${key} is not a list of strings`);
    return value;
  }

  flag(key: string): boolean | undefined {
    const value = this.value(key);
    if (value !== undefined && typeof value !== "boolean") throw this.invalid(`tokenizer.ggml.${key} is not true or false`);
    return value;
  }

  bytes(key: string): Uint8Array<ArrayBuffer> | undefined {
    const value = this.value(key);
    if (value === undefined || value instanceof Uint8Array) return value;
    if (value instanceof Int8Array) return new Uint8Array(value.buffer);
    throw this.invalid(`tokenizer.ggml.${key} is not a list of bytes`);
  }

  scores(): ArrayLike<number> {
    const value = this.value("scores");
    if (isNumbers(value) && value.length === this.contents.length) return value;
    throw this.invalid(`has no ${this.contents.length} tokenizer.ggml.scores`);
  }

  tokenId(key: string): number | undefined {
    const value = this.value(`${key}_token_id`);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < this.contents.length) return value;
    throw this.invalid(`tokenizer.ggml.${key}_token_id is ${String(value)}, and there are ${this.contents.length} tokens`);
  }

  unknownId(): number | undefined {
    const named = this.tokenId("unknown");
    if (named !== undefined) return named;
    const found = this.contents.findIndex((_, id) => this.types[id] === TokenType.unknown);
    return found < 0 ? undefined : found;
  }

  prefixIds(unlessSaid: boolean): number[] {
    const bos = this.tokenId("bos");
    return (this.flag("add_bos_token") ?? unlessSaid) && bos !== undefined ? [bos] : [];
  }

  /** Ids of <0x00> to <0xFF>, or undefined unless all are there. */
  byteIds(): Int32Array | undefined {
    const byteIds = new Int32Array(256).fill(-1);
    this.contents.forEach((content, id) => {
      const byte = this.types[id] === TokenType.byte ? /^<0x([0-9A-Fa-f]{2})>$/.exec(content)?.[1] : undefined;
      if (byte !== undefined) byteIds[parseInt(byte, 16)] = id;
    });
    return byteIds.includes(-1) ? undefined : byteIds;
  }

  isAdded(id: number): boolean {
    return this.types[id] !== TokenType.normal && this.types[id] !== TokenType.byte;
  }

  /** Control tokens, and the words that a model was taught in addition; `sentencePieces`: those are text. */
  added(sentencePieces: boolean): AddedToken[] {
    return this.contents.flatMap((content, id) => {
      if (!this.isAdded(id) || content === "") return [];
      const special = this.types[id] !== TokenType.userDefined;
      const plain = !special && (sentencePieces || content.trim() === "");
      return [{ ...specialToken(content, id), special, plain }];
    });
  }

  invalid(what: string): Error {
    return invalidTokenizer(what, this.file);
  }

  private typeByUse(id: number): number {
    return ["bos", "eos", "padding"].some((use) => this.tokenId(use) === id) ? TokenType.control : TokenType.normal;
  }

  private value(key: string): GgufValue | undefined {
    return this.metadata.get(`tokenizer.ggml.${key}`);
  }
}

function isTexts(value: GgufValue): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function isNumbers(value: GgufValue | undefined): value is Int32Array<ArrayBuffer> | Float32Array<ArrayBuffer> {
  return value instanceof Int32Array || value instanceof Uint32Array || value instanceof Float32Array;
}
