import { base64Bytes } from "./base64.ts";
import { bpeTokenizer } from "./bpeTokenizer.ts";
import { invalidTokenizer } from "./fields.ts";
import { preTokenizerOf } from "./preTokenizers.ts";
import type { Encoding } from "./presets.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type PackedTokens, packTokens } from "./tokenTable.ts";
import { specialToken } from "./vocabulary.ts";

/** A tokenizer of ranked byte strings that merges as tiktoken does. */
export function rankTokenizer(tokens: PackedTokens, encoding: Encoding): Tokenizer {
  const added = Object.entries(encoding.special).map(([content, id]) => specialToken(content, id));
  return bpeTokenizer({ tokens, preTokenizer: preTokenizerOf(encoding.pattern), added });
}

/**
 * Reads a tiktoken rank file: one token per line, its bytes in base64, a blank, its rank. The rank is the id, and the
 * lower one merges first. `name` is for messages. Throws `tokenizer-invalid` where a line is damaged, a rank comes twice or
 * a byte has no token.
 */
export function readTiktokenRanks(file: Uint8Array, name: string): PackedTokens {
  const tokens: (Uint8Array | undefined)[] = [];
  let line = 0;
  for (let at = 0; at < file.length;) {
    let end = file.indexOf(NEWLINE, at);
    if (end < 0) end = file.length;
    line++;
    const trimmed = end > at && file[end - 1] === RETURN ? end - 1 : end;
    if (trimmed > at) {
      const blank = file.indexOf(BLANK, at);
      const token = blank > at && blank < trimmed ? base64Bytes(file, at, blank) : undefined;
      const rank = token ? decimal(file, blank + 1, trimmed) : -1;
      if (!token || rank < 0) throw invalidTokenizer(`line ${line} is not "base64 rank"`, name);
      if (rank >= MAX_RANKS) throw invalidTokenizer(`line ${line} has the rank ${rank}; ranks are below ${MAX_RANKS}`, name);
      if (tokens[rank]) throw invalidTokenizer(`line ${line} gives the rank ${rank} a second time`, name);
      while (tokens.length < rank) tokens.push(undefined);
      tokens[rank] = token;
    }
    at = end + 1;
  }
  checkBytes(tokens, name);
  return packTokens(tokens);
}

const NEWLINE = 10;
const RETURN = 13;
const BLANK = 32;
const MAX_RANKS = 2 ** 22;

/** Every byte must be a token, or some text would have none. */
function checkBytes(tokens: readonly (Uint8Array | undefined)[], name: string): void {
  const seen = new Set<number>();
  for (const token of tokens) if (token?.length === 1) seen.add(token[0]);
  if (tokens.length === 0) throw invalidTokenizer("is empty", name);
  for (let byte = 0; byte < 256; byte++)
    if (!seen.has(byte)) throw invalidTokenizer(`has no token for the byte ${byte}; lines are missing`, name);
}

function decimal(file: Uint8Array, start: number, end: number): number {
  if (end <= start || end - start > 9) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = file[at] - 48;
    if (digit < 0 || digit > 9) return -1;
    value = 10 * value + digit;
  }
  return value;
}
