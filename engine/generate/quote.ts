import type { PackedFile, TokenMask } from "../api.ts";
import { EngineError } from "../errors.ts";
import { headerLine, type Pack } from "../pack/pack.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { MayAnswer } from "./answerLines.ts";

/** A line of the pack; line 0 is the header line that names the file. */
export interface QuotePlace {
  path: string;
  line: number;
}

/** Lines [lo, hi) of the sorted index begin with the `depth` tokens decoded so far. */
export interface QuoteState {
  readonly lo: number;
  readonly hi: number;
  readonly depth: number;
  /** The quote is complete, or the model said that there is none. */
  readonly end?: "line" | "absent";
  /** Behind another line: the model cannot say any more that there is none. */
  readonly isFurther?: true;
}

export interface QuoteOptions {
  pack: Pick<Pack, "files" | "lines">;
  tokenizer: Tokenizer;
  /** Logits per position; masks have this many bits. */
  vocabSize: number;
  absentTokenId: number | undefined;
  /** Lines that may be quoted; every one where this is absent. */
  mayAnswer?: MayAnswer | undefined;
}

/**
 * Quote-constrained decoding: every line of the pack without the blanks around it, as a sorted array of token sequences. At
 * each step only tokens that continue some line are allowed, so an answer cannot be misspelt and always has a place.
 * Memory is linear in the pack; a step costs binary searches over the lines that are still possible.
 */
export class QuoteIndex {
  readonly start: QuoteState;
  /** Where another line of the same answer begins. */
  readonly further: QuoteState;
  /** Ends a quote. */
  readonly newlineId: number;
  private readonly tokens: Int32Array;
  /** Line `unit` has tokens [offsets[unit], offsets[unit + 1]). */
  private readonly offsets: Int32Array;
  private readonly places: readonly QuotePlace[];
  /** Units in the order of their token sequences. */
  private readonly order: Int32Array;
  /** Tokens that lines begin with, which are many. */
  private readonly rootMask: TokenMask;
  private readonly furtherMask: TokenMask;
  private readonly stepMask: TokenMask;

  constructor(private readonly options: QuoteOptions) {
    this.newlineId = newlineToken(options.tokenizer);
    const parts = options.pack.files.map((file) => quotesOf(file, options));
    const unitCount = parts.reduce((sum, part) => sum + part.places.length, 0);
    this.tokens = new Int32Array(parts.reduce((sum, part) => sum + part.tokens.length, 0));
    this.offsets = new Int32Array(unitCount + 1);
    const places: QuotePlace[] = [];
    const order: number[] = [];
    let at = 0;
    for (const part of parts) {
      const firstUnit = places.length;
      this.tokens.set(part.tokens, at);
      part.places.forEach((place, i) => {
        this.offsets[firstUnit + i] = at + (part.offsets[i] ?? 0);
        places.push(place);
      });
      // Each part is sorted already, and the sort takes sorted runs as they are.
      for (const unit of part.order) if (this.mayQuote(part.places[unit])) order.push(firstUnit + unit);
      at += part.tokens.length;
    }
    this.offsets[unitCount] = at;
    this.places = places;
    this.order = Int32Array.from(order.sort((a, b) => compareUnits(this.tokens, this.offsets, a, b)));
    this.start = { lo: 0, hi: order.length, depth: 0 };
    this.further = { ...this.start, isFurther: true };
    const words = Math.ceil(options.vocabSize / 32);
    this.stepMask = new Uint32Array(words);
    this.rootMask = new Uint32Array(words);
    this.fillMask(this.start, this.rootMask);
    this.furtherMask = new Uint32Array(words);
    this.fillMask(this.further, this.furtherMask);
  }

  /** Tokens allowed next. The array is reused by the next call. */
  mask(state: QuoteState): TokenMask {
    if (state.depth === 0) return state.isFurther ? this.furtherMask : this.rootMask;
    this.stepMask.fill(0);
    this.fillMask(state, this.stepMask);
    return this.stepMask;
  }

  /** The state behind one more token; throws `internal` for one that the mask forbids. */
  advance(state: QuoteState, id: number): QuoteState {
    const { lo, hi, depth } = state;
    if (depth === 0 && !state.isFurther && id === this.options.absentTokenId) return { ...state, end: "absent" };
    const open = this.endedUntil(state);
    if (id === this.newlineId && open > lo) return { lo, hi: open, depth, end: "line" };
    const from = this.firstWhere(open, hi, (unit) => this.token(unit, depth) >= id);
    const to = this.firstWhere(from, hi, (unit) => this.token(unit, depth) > id);
    if (state.end !== undefined || from === to)
      throw new EngineError("internal", `token ${id} continues no line of the files`, "report it");
    return { lo: from, hi: to, depth: depth + 1 };
  }

  /** Tokens allowed next, rising: what `mask` says, as a list. */
  continuations(state: QuoteState): number[] {
    const mask = this.mask(state);
    const ids: number[] = [];
    for (const [word, bits] of mask.entries())
      for (let bit = 0; bits >>> bit !== 0 && bit < 32; bit++) if ((bits >>> bit) & 1) ids.push(word * 32 + bit);
    return ids;
  }

