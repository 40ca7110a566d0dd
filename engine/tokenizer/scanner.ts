import { Alphabet, BEYOND_ASCII, END } from "./alphabet.ts";
import { Automaton, BACK, CUT, KEEP } from "./automaton.ts";
import { type Pattern, readPatternSource } from "./pattern.ts";

/** Cuts UTF-8 into pieces. */
export interface PieceScanner {
  /** Turns false at the first byte that is not UTF-8; what was cut from there on means nothing. */
  valid: boolean;
  /** Where the piece ends that begins at `at`, which is below `limit`; every byte of first..limit belongs to a piece. */
  pieceEnd(bytes: Uint8Array, at: number, limit: number, first: number): number;
}

/**
 * Cuts at what a pattern matches and at what lies between, as a regular expression would, by an automaton over the bytes:
 * a character is looked at once or twice, whatever the text.
 */
export class PatternScanner implements PieceScanner {
  valid = true;
  private readonly alphabet: Alphabet;
  private automaton: Automaton;
  private readonly looksBehind: boolean;
  /** Where the character last decoded ends. */
  private after = 0;

  constructor(private readonly pattern: Pattern) {
    this.alphabet = new Alphabet(pattern.sets);
    this.automaton = new Automaton(pattern, this.alphabet);
    this.looksBehind = pattern.steps.some((step) => step.kind === "look" && !step.ahead);
  }

  pieceEnd(bytes: Uint8Array, at: number, limit: number, first: number): number {
    const end = this.matchEnd(bytes, at, limit, first);
    return end > at ? end : this.gapEnd(bytes, at, limit, first);
  }

  /** End of the match that begins at `at`, or `at` where none does. */
  private matchEnd(bytes: Uint8Array, at: number, limit: number, first: number): number {
    const { byteColumns } = this.alphabet;
    const before = this.looksBehind ? this.columnBefore(bytes, at, first) : END;
    const { table, starts } = this.automaton;
    let state = starts[before];
    let kept = at;
    for (let end = at; ;) {
      let column = end < limit ? byteColumns[bytes[end]] : END;
      let next = end + 1;
      if (column === BEYOND_ASCII) {
        column = this.decode(bytes, end, limit);
        next = this.after;
        if (column >= this.automaton.columns) return this.relearn(bytes, at, limit, first);
      }
      state = table[state + column];
      if (state >= KEEP) {
        if (state === CUT) return end;
        if (state === BACK) return kept;
        kept = end;
        state -= KEEP;
      }
      end = next;
    }
  }

  /** Up to the next place where something matches. */
  private gapEnd(bytes: Uint8Array, at: number, limit: number, first: number): number {
    let end = at;
    do {
      this.columnAt(bytes, end, limit);
      end = this.after;
    } while (end < limit && this.matchEnd(bytes, end, limit, first) === end);
    return end;
  }

  /** A character of a kind that did not occur before changes the automaton. */
  private relearn(bytes: Uint8Array, at: number, limit: number, first: number): number {
    this.automaton = new Automaton(this.pattern, this.alphabet);
    return this.matchEnd(bytes, at, limit, first);
  }

  private columnBefore(bytes: Uint8Array, at: number, first: number): number {
    if (at === first) return END;
    let start = at - 1;
    while (start > first && isTail(bytes[start])) start--;
    const column = this.columnAt(bytes, start, at);
    if (column >= this.automaton.columns) this.automaton = new Automaton(this.pattern, this.alphabet);
    return column;
  }

  /** Column of the character at `at`; `after` is set to its end. */
  private columnAt(bytes: Uint8Array, at: number, limit: number): number {
    const column = this.alphabet.byteColumns[bytes[at]];
    if (column === BEYOND_ASCII) return this.decode(bytes, at, limit);
    this.after = at + 1;
    return column;
  }

  private decode(bytes: Uint8Array, at: number, limit: number): number {
    const lead = bytes[at];
    const left = limit - at;
    if (lead >= 0xc2 && lead < 0xe0) {
      if (left > 1 && isTail(bytes[at + 1])) {
        this.after = at + 2;
        return this.alphabet.columnOf(((lead & 0x1f) << 6) | (bytes[at + 1] & 0x3f));
      }
    } else if (lead >= 0xe0 && lead < 0xf0) {
      if (left > 2 && isTail(bytes[at + 1]) && isTail(bytes[at + 2])) {
        const code = ((lead & 0x0f) << 12) | ((bytes[at + 1] & 0x3f) << 6) | (bytes[at + 2] & 0x3f);
        if (code >= 0x800 && (code < 0xd800 || code > 0xdfff)) {
          this.after = at + 3;
          return this.alphabet.columnOf(code);
        }
      }
    } else if (lead >= 0xf0 && lead < 0xf5) {
      if (left > 3 && isTail(bytes[at + 1]) && isTail(bytes[at + 2]) && isTail(bytes[at + 3])) {
        const code =
          ((lead & 0x07) << 18) | ((bytes[at + 1] & 0x3f) << 12) | ((bytes[at + 2] & 0x3f) << 6) | (bytes[at + 3] & 0x3f);
        if (code >= 0x10000 && code <= 0x10ffff) {
          this.after = at + 4;
          return this.alphabet.columnOf(code);
        }
      }
    }
    this.valid = false;
    this.after = at + 1;
    return this.alphabet.columnOf(0xfffd);
  }
}

const isTail = (byte: number): boolean => (byte & 0xc0) === 0x80;

/** Cuts the pieces of one scanner with another. Pieces must be asked for in order. */
class NestedScanner implements PieceScanner {
  private first = 0;
  private end = 0;

  constructor(
    private readonly outer: PieceScanner,
    private readonly inner: PieceScanner,
  ) {}

  get valid(): boolean {
    return this.outer.valid && this.inner.valid;
  }

  set valid(valid: boolean) {
    this.outer.valid = valid;
    this.inner.valid = valid;
  }

  pieceEnd(bytes: Uint8Array, at: number, limit: number, first: number): number {
    if (at === first || at === this.end) {
      this.first = at;
      this.end = this.outer.pieceEnd(bytes, at, limit, first);
    }
    return this.inner.pieceEnd(bytes, at, this.end, this.first);
  }
}

/**
 * A scanner that cuts as regular expressions with the flag `u` do, each the pieces of the one before; undefined where there
 * are none or one asks for more than an automaton can do.
 */
export function scannerFor(regexes: readonly RegExp[]): PieceScanner | undefined {
  const scanners: PieceScanner[] = [];
  for (const { source } of regexes) {
    const pattern = readPatternSource(source);
    const scanner = pattern && patternScanner(pattern);
    if (!scanner) return undefined;
    scanners.push(scanner);
  }
  return scanners.length === 0 ? undefined : scanners.reduce((outer, inner) => new NestedScanner(outer, inner));
}

function patternScanner(pattern: Pattern): PieceScanner | undefined {
  try {
    return new PatternScanner(pattern);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
