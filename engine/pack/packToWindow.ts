import { EngineError, throwIfAborted } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { keptLines, splitLines } from "./body.ts";
import { type NumberedLine, type PackFormat, type PackPart, partText, renderPack } from "./exportPack.ts";
import { costOf, type FitChoice, type FitItem, fitToWindow } from "./fit.ts";
import type { Level, LineRange } from "./levels.ts";

/** A file that may go into the pack. */
export interface PackSource {
  path: string;
  text: string;
  /** Lines that an outline keeps; a file without an outline has none. */
  lines?: readonly LineRange[];
  rank: number;
  /** What raised its rank, in words. */
  reasons: readonly string[];
  /** What lowered it, in words. */
  lowered?: string;
  pinned?: Level;
}

export interface WindowOptions {
  tokenizer: Tokenizer;
  format: PackFormat;
  /** Tokens that the written pack may have. */
  budgetTokens: number;
  signal?: AbortSignal;
  /** Called between files, which is where it can be stopped. */
  onProgress?(doneFiles: number, totalFiles: number): Promise<void> | void;
}

export interface WindowPack {
  text: string;
  /** Tokens of `text`, counted on the text as it is. */
  tokens: number;
  /** Tokens of everything at the level chosen for it, and whole where nothing was chosen; counted file by file where it does not fit. */
  neededTokens: number;
  rows: FitChoice[];
}

/**
 * Fits files into a budget and writes them down. The solver adds up what the files cost on their own; the text is then counted as a
 * whole, and where it has more tokens than allowed (folders of the tree, say) the solver's budget shrinks by that much, and by twice as much
 * each further time, until the text fits. Files appear in the order of the sources. Throws what `fitToWindow` throws,
 * `context-too-long` where even an empty pack is too long, and `aborted`.
 */
export async function packToWindow(sources: readonly PackSource[], options: WindowOptions): Promise<WindowPack> {
  const { tokenizer, format, budgetTokens, signal } = options;
  const frame = tokenizer.count(renderPack([], format));
  const candidates: Candidate[] = [];
  for (const source of sources) {
    throwIfAborted(signal);
    candidates.push(candidateOf(source, options));
    await options.onProgress?.(candidates.length, sources.length);
  }
  const items = candidates.map(({ item }) => item);
  let extra = 1;
  for (let budget = budgetTokens - frame; budget >= 0; extra *= 2) {
    throwIfAborted(signal);
    const { choices } = fitToWindow(items, budget);
    const parts = candidates.flatMap(({ parts }, i) => parts[choices[i]?.level ?? "excluded"] ?? []);
    const text = renderPack(parts, format);
    const tokens = tokenizer.count(text);
    if (tokens <= budgetTokens) {
      const asChosen = choices.every(({ level }, i) => level === wanted(items[i]));
      const needed = items.reduce((sum, item) => sum + costOf(item, wanted(item)), frame);
      return { text, tokens, neededTokens: asChosen ? tokens : Math.max(needed, tokens), rows: choices };
    }
    budget -= (tokens - budgetTokens) * extra;
  }
  throw tooSmall(frame, items, budgetTokens);
}

/** The level that the user chose; what nothing was chosen for is wanted whole. */
function wanted(item: FitItem | undefined): Level {
  return item?.pinned ?? "full";
}

interface Candidate {
  item: FitItem;
  parts: Record<Level, PackPart | undefined>;
}

function candidateOf(source: PackSource, { tokenizer, format }: WindowOptions): Candidate {
  const { path, text, lines, rank, reasons, lowered, pinned } = source;
  const full: PackPart = { path, level: "full", text };
  const outline: PackPart | undefined = lines && { path, level: "outline", lines: numberedLines(text, lines) };
  const name: PackPart = { path, level: "name" };
  const cost = (part: PackPart): number => tokenizer.count(partText(part, format));
  return {
    item: {
      path,
      rank,
      reasons,
      ...(lowered === undefined ? {} : { lowered }),
      fullTokens: cost(full),
      nameTokens: cost(name),
      ...(outline === undefined ? {} : { outlineTokens: cost(outline) }),
      ...(pinned === undefined ? {} : { pinned }),
    },
    parts: { full, outline: outline ?? full, name, excluded: undefined },
  };
}

/** Lines in ranges with their numbers; ranges may overlap or reach beyond the text. */
export function numberedLines(text: string, ranges: readonly LineRange[]): NumberedLine[] {
  return keptLines(splitLines(text), ranges).flatMap((line, i) => (line === undefined ? [] : { number: i + 1, text: line }));
}

function tooSmall(frame: number, items: readonly FitItem[], budgetTokens: number): EngineError {
  const pinned = items.filter(({ pinned }) => pinned !== undefined && pinned !== "excluded").length;
  const what = pinned === 0 ? `an empty pack takes ${frame} tokens` : `what you chose to keep (${pinned} files) does not fit`;
  return new EngineError(
    "context-too-long",
    `${what}, and the budget is ${budgetTokens}`,
    "choose a larger window or a smaller reserve",
    { budgetTokens },
  );
}
