import { sliceAligned } from "./aligned.ts";
import type { Splitter } from "./preTokenizers.ts";

/**
 * Cuts a SentencePiece text between two characters that stand side by side in no token of the vocabulary. No token reaches
 * over such a place, so that the tokens are the same with and without the cuts, and words can be remembered. Looks at ASCII
 * and U+2581, and only at characters that are tokens themselves, because unknown ones in a row become one token.
 */
export function tokenBorders(contents: Iterable<string>): Splitter {
  const known = new Uint8Array(CHARS);
  const joined = new Uint8Array(CHARS * CHARS);
  for (const content of contents) {
    if (content.length === 1) known[indexOf(content, 0)] = 1;
    for (let i = 1; i < content.length; i++) joined[indexOf(content, i - 1) * CHARS + indexOf(content, i)] = 1;
  }
  const border = joined.map((is, pair) => (is === 0 && isKnown(Math.floor(pair / CHARS)) && isKnown(pair % CHARS) ? 1 : 0));
  return (input, _, emit) => {
    const { text } = input;
    let from = 0;
    for (let i = 1, left = indexOf(text, 0); i < text.length; i++) {
      const right = indexOf(text, i);
      if (border[left * CHARS + right] === 1) {
        emit(sliceAligned(input, from, i));
        from = i;
      }
      left = right;
    }
    if (from < text.length) emit(sliceAligned(input, from, text.length));
  };

  function isKnown(index: number): boolean {
    return index !== OTHERS && known[index] === 1;
  }
}

/** ASCII, U+2581, and everything else. */
const CHARS = 130;
const METASPACE = 128;
const OTHERS = 129;

function indexOf(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < 128 ? code : code === 0x2581 ? METASPACE : OTHERS;
}
