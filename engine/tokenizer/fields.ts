import { EngineError } from "../errors.ts";

/** A JSON object of unknown content. */
export type Fields = Readonly<Record<string, unknown>>;

/** A file that is not what it should be; `file` is its name. */
export function invalidTokenizer(
  what: string,
  file = "tokenizer.json",
  remedy = `take ${file} again from where the model came from`,
): EngineError {
  return new EngineError("tokenizer-invalid", `${file}: ${what}`, remedy, { file });
}

/** A file that may be sound and asks for something that is not implemented. */
export function unsupportedTokenizer(what: string): EngineError {
  return new EngineError(
    "unsupported-tokenizer",
    `${what} is not supported`,
    "use a tokenizer.json or GGUF file with a BPE, Unigram or RWKV vocabulary, a tiktoken rank file, or a preset (o200k, cl100k)",
  );
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function asFields(value: unknown, where: string): Fields {
  if (!isFields(value)) throw invalidTokenizer(`${where} is not an object`);
  return value;
}

export function asList(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidTokenizer(`${where} is not a list`);
  return value;
}

export function asText(value: unknown, where: string): string {
  if (typeof value !== "string") throw invalidTokenizer(`${where} is not a string`);
  return value;
}

export function asCount(value: unknown, where: string): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0)
    throw invalidTokenizer(`${where} is not a whole number`);
  return value;
}

/** A flag; null or missing is `absent`. */
export function asFlag(value: unknown, absent: boolean, where: string): boolean {
  if (value === undefined || value === null) return absent;
  if (typeof value !== "boolean") throw invalidTokenizer(`${where} is not true or false`);
  return value;
}
