import {
  BEYOND_ASCII,
  BLANK,
  byteClasses,
  CASELESS,
  classOf,
  LOWER,
  MARK,
  NEWLINE,
  NUMBER,
  OTHER,
  UPPER,
} from "./charClasses.ts";

/**
 * Cuts UTF-8 into the pieces that a pre-tokenizer pattern cuts it into, without a regular expression: every byte is looked
 * at a bounded number of times, whatever the text.
 */
export abstract class PieceScanner {
  /** Turns false at the first byte that is not UTF-8; what was cut from there on means nothing. */
  valid = true;
  /** Where the character last decoded ends. */
  protected after = 0;

  /** Where the piece ends that begins at `at`, which is below `limit`; every byte belongs to a piece. */
  abstract pieceEnd(bytes: Uint8Array, at: number, limit: number): number;

  /** Class of the character at `at`; `after` is set to its end. */
  protected classAt(bytes: Uint8Array, at: number, limit: number): number {
    const known = byteClasses[bytes[at]];
    if (known === BEYOND_ASCII) return this.decode(bytes, at, limit);
    this.after = at + 1;
    return known;
  }

  /** End of a run of letters. */
  protected letters(bytes: Uint8Array, at: number, limit: number): number {
    let end = at;
    while (end < limit) {
      const known = byteClasses[bytes[end]];
      if (known <= CASELESS) end++;
      else if (known !== BEYOND_ASCII || this.decode(bytes, end, limit) > CASELESS) break;
      else end = this.after;
    }
    return end;
  }

  /** End of a run of at most `most` digits. */
  protected digits(bytes: Uint8Array, at: number, limit: number, most: number): number {
    let end = at;
    for (let count = 0; count < most && end < limit && this.classAt(bytes, end, limit) === NUMBER; count++) end = this.after;
    return end;
  }

  /** End of a run of what is neither blank, letter nor digit. */
  protected others(bytes: Uint8Array, at: number, limit: number): number {
    let end = at;
    while (end < limit) {
      const known = this.classAt(bytes, end, limit);
      if (known !== OTHER && known !== MARK) break;
      end = this.after;
    }
    return end;
  }

  /**
   * A run of blanks: up to its last line break where `breaks` is set and it has one (`\s*[\r\n]+`), else all of it at the
   * end of the text or where it is one character, else all but the last (`\s+(?!\S)|\s+`).
   */
  protected blanks(bytes: Uint8Array, at: number, limit: number, breaks: boolean): number {
    let end = at;
    let last = at;
    let broken = -1;
    while (end < limit) {
      const known = this.classAt(bytes, end, limit);
      if (known < BLANK) break;
      last = end;
      end = this.after;
      if (known === NEWLINE) broken = end;
    }
    if (breaks && broken >= 0) return broken;
    return end === limit || last === at ? end : last;
  }

  /** End of 's, 't, 're, 've, 'm, 'll or 'd at an apostrophe, or `at` where none stands there. */
  protected contraction(bytes: Uint8Array, at: number, limit: number, anyCase: boolean): number {
    if (at + 1 >= limit) return at;
    const fold = anyCase ? 0x20 : 0;
    const first = bytes[at + 1] | fold;
    if (first === S || first === T || first === M || first === D) return at + 2;
    // U+017F, the long s, is an s in another case.
    if (anyCase && bytes[at + 1] === 0xc5 && bytes[at + 2] === 0xbf) return at + 3;
    if (at + 2 >= limit) return at;
    const second = bytes[at + 2] | fold;
    const found = first === L ? second === L : (first === R || first === V) && second === E;
    return found ? at + 3 : at;
  }

  /** Class of a character beyond ASCII. */
  protected decode(bytes: Uint8Array, at: number, limit: number): number {
    const lead = bytes[at];
    const left = limit - at;
    if (lead >= 0xc2 && lead < 0xe0) {
      if (left > 1 && isTail(bytes[at + 1])) {
        this.after = at + 2;
        return classOf(((lead & 0x1f) << 6) | (bytes[at + 1] & 0x3f));
      }
    } else if (lead >= 0xe0 && lead < 0xf0) {
      if (left > 2 && isTail(bytes[at + 1]) && isTail(bytes[at + 2])) {
        const code = ((lead & 0x0f) << 12) | ((bytes[at + 1] & 0x3f) << 6) | (bytes[at + 2] & 0x3f);
        if (code >= 0x800 && (code < 0xd800 || code > 0xdfff)) {
          this.after = at + 3;
          return classOf(code);
        }
      }
    } else if (lead >= 0xf0 && lead < 0xf5) {
      if (left > 3 && isTail(bytes[at + 1]) && isTail(bytes[at + 2]) && isTail(bytes[at + 3])) {
        const code =
          ((lead & 0x07) << 18) | ((bytes[at + 1] & 0x3f) << 12) | ((bytes[at + 2] & 0x3f) << 6) | (bytes[at + 3] & 0x3f);
        if (code >= 0x10000 && code <= 0x10ffff) {
          this.after = at + 4;
          return classOf(code);
        }
      }
    }
    this.valid = false;
    this.after = at + 1;
    return OTHER;
  }
}

