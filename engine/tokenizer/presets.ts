import { invalidTokenizer } from "./fields.ts";
import type { PackedTokens } from "./tokenTable.ts";

/** What a vocabulary of ranked byte strings needs beside its ranks: where text is cut, and the control tokens. */
export interface Encoding {
  /** Pattern of the pieces, in the dialect of tokenizer.json. */
  readonly pattern: string;
  readonly special: Readonly<Record<string, number>>;
  /** One more than the highest rank of the published file, by which a file of another name is recognised. */
  readonly ranks: number;
}

/** Presets come with the extension and need no model. */
export type PresetName = "o200k" | "cl100k";

export const presets: Readonly<Record<PresetName, { readonly label: string }>> = {
  o200k: { label: "o200k (GPT-4o, GPT-5, gpt-oss)" },
  cl100k: { label: "cl100k (GPT-4, GPT-3.5)" },
};

export function isPreset(name: string): name is PresetName {
  return Object.hasOwn(presets, name);
}

const GPT2 = String.raw`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
const LLAMA3 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const QWEN2 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
/** As tiktoken has it, without its possessive quantifiers, which change no match here; its $ is the end of the text. */
const CL100K = String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?![\s\S])|\s*[\r\n]|\s+(?!\S)|\s`;
const O200K = String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

/** Patterns that more than one kind of file names. */
export const patterns = { GPT2, LLAMA3, QWEN2, CL100K, O200K } as const;

const CHATML = { "<|endoftext|>": 151_643, "<|im_start|>": 151_644, "<|im_end|>": 151_645 };
const LLAMA3_SPECIAL = {
  ...{ "<|begin_of_text|>": 128_000, "<|end_of_text|>": 128_001, "<|start_header_id|>": 128_006, "<|end_header_id|>": 128_007 },
  "<|eot_id|>": 128_009,
};

/** Encodings by name; the first two are the presets, the others are for rank files that the user has. */
export const encodings: Readonly<Record<string, Encoding>> = {
  o200k: { pattern: O200K, special: { "<|endoftext|>": 199_999, "<|endofprompt|>": 200_018 }, ranks: 199_998 },
  cl100k: {
    pattern: CL100K,
    special: {
      ...{ "<|endoftext|>": 100_257, "<|fim_prefix|>": 100_258, "<|fim_middle|>": 100_259, "<|fim_suffix|>": 100_260 },
      "<|endofprompt|>": 100_276,
    },
    ranks: 100_256,
  },
  p50k: { pattern: GPT2, special: { "<|endoftext|>": 50_256 }, ranks: 50_281 },
  r50k: { pattern: GPT2, special: { "<|endoftext|>": 50_256 }, ranks: 50_256 },
  llama3: { pattern: LLAMA3, special: LLAMA3_SPECIAL, ranks: 128_000 },
  qwen: { pattern: QWEN2, special: CHATML, ranks: 151_643 },
};

/** The encoding of a rank file: the one its name mentions, else the one with as many ranks; throws where neither tells. */
export function encodingOf(fileName: string, ranks: number): Encoding {
  const lower = fileName.toLowerCase().replace("llama-3", "llama3");
  const named = Object.keys(encodings).find((name) => lower.includes(name));
  const found = named === undefined ? Object.values(encodings).find((encoding) => encoding.ranks === ranks) : encodings[named];
  if (found) return found;
  const what = `holds ${ranks} ranks and its name does not say where text is cut`;
  throw invalidTokenizer(what, fileName, `put one of these words into its name: ${Object.keys(encodings).join(", ")}`);
}

/** A vocabulary as the build stores it beside the bundles: "LCPV", u32 tokens, u8 length of each, then their bytes. */
export function packPreset(tokens: PackedTokens): Uint8Array<ArrayBuffer> {
  const count = tokens.offsets.length - 1;
  const file = new Uint8Array(HEADER_BYTES + count + tokens.bytes.length);
  const view = new DataView(file.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, count, true);
  for (let id = 0; id < count; id++) {
    const length = tokens.offsets[id + 1] - tokens.offsets[id];
    if (length > 255) throw invalidTokenizer(`token ${id} has ${length} bytes; at most 255 can be stored`, "the vocabulary");
    file[HEADER_BYTES + id] = length;
  }
  file.set(tokens.bytes, HEADER_BYTES + count);
  return file;
}

/** Reads what `packPreset` wrote; the tokens are views of `file`. */
export function readPreset(file: Uint8Array, name: string): PackedTokens {
  const damaged = (what: string) =>
    invalidTokenizer(what, name, "install the extension again; this copy is damaged or incomplete");
  if (file.length < HEADER_BYTES) throw damaged("is too short");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const count = view.getUint32(4, true);
  if (view.getUint32(0, true) !== MAGIC) throw damaged("is no packed vocabulary");
  if (HEADER_BYTES + count > file.length) throw damaged(`states ${count} tokens in ${file.length} bytes`);
  const offsets = new Uint32Array(count + 1);
  for (let id = 0; id < count; id++) offsets[id + 1] = offsets[id] + file[HEADER_BYTES + id];
  const bytes = file.subarray(HEADER_BYTES + count);
  if (offsets[count] !== bytes.length) throw damaged(`holds ${bytes.length} bytes of tokens where ${offsets[count]} are stated`);
  return { bytes, offsets };
}

const MAGIC = 0x5650434c;
const HEADER_BYTES = 8;
