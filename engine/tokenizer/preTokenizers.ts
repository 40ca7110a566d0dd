import { type Aligned, prependAligned, sliceAligned, swapAligned } from "./aligned.ts";
import { asFields, asFlag, asList, asText, type Fields, invalidTokenizer, unsupportedTokenizer } from "./fields.ts";
import { readPattern } from "./normalizers.ts";
import { convertRegex } from "./regex.ts";
import { patterns } from "./presets.ts";

/** Cuts a text into pieces that merge on their own, and emits them in order; `atStart` where nothing stands in front of it. */
export type Splitter = (input: Aligned, atStart: boolean, emit: (piece: Aligned) => void) => void;

export interface PreTokenizer {
  readonly splitters: readonly Splitter[];
  /** Pieces are spelt in the byte-level alphabet before they are looked up. */
  readonly byteLevel: boolean;
  /** Patterns that do what the splitters do: pieces are what they match and what lies between. */
  readonly cuts?: readonly RegExp[] | undefined;
}

/** What GPT-2 cuts at; tokenizer.json names it with `"use_regex": true`. */
const GPT2 =
  /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const METASPACE = "\u2581";

/** A byte-level pre-tokenizer that cuts at what a pattern matches, as tiktoken does; the pattern is an Oniguruma one. */
export function preTokenizerOf(pattern: string): PreTokenizer {
  return { ...isolating(convertRegex(pattern)), byteLevel: true };
}

