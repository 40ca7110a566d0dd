import type { Citation, FileAttention } from "./api.ts";
import type { Pack } from "../pack/pack.ts";
import { SpanMap } from "../pack/spanMap.ts";
import { attentionMass, type Pool, type TokenRange } from "./attentionMass.ts";
import { extractQuotes } from "./extract.ts";
import { headerLine } from "../pack/pack.ts";
import type { QuotePlace } from "./quote.ts";

export interface CiteOptions {
  pack: Pick<Pack, "files" | "lines">;
  /** Positions whose queries made the answer. */
  queries: TokenRange;
  /** Absent where attention is not to be measured. */
  pool?: Pool;
}

/** More places of one quote than this say nothing to a reader. */
export const MAX_CITATIONS = 200;
/** A quote from free text with more places than this is a name, not a quote. */
const MAX_PLACES = 8;
const MAX_LOOKED_AT = 8;

/** Citations of a constrained quote: its places in the files; where there are several, by the answer's attention. */
export async function citePlaces(places: readonly QuotePlace[], options: CiteOptions): Promise<Citation[]> {
  const listed = places.slice(0, MAX_CITATIONS);
  const citations = listed.map((place) => citationAt(place, options.pack));
  if (!options.pool || listed.length < 2) return citations;
  const spans = new SpanMap(options.pack.files);
  const ranges = listed.map(({ path, line }) => spans.tokens({ path, startLine: line, endLine: line }) ?? { start: 0, end: 0 });
  const mass = await attentionMass(options.pool, options.queries, ranges);
  const total = mass.reduce((sum, share) => sum + share, 0);
  if (!(total > 0)) return citations;
  return citations
    .map((citation, i) => ({ ...citation, attention: (mass[i] ?? 0) / total }))
    .sort((a, b) => b.attention - a.attention);
}

/**
 * Citations of free text: quotes found word for word in the files, at their lines; the rest is not verified and has
 * neither lines nor, unless the text names a file that exists, a path.
 */
export async function citeText(answer: string, options: CiteOptions): Promise<Citation[]> {
  const { pack } = options;
  const paths = pack.files.map((file) => file.path);
  const citations: Citation[] = [];
  for (const { quote, named } of extractQuotes(answer, paths)) {
    const found = findQuote(quote, pack, named);
    if (found.length > MAX_PLACES) continue;
    citations.push(...(found.length > 0 ? found : [unverified(quote, named)]));
  }
  return uniqueCitations(citations);
}

/** Citations of an extractive model that spelt freely: what it said is lines of the files, or it is not verified. */
export async function citeLines(answer: string, options: CiteOptions): Promise<Citation[]> {
  const citations: Citation[] = [];
  for (const line of answer.trim().split(/\s*\n(?:A: )?\s*/)) if (line !== "") citations.push(...(await citeLine(line, options)));
  return citations;
}

async function citeLine(wanted: string, options: CiteOptions): Promise<Citation[]> {
  const places: QuotePlace[] = [];
  for (const { path } of options.pack.files) {
    if (headerLine(path) === wanted) places.push({ path, line: 0 });
    options.pack.lines(path).forEach((line, i) => {
      if (line?.trim() === wanted) places.push({ path, line: i + 1 });
    });
  }
  return places.length > 0 ? citePlaces(places, options) : [unverified(wanted, undefined)];
}

/** The files that drew most of the answer's attention, by share of all of it. */
export async function lookedAt(options: CiteOptions): Promise<FileAttention[]> {
  if (!options.pool) return [];
  const { files } = options.pack;
  const mass = await attentionMass(
    options.pool,
    options.queries,
    files.map((file) => ({ start: file.tokenStart, end: file.tokenEnd })),
  );
  return files
    .map((file, i) => ({ path: file.path, share: mass[i] ?? 0 }))
    .filter(({ share }) => share > 0)
    .sort((a, b) => b.share - a.share)
    .slice(0, MAX_LOOKED_AT);
}

/** The header line is ours, so it cites the first line that is given of the file it names; of a file without any, its beginning. */
function citationAt({ path, line }: QuotePlace, pack: CiteOptions["pack"]): Citation {
  const lines = pack.lines(path);
  const shown = line > 0 ? line : Math.max(1, lines.findIndex((text) => text !== undefined) + 1);
  return { path, startLine: shown, endLine: shown, quote: (lines[shown - 1] ?? "").trim(), verified: true };
}

function unverified(quote: string, path: string | undefined): Citation {
  return { path: path ?? "", startLine: 0, endLine: 0, quote, verified: false };
}

/** Places where the lines of a quote follow each other, indentation and trailing blanks aside; one line may be a part of its line. */
function findQuote(quote: string, pack: CiteOptions["pack"], named: string | undefined): Citation[] {
  const wanted = quote.split("\n").map((line) => line.trim());
  const found: Citation[] = [];
  for (const { path } of pack.files) {
    const lines = pack.lines(path);
    for (let i = 0; i + wanted.length <= lines.length; i++) {
      if (!matchesAt(lines, i, wanted)) continue;
      const text = lines.slice(i, i + wanted.length).join("\n");
      found.push({
        path,
        startLine: i + 1,
        endLine: i + wanted.length,
        quote: wanted.length === 1 ? quote.trim() : text,
        verified: true,
      });
    }
  }
  const inNamed = found.filter(({ path }) => path === named);
  return inNamed.length > 0 ? inNamed : found;
}

/** Lines that were left out match nothing: the model has not seen them. */
function matchesAt(lines: readonly (string | undefined)[], at: number, wanted: readonly string[]): boolean {
  if (wanted.length === 1) return lines[at]?.includes(wanted[0] ?? "") ?? false;
  return wanted.every((line, i) => lines[at + i]?.trim() === line);
}

function uniqueCitations(citations: readonly Citation[]): Citation[] {
  const seen = new Set<string>();
  return citations.filter(({ path, startLine, endLine, quote }) => {
    const key = JSON.stringify([path, startLine, endLine, startLine === 0 ? quote : ""]);
    return !seen.has(key) && seen.add(key);
  });
}
