import { EngineError, throwIfAborted } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type PackFormat, type PackPart, renderPack } from "./exportPack.ts";
import { type FitChoice, type FitItem, fitToWindow } from "./fit.ts";
import type { Level } from "./levels.ts";

/** A file that may go into the pack. */
export interface PackSource {
  path: string;
  text: string;
  /** Lines that an outline keeps; a file without an outline has none. */
  outline?: readonly { number: number; text: string }[];
  rank: number;
  because?: string;
  pinned?: Level;
}

export interface WindowPack {
  text: string;
  /** Tokens of `text`, counted on the text as it is. */
  tokens: number;
  rows: FitChoice[];
}

/**
 * Fits files into a budget and writes them down. The solver adds up what the parts cost on their own; the text is then counted as
 * a whole, and where it costs more than its parts the budget of the solver shrinks by that until the text fits. Parts appear in the
 * order of the sources. Throws what `fitToWindow` throws, `context-too-long` where even the empty pack is too long, and `aborted`.
 */
export function packToWindow(
  sources: readonly PackSource[],
  options: { tokenizer: Tokenizer; format: PackFormat; budgetTokens: number; signal?: AbortSignal },
): WindowPack {
  const { tokenizer, format, budgetTokens, signal } = options;
  const frame = tokenizer.count(renderPack([], format));
  const cost = (part: PackPart | undefined): number =>
    part ? Math.max(0, tokenizer.count(renderPack([part], format)) - frame) : 0;
  const items = sources.map((source): FitItem => {
    throwIfAborted(signal);
    const { path, rank, because, pinned } = source;
    const outlineTokens = source.outline && cost(partOf(source, "outline"));
    const item = { path, rank, fullTokens: cost(partOf(source, "full")), nameTokens: cost(partOf(source, "name")) };
    return {
      ...item,
      ...(outlineTokens === undefined ? {} : { outlineTokens }),
      ...(because === undefined ? {} : { because }),
      ...(pinned === undefined ? {} : { pinned }),
    };
  });
  for (let budget = budgetTokens - frame; budget >= 0;) {
    throwIfAborted(signal);
    const { choices } = fitToWindow(items, budget);
    const parts = choices.flatMap(({ level }, i) => {
      const source = sources[i];
      return (source && partOf(source, level)) ?? [];
    });
    const text = renderPack(parts, format);
    const tokens = tokenizer.count(text);
    if (tokens <= budgetTokens) return { text, tokens, rows: choices };
    budget -= Math.max(1, tokens - budgetTokens);
  }
  throw new EngineError(
    "context-too-long",
    `an empty pack takes ${frame} tokens and the budget is ${budgetTokens}`,
    "choose a larger window or a smaller reserve",
    { budgetTokens },
  );
}

function partOf({ path, text, outline }: PackSource, level: Level): PackPart | undefined {
  switch (level) {
    case "full":
      return { path, level, text };
    case "outline":
      return outline ? { path, level, lines: outline } : { path, level: "full", text };
    case "name":
      return { path, level };
    case "excluded":
      return undefined;
  }
}