/** Reads the `pre_tokenizer` of tokenizer.json; null means one piece. */
export function readPreTokenizer(json: unknown): PreTokenizer {
  if (json === undefined || json === null) return { splitters: [], byteLevel: false };
  const fields = asFields(json, "pre_tokenizer");
  const type = asText(fields.type, "pre_tokenizer.type");
  switch (type) {
    case "Sequence": {
      const parts = asList(fields.pretokenizers, "pre_tokenizer.pretokenizers").map(readPreTokenizer);
      const early = parts.slice(0, -1).some((part) => part.byteLevel);
      if (early) throw unsupportedTokenizer("a pre-tokenizer behind ByteLevel");
      const cuts = parts.every((part) => part.cuts) ? parts.flatMap((part) => part.cuts ?? []) : undefined;
      return { splitters: parts.flatMap((part) => part.splitters), byteLevel: parts.some((part) => part.byteLevel), cuts };
    }
    case "Split":
      return readSplit(fields);
    case "Digits": {
      const individual = asFlag(fields.individual_digits, false, "pre_tokenizer.individual_digits");
      return isolating(individual ? /\p{N}/gu : /\p{N}+/gu);
    }
    case "Punctuation":
      return splitting(/[\p{P}$+<=>^`|~]/gu, readBehavior(fields), false);
    case "WhitespaceSplit":
      return splitting(/\p{White_Space}/gu, "Removed", false);
    case "ByteLevel": {
      const useRegex = asFlag(fields.use_regex, true, "pre_tokenizer.use_regex");
      const { splitters, cuts } = useRegex ? isolating(GPT2) : { splitters: [], cuts: [] };
      if (!asFlag(fields.add_prefix_space, true, "pre_tokenizer.add_prefix_space")) return { splitters, byteLevel: true, cuts };
      const prefix: Splitter = (input, _, emit) => emit(input.text.startsWith(" ") ? input : prependAligned(input, " "));
      return { splitters: [prefix, ...splitters], byteLevel: true };
    }
    case "Metaspace":
      return { splitters: metaspace(fields), byteLevel: false };
    default:
      throw unsupportedTokenizer(`the pre-tokenizer ${type}`);
  }
}

type Behavior = "Removed" | "Isolated" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

function isolating(pattern: RegExp): PreTokenizer {
  return { splitters: [splitBy(pattern, "Isolated", false)], byteLevel: false, cuts: [pattern] };
}

function splitting(pattern: RegExp, behavior: Behavior, invert: boolean): PreTokenizer {
  return behavior === "Isolated" ? isolating(pattern) : { splitters: [splitBy(pattern, behavior, invert)], byteLevel: false };
}

function readSplit(fields: Fields): PreTokenizer {
  const behavior = readBehavior(fields);
  const invert = asFlag(fields.invert, false, "pre_tokenizer.invert");
  const pattern = readPattern(fields.pattern, "pre_tokenizer.pattern");
  const regex = asFields(fields.pattern, "pre_tokenizer.pattern").Regex;
  // What these do not match is dropped, and there is nothing.
  if (behavior === "Removed" && invert && Object.values(patterns).some((known) => known === regex)) return isolating(pattern);
  return splitting(pattern, behavior, invert);
}

function readBehavior(fields: Fields): Behavior {
  const behavior = asText(fields.behavior, "pre_tokenizer.behavior");
  switch (behavior) {
    case "Removed":
    case "Isolated":
    case "MergedWithPrevious":
    case "MergedWithNext":
    case "Contiguous":
      return behavior;
    default:
      throw invalidTokenizer(`pre_tokenizer.behavior is ${behavior}`);
  }
}

/** Matches and the text between them become pieces, joined or dropped as the behavior says. */
function splitBy(pattern: RegExp, behavior: Behavior, invert: boolean): Splitter {
  // Most patterns match everywhere, and asking for a match at a place makes no match object.
  const here = new RegExp(pattern.source, "uy");
  return (input, _atStart, emit) => {
    const { text } = input;
    const ranges: Range[] = [];
    const found = (start: number, end: number, matched: boolean) => {
      if (behavior === "Isolated") emit(sliceAligned(input, start, end));
      else ranges.push({ start, end, matched });
    };
    for (let at = 0; at < text.length;) {
      here.lastIndex = at;
      if (here.test(text) && here.lastIndex > at) {
        found(at, here.lastIndex, !invert);
        at = here.lastIndex;
        continue;
      }
      const next = nextMatch(pattern, text, at);
      if (next.start > at) found(at, next.start, invert);
      if (next.end > next.start) found(next.start, next.end, !invert);
      at = next.end;
    }
    for (const { start, end } of joinRanges(ranges, behavior)) emit(sliceAligned(input, start, end));
  };
}

/** The next match that is not empty, or the empty range at the end. */
function nextMatch(pattern: RegExp, text: string, from: number): { start: number; end: number } {
  pattern.lastIndex = from;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const end = match.index + match[0].length;
    if (end > match.index) return { start: match.index, end };
    pattern.lastIndex = end + ((text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1);
  }
  return { start: text.length, end: text.length };
}

interface Range {
  start: number;
  end: number;
  matched: boolean;
}

function joinRanges(ranges: readonly Range[], behavior: Behavior): readonly Range[] {
  if (behavior === "Removed") return ranges.filter((range) => !range.matched);
  const joined: Range[] = [];
  for (const range of ranges) {
    const last = joined[joined.length - 1];
    if (last && joins(last, range, behavior)) {
      last.end = range.end;
      last.matched = range.matched;
    } else {
      joined.push({ ...range });
    }
  }
  return joined;
}

/** Whether a range continues the piece before it; a joined piece carries the flag of its last range. */
function joins(last: Range, range: Range, behavior: Behavior): boolean {
  if (behavior === "MergedWithPrevious") return range.matched && !last.matched;
  if (behavior === "MergedWithNext") return last.matched && !range.matched;
  return last.matched === range.matched;
}

/** Blanks become U+2581, one is put in front as prepend_scheme says, and pieces begin at each where `split` is set. */
function metaspace(fields: Fields): Splitter[] {
  const mark = fields.replacement === undefined ? METASPACE : asText(fields.replacement, "pre_tokenizer.replacement");
  if (mark !== METASPACE) throw unsupportedTokenizer(`Metaspace with the replacement ${mark}`);
  const scheme =
    fields.prepend_scheme ?? (asFlag(fields.add_prefix_space, true, "pre_tokenizer.add_prefix_space") ? "always" : "never");
  if (scheme !== "always" && scheme !== "never" && scheme !== "first")
    throw invalidTokenizer("pre_tokenizer.prepend_scheme is unknown");
  const splitters: Splitter[] = [
    (input, atStart, emit) => {
      const marked = swapAligned(input, " ", METASPACE);
      const prepend =
        (scheme === "always" || (scheme === "first" && atStart)) && marked.text !== "" && !marked.text.startsWith(METASPACE);
      emit(prepend ? prependAligned(marked, METASPACE) : marked);
    },
  ];
  if (asFlag(fields.split, true, "pre_tokenizer.split")) splitters.push(splitBy(/\u2581/gu, "MergedWithNext", false));
  return splitters;
}
