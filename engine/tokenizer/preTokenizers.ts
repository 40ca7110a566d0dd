import { type Aligned, prependAligned, replaceAligned, sliceAligned } from "./aligned.ts";
import { asFields, asFlag, asList, asText, type Fields, invalidTokenizer, unsupportedTokenizer } from "./fields.ts";
import { readPattern } from "./normalizers.ts";

/** Cuts a text into pieces that merge on their own; `atStart` where nothing stands in front of it. */
export type Splitter = (input: Aligned, atStart: boolean) => readonly Aligned[];

export interface PreTokenizer {
  readonly splitters: readonly Splitter[];
  /** Pieces are spelt in the byte-level alphabet before they are looked up. */
  readonly byteLevel: boolean;
}

/** What GPT-2 cuts at; tokenizer.json names it with `"use_regex": true`. */
const GPT2 =
  /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const METASPACE = "\u2581";

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
      return { splitters: parts.flatMap((part) => part.splitters), byteLevel: parts.some((part) => part.byteLevel) };
    }
    case "Split":
      return splitting(
        splitBy(
          readPattern(fields.pattern, "pre_tokenizer.pattern"),
          readBehavior(fields),
          asFlag(fields.invert, false, "pre_tokenizer.invert"),
        ),
      );
    case "Digits": {
      const individual = asFlag(fields.individual_digits, false, "pre_tokenizer.individual_digits");
      return splitting(splitBy(/\p{N}/gu, individual ? "Isolated" : "Contiguous", false));
    }
    case "Punctuation":
      return splitting(splitBy(/[\p{P}$+<=>^`|~]/gu, readBehavior(fields), false));
    case "WhitespaceSplit":
      return splitting(splitBy(/\p{White_Space}/gu, "Removed", false));
    case "ByteLevel": {
      const splitters: Splitter[] = [];
      if (asFlag(fields.add_prefix_space, true, "pre_tokenizer.add_prefix_space")) {
        splitters.push((input) => [input.text.startsWith(" ") ? input : prependAligned(input, " ")]);
      }
      if (asFlag(fields.use_regex, true, "pre_tokenizer.use_regex")) splitters.push(splitBy(GPT2, "Isolated", false));
      return { splitters, byteLevel: true };
    }
    case "Metaspace":
      return { splitters: metaspace(fields), byteLevel: false };
    default:
      throw unsupportedTokenizer(`the pre-tokenizer ${type}`);
  }
}

type Behavior = "Removed" | "Isolated" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

function splitting(splitter: Splitter): PreTokenizer {
  return { splitters: [splitter], byteLevel: false };
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
  return (input) => {
    const ranges: Range[] = [];
    let from = 0;
    pattern.lastIndex = 0;
    for (let match = pattern.exec(input.text); match; match = pattern.exec(input.text)) {
      const end = match.index + match[0].length;
      if (match.index > from) ranges.push({ start: from, end: match.index, matched: invert });
      if (end > match.index) ranges.push({ start: match.index, end, matched: !invert });
      else pattern.lastIndex = end + ((input.text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1);
      from = end;
    }
    if (from < input.text.length) ranges.push({ start: from, end: input.text.length, matched: invert });
    return joinRanges(ranges, behavior).map(({ start, end }) => sliceAligned(input, start, end));
  };
}

interface Range {
  start: number;
  end: number;
  matched: boolean;
}

function joinRanges(ranges: readonly Range[], behavior: Behavior): readonly Range[] {
  if (behavior === "Isolated") return ranges;
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
    (input, atStart) => {
      const marked = replaceAligned(input, / /g, () => METASPACE);
      const prepend =
        (scheme === "always" || (scheme === "first" && atStart)) && marked.text !== "" && !marked.text.startsWith(METASPACE);
      return [prepend ? prependAligned(marked, METASPACE) : marked];
    },
  ];
  if (asFlag(fields.split, true, "pre_tokenizer.split")) splitters.push(splitBy(/\u2581/gu, "MergedWithNext", false));
  return splitters;
}