  /** What is left to say where only one line is possible still, with the line break that ends it; undefined where there are more. */
  rest({ lo, hi, depth }: QuoteState): number[] | undefined {
    const first = this.order[lo];
    const last = this.order[hi - 1];
    if (depth === 0 || first === undefined || last === undefined) return undefined;
    const start = this.offsets[first] ?? 0;
    const end = this.offsets[first + 1] ?? 0;
    const lastStart = this.offsets[last] ?? 0;
    // Sorted, so that the lines between an equal first and last are equal too.
    if ((this.offsets[last + 1] ?? 0) - lastStart !== end - start) return undefined;
    for (let i = depth; i < end - start; i++) if (this.tokens[start + i] !== this.tokens[lastStart + i]) return undefined;
    return [...this.tokens.subarray(start + depth, end), this.newlineId];
  }

  /** Lines that are possible still, in prompt order; for a complete quote all places of exactly this line. */
  occurrences(state: QuoteState): QuotePlace[] {
    if (state.end === "absent") return [];
    const units = this.order.slice(state.lo, state.hi).sort();
    return Array.from(units).flatMap((unit) => this.places[unit] ?? []);
  }

  private mayQuote(place: QuotePlace | undefined): boolean {
    const { mayAnswer, pack } = this.options;
    if (mayAnswer === undefined || place === undefined) return true;
    return mayAnswer(place, place.line === 0 ? headerLine(place.path) : (pack.lines(place.path)[place.line - 1] ?? "").trim());
  }

  private fillMask(state: QuoteState, mask: TokenMask): void {
    const { lo, hi, depth, isFurther } = state;
    if (depth === 0 && !isFurther && this.options.absentTokenId !== undefined) allow(mask, this.options.absentTokenId);
    let at = this.endedUntil(state);
    if (at > lo) allow(mask, this.newlineId);
    while (at < hi) {
      const token = this.token(this.order[at] ?? 0, depth);
      allow(mask, token);
      at = this.firstWhere(at + 1, hi, (unit) => this.token(unit, depth) > token);
    }
  }

  /** Lines that end at this depth sort first; the end of their range. */
  private endedUntil({ lo, hi, depth }: QuoteState): number {
    return this.firstWhere(lo, hi, (unit) => this.token(unit, depth) >= 0);
  }

  /** Token of a line at a depth, -1 behind its end. */
  private token(unit: number, depth: number): number {
    const at = (this.offsets[unit] ?? 0) + depth;
    return at < (this.offsets[unit + 1] ?? 0) ? (this.tokens[at] ?? -1) : -1;
  }

  /** First index in [from, to) of the order whose unit passes a test that never turns false again; `to` if none. */
  private firstWhere(from: number, to: number, test: (unit: number) => boolean): number {
    let low = from;
    let high = to;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (test(this.order[middle] ?? 0)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Quotable lines of one file, sorted among themselves. */
interface FileQuotes {
  places: readonly QuotePlace[];
  tokens: Int32Array;
  offsets: Int32Array;
  order: Int32Array;
}

/** By the file's lines, which live as long as the cached body does, then by path. */
const quotesByLines = new WeakMap<readonly (string | undefined)[], Map<string, FileQuotes>>();

function quotesOf(file: PackedFile, { pack, tokenizer }: QuoteOptions): FileQuotes {
  const lines = pack.lines(file.path);
  const known = quotesByLines.get(lines) ?? new Map<string, FileQuotes>();
  quotesByLines.set(lines, known);
  const quotes = known.get(file.path) ?? makeQuotes(file.path, lines, tokenizer);
  known.set(file.path, quotes);
  return quotes;
}

function makeQuotes(path: string, lines: readonly (string | undefined)[], tokenizer: Tokenizer): FileQuotes {
  const texts = [headerLine(path), ...lines.map((line) => line?.trim() ?? "")];
  const places: QuotePlace[] = [];
  const sequences: Int32Array[] = [];
  texts.forEach((text, line) => {
    if (text === "") return;
    places.push({ path, line });
    sequences.push(tokenizer.encode(text));
  });
  const offsets = new Int32Array(sequences.length + 1);
  sequences.forEach((sequence, i) => (offsets[i + 1] = (offsets[i] ?? 0) + sequence.length));
  const tokens = new Int32Array(offsets[sequences.length] ?? 0);
  sequences.forEach((sequence, i) => tokens.set(sequence, offsets[i]));
  const order = sequences.map((_, i) => i).sort((a, b) => compareUnits(tokens, offsets, a, b));
  return { places, tokens, offsets, order: Int32Array.from(order) };
}

/** By tokens, a line before those it begins, equal lines in prompt order. */
function compareUnits(tokens: Int32Array, offsets: Int32Array, a: number, b: number): number {
  const startA = offsets[a] ?? 0;
  const startB = offsets[b] ?? 0;
  const lengthA = (offsets[a + 1] ?? 0) - startA;
  const lengthB = (offsets[b + 1] ?? 0) - startB;
  for (let i = 0; i < lengthA && i < lengthB; i++) {
    const difference = (tokens[startA + i] ?? 0) - (tokens[startB + i] ?? 0);
    if (difference !== 0) return difference;
  }
  return lengthA - lengthB || a - b;
}

function newlineToken(tokenizer: Tokenizer): number {
  const ids = tokenizer.encode("\n");
  const [id] = ids;
  if (id === undefined || ids.length !== 1) {
    throw new EngineError(
      "unsupported-tokenizer",
      "an extractive model needs a token for the line break",
      "use the tokenizer the model was trained with",
    );
  }
  return id;
}

function allow(mask: TokenMask, id: number): void {
  mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
}