/** GPT-2 and its many heirs. */
class Gpt2Scanner extends PieceScanner {
  pieceEnd(bytes: Uint8Array, at: number, limit: number): number {
    const first = bytes[at];
    if (first === APOSTROPHE) {
      const end = this.contraction(bytes, at, limit, false);
      if (end > at) return end;
    }
    let known = this.classAt(bytes, at, limit);
    let start = this.after;
    if (first === SPACE && start < limit) {
      const next = this.classAt(bytes, start, limit);
      if (next < BLANK) {
        known = next;
        start = this.after;
      }
    }
    if (known <= CASELESS) return this.letters(bytes, start, limit);
    if (known === NUMBER) return this.digits(bytes, start, limit, Infinity);
    return known >= BLANK ? this.blanks(bytes, at, limit, false) : this.others(bytes, start, limit);
  }
}

/** cl100k, Llama 3, Qwen 2 and others, which differ in how many digits go together. */
class Cl100kScanner extends PieceScanner {
  /** `wholeEnd`: blanks at the end of the text are one piece even where they hold line breaks. */
  constructor(
    private readonly digitsPerPiece: number,
    private readonly wholeEnd: boolean,
  ) {
    super();
  }

  pieceEnd(bytes: Uint8Array, at: number, limit: number): number {
    const first = bytes[at];
    if (first === APOSTROPHE) {
      const end = this.contraction(bytes, at, limit, true);
      if (end > at) return end;
    }
    const known = this.classAt(bytes, at, limit);
    const start = this.after;
    if (known <= CASELESS) return this.letters(bytes, start, limit);
    if (known === NUMBER) return this.digits(bytes, at, limit, this.digitsPerPiece);
    const next = start < limit ? this.classAt(bytes, start, limit) : NEWLINE;
    if (next <= CASELESS && known !== NEWLINE) return this.letters(bytes, this.after, limit);
    if (known >= BLANK && (first !== SPACE || (next !== OTHER && next !== MARK))) return this.blankPiece(bytes, at, limit);
    let end = this.others(bytes, start, limit);
    while (end < limit && byteClasses[bytes[end]] === NEWLINE) end++;
    return end;
  }

  private blankPiece(bytes: Uint8Array, at: number, limit: number): number {
    if (this.wholeEnd) {
      let end = at;
      while (end < limit && this.classAt(bytes, end, limit) >= BLANK) end = this.after;
      if (end === limit) return end;
    }
    return this.blanks(bytes, at, limit, true);
  }
}

/** o200k: words begin anew where a capital follows a small letter, and take their contraction with them. */
class O200kScanner extends PieceScanner {
  pieceEnd(bytes: Uint8Array, at: number, limit: number): number {
    const classes = byteClasses;
    let known = classes[bytes[at]];
    let end = at + 1;
    if (known >= NUMBER) {
      if (known === BEYOND_ASCII) return this.anyPiece(bytes, at, limit);
      let next = end < limit ? classes[bytes[end]] : NEWLINE;
      if (next <= UPPER && known !== NEWLINE && known !== NUMBER) {
        known = next;
        end++;
      } else if (known === OTHER) {
        while (next === OTHER) {
          end++;
          next = end < limit ? classes[bytes[end]] : NUMBER;
        }
        if (next === BEYOND_ASCII) return this.anyPiece(bytes, at, limit);
        while (end < limit && (classes[bytes[end]] === NEWLINE || bytes[end] === SLASH)) end++;
        return end;
      } else {
        return this.anyPiece(bytes, at, limit);
      }
    }
    if (known === UPPER) {
      while (end < limit && (known = classes[bytes[end]]) === UPPER) end++;
    }
    if (known === LOWER) {
      while (end < limit && (known = classes[bytes[end]]) === LOWER) end++;
    }
    if (known === BEYOND_ASCII) return this.anyPiece(bytes, at, limit);
    return end < limit && bytes[end] === APOSTROPHE ? this.contraction(bytes, end, limit, true) : end;
  }

