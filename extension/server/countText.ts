import { splitLines } from "../../engine/pack/body.ts";
import { textHash } from "./contentHash.ts";
import { nameLine } from "./countJobs.ts";
import type { CountPool } from "./countPool.ts";

/** Tokens of a text as it is, of its body in a pack, and of the line that names it there. */
export interface TextCounts {
  hash: string;
  tokens: number;
  bodyTokens: number;
  nameTokens: number;
}

/** Counts a text that is at hand, before everything that waits. */
export async function countText(pool: CountPool, path: string, text: string, signal?: AbortSignal): Promise<TextCounts> {
  const body = splitLines(text)
    .map((line) => `${line}\n`)
    .join("");
  const texts = [nameLine(path), text, ...(body === text ? [] : [body])];
  const [nameTokens = 0, tokens = 0, bodyTokens = tokens] = await pool.call("texts", { texts }, { signal, urgent: true });
  return { hash: textHash(text), tokens, bodyTokens, nameTokens };
}
