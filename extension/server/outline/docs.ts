import type { Rows } from "./rules.ts";

/** A sentence is kept up to this many lines. */
const MOST_LINES = 2;

/** What stands in front of the words of a comment or a documentation string, in any of the languages. */
const OPENING = /^\s*(?:\/\*+!?|\*+(?!\/)|\/\/+!?|#+(?!!)|[rRuUbBfF]{0,2}(?:"""|'''|"|'))?(?:\s*[@\\]brief\b)?\s*/;
const CLOSING = /\s*(?:\*+\/|"""|'''|"|')\s*$/;
const TAGS = /<\/?[a-zA-Z][^>]*>/g;
const SENTENCE_END = /[.!?:;。！？]["')\]]*(?:\s|$)/;
/** A line of a doc comment that begins another subject than its first sentence. */
const SECTION = /^(?:@|\\[a-z]|[-*=_~]{2}|:\w+|(?:Args|Arguments|Parameters|Returns|Example|Examples)\b)/;

/** Comments that speak to a tool. */
const DIRECTIVE =
  /^(?:#!|eslint\b|eslint-|prettier-|biome-|tslint:|jshint\b|jslint\b|globals?\s|istanbul\b|[cv]8 ignore|@?ts-(?:ignore|expect|nocheck|check)|@jsx|@flow\b|@generated\b|<reference\b|[#@]__|#?(?:end)?region\b|#?\s*sourceMapping|noqa\b|type:\s*ignore|pylint:|mypy:|ruff:|fmt:|isort:|pragma\b|-\*-|vim?:|(?:file)?encoding:|coding[:=]|frozen_string_literal:|rubocop:|typed:|go:|\+build\b|nolint\b|NOLINT|clang-format\b|shellcheck\b|phpcs:|phpstan-|@phpstan-|psalm-)/i;

const LICENSE =
  /\blicen[sc]e[ds]?\b|\bcopyright\b|\(c\)\s+\d{4}|©|\bSPDX-|all rights reserved|\bwarrant(?:y|ies)\b|permission is hereby granted/i;

/**
 * The lines of the first sentence of a comment or documentation string, at most MOST_LINES of them; undefined where it has
 * no words or speaks to a tool. `lines` are those of the file, without their ends.
 */
export function firstSentence(lines: readonly string[], { first, last }: Rows): Rows | undefined {
  for (let row = first; row <= last; row++) {
    const words = wordsOf(lines[row]);
    if (DIRECTIVE.test(words)) continue;
    if (/\p{L}/u.test(words)) return { first: row, last: sentenceEnd(lines, row, last) };
  }
  return undefined;
}

export function isLicense(lines: readonly string[], { first, last }: Rows): boolean {
  return LICENSE.test(lines.slice(first, last + 1).join("\n"));
}

function sentenceEnd(lines: readonly string[], first: number, last: number): number {
  let row = first;
  while (row < last && row - first + 1 < MOST_LINES && !SENTENCE_END.test(wordsOf(lines[row]))) {
    const next = wordsOf(lines[row + 1]);
    if (!/\p{L}/u.test(next) || SECTION.test(next) || DIRECTIVE.test(next)) break;
    row++;
  }
  return row;
}

function wordsOf(line: string): string {
  // A comment in a giant line is in no outline; its first words are enough to say what it is.
  return line.slice(0, 400).replace(OPENING, "").replace(CLOSING, "").replace(TAGS, "").trim();
}
