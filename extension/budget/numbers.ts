/** Token counts as people read them: short in a tree, whole in a tooltip, in words for a screen reader. */

/** "412", "9.4K", "12.4K", "124K", "1.2M"; at most five characters. */
export function shortTokens(tokens: number): string {
  if (tokens < 1000) return String(tokens);
  if (tokens < 99_950) return `${trimmed(tokens / 1000)}K`;
  if (tokens < 999_500) return `${Math.round(tokens / 1000)}K`;
  if (tokens < 99_950_000) return `${trimmed(tokens / 1e6)}M`;
  return `${Math.round(tokens / 1e6)}M`;
}

/** "12,431". */
export function exactTokens(tokens: number): string {
  return tokens.toLocaleString("en-US");
}

/** "412 tokens", "12.4 thousand tokens", "1.2 million tokens". */
export function spokenTokens(tokens: number): string {
  if (tokens === 1) return "1 token";
  if (tokens < 1000) return `${tokens} tokens`;
  if (tokens < 999_500) return `${tokens < 9_950 ? trimmed(tokens / 1000) : Math.round(tokens / 1000)} thousand tokens`;
  return `${trimmed(tokens / 1e6)} million tokens`;
}

/** "9.8 %", "<0.1 %", "0 %"; a window of 0 tokens has no shares. */
export function shortShare(tokens: number, window: number): string {
  if (window <= 0) return "";
  const percent = (100 * tokens) / window;
  if (tokens > 0 && percent < 0.05) return "<0.1 %";
  return `${percent >= 99.95 ? Math.round(percent) : trimmed(percent)} %`;
}

/** "32 percent of the window", "less than 1 percent of the window". */
export function spokenShare(tokens: number, window: number): string {
  if (window <= 0) return "";
  const percent = (100 * tokens) / window;
  if (tokens > 0 && percent < 1) return "less than 1 percent of the window";
  return `${Math.round(percent)} percent of the window`;
}

/**
 * Two characters for an explorer badge, in steps: ".4" is four tenths of a thousand, "9k" nine thousand, "40" forty thousand, "½M" half a
 * million, "3M" three million. Undefined below 50 tokens, which is not worth a look.
 */
export function badgeText(tokens: number): string | undefined {
  if (tokens < 50) return undefined;
  if (tokens < 950) return `.${Math.max(1, Math.round(tokens / 100))}`;
  if (tokens < 9_500) return `${Math.round(tokens / 1000)}k`;
  if (tokens < 99_500) return String(Math.round(tokens / 1000));
  for (const [limit, text] of fractions) if (tokens < limit) return text;
  return tokens < 9_500_000 ? `${Math.round(tokens / 1e6)}M` : "∞";
}

/**
 * Tokens of "8K", "128k", "1M", "200,000" or "4096"; undefined for anything else. K and M are thousands and millions, as model cards have it.
 */
export function parseTokens(text: string): number | undefined {
  const [, digits = "", unit = ""] = /^\s*(\d[\d,_ ]*(?:\.\d+)?)\s*([kKmM]?)\s*$/.exec(text) ?? [];
  if (digits === "") return undefined;
  const tokens = Number(digits.replaceAll(/[,_ ]/g, "")) * (unit === "" ? 1 : unit.toLowerCase() === "k" ? 1000 : 1e6);
  return Number.isSafeInteger(Math.round(tokens)) ? Math.round(tokens) : undefined;
}

/** "1 file", "12 files". */
export function filesText(files: number): string {
  return files === 1 ? "1 file" : `${exactTokens(files)} files`;
}

/** Below each limit in tokens, the part of a million that is nearest. */
const fractions: readonly (readonly [number, string])[] = [
  [187_500, "⅛M"],
  [375_000, "¼M"],
  [625_000, "½M"],
  [875_000, "¾M"],
];

/** One decimal, and none where it is 0. */
function trimmed(value: number): string {
  return value.toFixed(1).replace(/\.0$/, "");
}
