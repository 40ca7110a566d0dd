// What pre-tokenizer patterns tell characters apart by. The order matters: letters, then marks, ..., blanks last.

/** \p{Ll} */
export const LOWER = 0;
/** \p{Lu} and \p{Lt} */
export const UPPER = 1;
/** \p{Lm} and \p{Lo}: letters without case. */
export const CASELESS = 2;
/** \p{M} */
export const MARK = 3;
/** \p{N} */
export const NUMBER = 4;
/** Everything else that is not blank. */
export const OTHER = 5;
/** \p{White_Space} without \r and \n. */
export const BLANK = 6;
/** \r and \n */
export const NEWLINE = 7;
/** Only in `byteClasses`: a byte of a character beyond ASCII. */
export const BEYOND_ASCII = 8;

const blocks: (Uint8Array | undefined)[] = new Array<Uint8Array | undefined>(0x1100).fill(undefined);

/** In this order, each writes over the ones before. */
const PROPERTIES: readonly (readonly [RegExp, number])[] = [
  [/\p{Ll}+/gu, LOWER],
  [/[\p{Lu}\p{Lt}]+/gu, UPPER],
  [/[\p{Lm}\p{Lo}]+/gu, CASELESS],
  [/\p{M}+/gu, MARK],
  [/\p{N}+/gu, NUMBER],
  [/\p{White_Space}+/gu, BLANK],
  [/[\r\n]+/gu, NEWLINE],
];

/** Class of each ASCII byte; `BEYOND_ASCII` for others. */
export const byteClasses: Uint8Array = makeByteClasses();

/**
 * Class of a character by its code point: two stages, blocks of 256 filled from the Unicode properties of the JavaScript
 * engine when a character of theirs is first asked for.
 */
export function classOf(code: number): number {
  const block = blocks[code >> 8];
  return (block ?? fillBlock(code >> 8))[code & 255];
}

function fillBlock(index: number): Uint8Array {
  const classes = new Uint8Array(256).fill(OTHER);
  const first = index << 8;
  // Surrogates have no class of their own and do not occur in UTF-8.
  if (first < 0xd800 || first > 0xdfff) {
    const width = first > 0xffff ? 2 : 1;
    const text = String.fromCodePoint(...Array.from({ length: 256 }, (_, i) => first + i));
    for (const [pattern, value] of PROPERTIES)
      for (const match of text.matchAll(pattern))
        classes.fill(value, match.index / width, (match.index + match[0].length) / width);
  }
  blocks[index] = classes;
  return classes;
}

function makeByteClasses(): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (byte < 0x80 ? classOf(byte) : BEYOND_ASCII));
}
