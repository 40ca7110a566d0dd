/**
 * Tells characters apart as far as a pattern does: those that lie in the same of its sets share a column. Characters are
 * looked up with the regular expressions of the sets, 256 at a time, when one of them is first asked for.
 */
export class Alphabet {
  /** Column of each ASCII byte; `BEYOND_ASCII` for others. */
  readonly byteColumns: Uint16Array;
  private readonly tests: readonly RegExp[];
  private readonly blocks = new Array<Uint16Array | undefined>(0x1100).fill(undefined);
  private readonly columns = new Map<string, number>();
  /** For every column which sets its characters are in, a "1" for each; the end of the text is in none. */
  private readonly members: string[] = [""];

  /** `sets`: sources of regular expressions, each for one character. */
  constructor(sets: readonly string[]) {
    this.tests = sets.map((source) => new RegExp(`(?:${source})+`, "gu"));
    const latin = this.block(0);
    this.byteColumns = Uint16Array.from({ length: 256 }, (_, byte) => (byte < 0x80 ? latin[byte] : BEYOND_ASCII));
    this.classify(Array.from(COMMON_KINDS, (char) => char.codePointAt(0) ?? 0));
  }

  /** How many columns there are so far. */
  get size(): number {
    return this.members.length;
  }

  columnOf(code: number): number {
    return (this.blocks[code >> 8] ?? this.block(code >> 8))[code & 255];
  }

  /** Whether the characters of a column are in a set. */
  has(column: number, set: number): boolean {
    return this.members[column].charAt(set) === "1";
  }

  /** Calls `visit` with the first character of every 256 whose columns are known, and the columns. */
  eachBlock(visit: (first: number, columns: Uint16Array) => void): void {
    this.blocks.forEach((block, index) => {
      if (block) visit(index << 8, block);
    });
  }

  private block(index: number): Uint16Array {
    const first = index << 8;
    // Surrogates do not occur in UTF-8.
    const codes = Array.from({ length: 256 }, (_, i) => (first + i >= 0xd800 && first + i < 0xe000 ? 0xfffd : first + i));
    const block = this.classify(codes);
    this.blocks[index] = block;
    return block;
  }

  /** Columns of characters that are all below U+10000 or all above. */
  private classify(codes: readonly number[]): Uint16Array {
    const text = String.fromCodePoint(...codes);
    const width = text.length / codes.length;
    const members = codes.map(() => "");
    for (const test of this.tests) {
      let done = 0;
      test.lastIndex = 0;
      for (let match = test.exec(text); match; match = test.exec(text)) {
        for (; done < match.index / width; done++) members[done] += "0";
        for (; done < test.lastIndex / width; done++) members[done] += "1";
      }
      for (; done < codes.length; done++) members[done] += "0";
    }
    return Uint16Array.from(members, (of) => this.columnFor(of));
  }

  private columnFor(members: string): number {
    const known = this.columns.get(members);
    if (known !== undefined) return known;
    const column = this.members.push(members) - 1;
    this.columns.set(members, column);
    return column;
  }
}

const BEYOND_ASCII = 0xffff;

/** Of most kinds that patterns tell apart one character, so that their columns are known before text turns up. */
const COMMON_KINDS =
  "\u01c5\u02b0\u4e2d\u3042\uac00\u0416\u0436\u0301\u0903\u0663\u00bd\u2167\u00a0\u2028\u2014\u20ac\ufffd\u017f\u212a\ufeff";