  private anyPiece(bytes: Uint8Array, at: number, limit: number): number {
    const first = bytes[at];
    const known = this.classAt(bytes, at, limit);
    if (known <= MARK) return this.word(bytes, at, limit);
    const start = this.after;
    if (known === NUMBER) return this.digits(bytes, at, limit, 3);
    const next = start < limit ? this.classAt(bytes, start, limit) : NEWLINE;
    if (next <= MARK && known !== NEWLINE) return this.word(bytes, start, limit);
    if (known >= BLANK && (first !== SPACE || next !== OTHER)) return this.blanks(bytes, at, limit, true);
    let end = this.others(bytes, start, limit);
    while (end < limit && (byteClasses[bytes[end]] === NEWLINE || bytes[end] === SLASH)) end++;
    return end;
  }

  /**
   * `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` or else `[\p{Lu}...]+[\p{Ll}...]*`, at a letter or mark.
   * Where no small letter follows the first run, it must give back what is also in the second: it ends behind its last
   * letter without case or mark, if it has one.
   */
  private word(bytes: Uint8Array, at: number, limit: number): number {
    let end = at;
    let caseless = -1;
    let known: number = OTHER;
    while (end < limit) {
      known = this.classAt(bytes, end, limit);
      if (known === LOWER || known > MARK) break;
      end = this.after;
      if (known !== UPPER) caseless = end;
    }
    if (end < limit && known === LOWER) {
      end = this.lowers(bytes, end, limit);
    } else if (caseless >= 0) {
      end = caseless;
    }
    return end < limit && bytes[end] === APOSTROPHE ? this.contraction(bytes, end, limit, true) : end;
  }

  private lowers(bytes: Uint8Array, at: number, limit: number): number {
    let end = at;
    while (end < limit) {
      const byte = byteClasses[bytes[end]];
      if (byte === LOWER) end++;
      else if (byte !== BEYOND_ASCII) break;
      else {
        const known = this.decode(bytes, end, limit);
        if (known === UPPER || known > MARK) break;
        end = this.after;
      }
    }
    return end;
  }
}

const isTail = (byte: number): boolean => (byte & 0xc0) === 0x80;

const APOSTROPHE = 0x27;
const SPACE = 0x20;
const SLASH = 0x2f;
const [S, T, M, D, L, R, V, E] = [0x73, 0x74, 0x6d, 0x64, 0x6c, 0x72, 0x76, 0x65];

const ANY_CASE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const BLANKS = String.raw`\s+(?!\S)|\s+`;
const GPT2_TAIL = String.raw` ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|${BLANKS}`;
const WORD_OR_DIGIT = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}`;
const OTHERS = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*`;
const CL100K_TAIL = String.raw`${OTHERS}|\s*[\r\n]+|${BLANKS}`;
const PREFIX = String.raw`[^\r\n\p{L}\p{N}]?`;
const UPPERS = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWERS = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;

/** Pattern texts as model files write them, and scanners that cut the same. */
const SCANNERS: ReadonlyMap<string, () => PieceScanner> = new Map<string, () => PieceScanner>([
  [`'(?:[sdmt]|ll|ve|re)|${GPT2_TAIL}`, () => new Gpt2Scanner()],
  [`'s|'t|'re|'ve|'m|'ll|'d|${GPT2_TAIL}`, () => new Gpt2Scanner()],
  [`${ANY_CASE}|${WORD_OR_DIGIT}{1,3}|${CL100K_TAIL}`, () => new Cl100kScanner(3, false)],
  [`'(?i:[sdmt]|ll|ve|re)|${WORD_OR_DIGIT}{1,3}|${CL100K_TAIL}`, () => new Cl100kScanner(3, false)],
  [
    String.raw`'(?i:[sdmt]|ll|ve|re)|${WORD_OR_DIGIT}{1,3}|${OTHERS}|\s+(?![\s\S])|\s*[\r\n]|\s+(?!\S)|\s`,
    () => new Cl100kScanner(3, true),
  ],
  [`${ANY_CASE}|${WORD_OR_DIGIT}|${CL100K_TAIL}`, () => new Cl100kScanner(1, false)],
  [
    String.raw`${PREFIX}${UPPERS}*${LOWERS}+${ANY_CASE}?|${PREFIX}${UPPERS}+${LOWERS}*${ANY_CASE}?|\p{N}{1,3}|` +
      String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|${BLANKS}`,
    () => new O200kScanner(),
  ],
]);

/** A scanner that cuts as the pattern does, or undefined where the pattern is not one of the known ones. */
export function scannerFor(pattern: string): PieceScanner | undefined {
  return SCANNERS.get(pattern)?.();
}
