/** Texts as the files of a repository that questions are made of. */
import type { CountedFile } from "../../engine/eval/answers/contexts.ts";
import { splitLines } from "../../engine/pack/body.ts";
import { openOutlines } from "../../extension/server/outline/outline.ts";
import type { OutlinedSymbol } from "../../extension/server/outline/outline.ts";

/** Files with their outlines; a token is taken for four characters. */
export async function outlinedFiles(texts: Readonly<Record<string, string>>): Promise<CountedFile[]> {
  const outlines = await openOutlines();
  return Object.entries(texts).map(([path, text]) => {
    const outlined = outlines.outline(path, text, () => false);
    const symbols = "symbols" in outlined ? flat(outlined.symbols) : [];
    return { path, lines: splitLines(text), symbols, tokens: roughTokens(text) };
  });
}

export function roughTokens(text: string): number {
  return Math.ceil(text.length / 4) + 8;
}

function flat(symbols: readonly OutlinedSymbol[]): OutlinedSymbol[] {
  return symbols.flatMap((symbol) => [symbol, ...flat(symbol.children)]);
}
