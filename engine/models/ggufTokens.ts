/** Special tokens and the chat template of a GGUF file. */
import type { GgufValue } from "../formats/gguf.ts";

type Metadata = ReadonlyMap<string, GgufValue>;

/**
 * Tokens that end an answer: the ids the file names, and, as in llama.cpp (src/llama-vocab.cpp), tokens with these texts, because
 * many files name only one of several.
 */
const END_TEXTS: ReadonlySet<string> = new Set([
  ...["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>"],
  ...["<EOT>", "_<EOT>", "<|end_of_text|>", "<end_of_utterance>"],
]);

export function endTokenIds(metadata: Metadata): number[] {
  const named = ["eos", "eot", "eom"].map((use) => metadata.get(`tokenizer.ggml.${use}_token_id`));
  const texts = metadata.get("tokenizer.ggml.tokens");
  const found = Array.isArray(texts)
    ? texts.flatMap((text, id) => (typeof text === "string" && END_TEXTS.has(text) ? [id] : []))
    : [];
  return [...new Set([...named.filter((id) => typeof id === "number"), ...found])];
}

/** The text of the token that `use` ("bos", "eos") names. */
export function specialTokenText(metadata: Metadata, use: "bos" | "eos"): string | undefined {
  const id = metadata.get(`tokenizer.ggml.${use}_token_id`);
  const texts = metadata.get("tokenizer.ggml.tokens");
  const text: unknown = typeof id === "number" && Array.isArray(texts) ? texts[id] : undefined;
  return typeof text === "string" ? text : undefined;
}

/** Jinja source; of several named ones the file has the default under this key. */
export function chatTemplate(metadata: Metadata): string | undefined {
  const template = metadata.get("tokenizer.chat_template");
  return typeof template === "string" ? template : undefined;
}
