import { byteToChar } from "../../engine/tokenizer/byteAlphabet.ts";

export interface TinyTokenizerOptions {
  preTokenizer?: unknown;
  merges?: readonly (readonly [string, string])[];
  /** Texts that get a token of their own. */
  pieces?: readonly string[];
  ignoreMerges?: boolean;
  special?: readonly string[];
}

/** A byte-level BPE tokenizer.json: special tokens first, then all bytes, then merges and pieces. */
export function byteLevelJson(options: TinyTokenizerOptions): unknown {
  const { merges = [], pieces = [], special = [] } = options;
  const vocab: Record<string, number> = {};
  const add = (content: string) => (vocab[content] ??= Object.keys(vocab).length);
  special.forEach(add);
  byteToChar.forEach(add);
  for (const [left, right] of merges) add(left + right);
  for (const piece of pieces) add([...new TextEncoder().encode(piece)].map((byte) => byteToChar[byte]).join(""));
  return {
    added_tokens: special.map((content) => ({ id: vocab[content], content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: options.preTokenizer ?? { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab, merges, ignore_merges: options.ignoreMerges ?? false },
  };
}

/** Split at a pattern, then the byte-level alphabet, as Llama 3, Qwen and the specimens have it. */
export function isolatedSplit(regex: string): unknown {
  return {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false },
      { type: "ByteLevel", add_prefix_space: false, use_regex: false },
    ],
  };
}
