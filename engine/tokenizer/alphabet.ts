/**
 * Tells characters apart as far as a pattern does: those that lie in the same of its sets share a column. Characters are
 * looked up with the regular expressions of the sets, 256 at a time, when one of them is first asked for.
 */
export class Alphabet {
  /** Column of each ASCII byte; `BEYOND_ASCII` for others. */
  readonly byteColumns: Uint16Array;
  private readonly tests: readonly RegExp[];
  private readonly blocks = new Map<number, Uint16Array>();
  private readonly columns = new Map<number, number>();
  /** For every column the sum of 2 ** set over the sets its characters are in; the end of the text is in none. */
  private readonly members: number[] = [0];

  /** `sets`: at most MAX_SETS sources of regular expressions, each for one character. */
  constructor(sets: readonly string[]) {
    this.tests = sets.map((source) => new RegExp(`(?:${source})+`, "gu"));
    const latin = this.blockOf(0);
    this.byteColumns = Uint16Array.from({ length: 256 }, (_, byte) => (byte < 0x80 ? latin[byte] : BEYOND_ASCII));
    this.classify(Array.from(COMMON_KINDS, (char) => char.codePointAt(0) ?? 0));
  }

  /** How many columns there are so far; column 0 is the end of the text. */
  get size(): number {
    return this.members.length;
  }

  /** Columns of the 256 characters around one, from the code point on that is a multiple of 256. */
  blockOf(code: number): Uint16Array {
    const index = code >> 8;
    const known = this.blocks.get(index);
    if (known) return known;
    // Surrogates do not occur in UTF-8.
    const codes = Array.from({ length: 256 }, (_, i) => (index >= 0xd8 && index < 0xe0 ? 0xfffd : (index << 8) + i));
    const block = this.classify(codes);
    this.blocks.set(index, block);
    return block;
  }

  eachBlock(visit: (first: number, columns: Uint16Array) => void): void {
    for (const [index, block] of this.blocks) visit(index << 8, block);
  }

  /** Whether the characters of a column are in a set. */
  has(column: number, set: number): boolean {
    return Math.floor(this.members[column] / 2 ** set) % 2 === 1;
  }

  /** Columns of characters that are all below U+10000 or all above. */
  private classify(codes: readonly number[]): Uint16Array {
    const text = String.fromCodePoint(...codes);
    const width = text.length / codes.length;
    const members = new Float64Array(codes.length);
    this.tests.forEach((test, set) => {
      test.lastIndex = 0;
      for (let match = test.exec(text); match; match = test.exec(text))
        for (let i = match.index / width; i < test.lastIndex / width; i++) members[i] += 2 ** set;
    });
    return Uint16Array.from(members, (of) => this.columnFor(of));
  }

  private columnFor(members: number): number {
    const known = this.columns.get(members);
    if (known !== undefined) return known;
    const column = this.members.push(members) - 1;
    this.columns.set(members, column);
    return column;
  }
}

/** Sums of more powers of two are not exact. */
export const MAX_SETS = 52;
const BEYOND_ASCII = 0xffff;

/** Of most kinds that patterns tell apart one character, so that their columns are known before text turns up. */
const COMMON_KINDS =
  "\u01c5\u02b0\u4e2d\u3042\uac00\u0416\u0436\u0301\u0903\u0663\u00bd\u2167\u00a0\u2028\u2014\u20ac\ufffd\u017f\u212a\ufeff";
