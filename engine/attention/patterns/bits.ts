/** Sets of keys, distances or blocks as bits: bit n is bit n % 32 of word n / 32. */

/** At least ceil(count / 32) words; the same array again until a larger one is asked for. */
export type Bits = (count: number) => Uint32Array<ArrayBuffer>;

/** The numbers for which `has` is true. Words grow by doubling, because every chunk of a prompt asks for a few more. */
export function bitsWhere(has: (index: number) => boolean): Bits {
  let words = new Uint32Array(0);
  return (count) => {
    const needed = Math.ceil(count / 32);
    if (needed <= words.length) return words;
    const grown = new Uint32Array(Math.max(needed, 2 * words.length));
    grown.set(words);
    for (let index = 32 * words.length; index < 32 * grown.length; index++) if (has(index)) setBit(grown, index);
    words = grown;
    return words;
  };
}

/** The numbers of a list, in any order. */
export function bitsOf(list: ArrayLike<number>): Bits {
  let words = new Uint32Array(0);
  return (count) => {
    const needed = Math.ceil(count / 32);
    if (needed <= words.length) return words;
    words = new Uint32Array(Math.max(needed, 2 * words.length));
    for (let at = 0; at < list.length; at++) if (list[at] < 32 * words.length) setBit(words, list[at]);
    return words;
  };
}

export function hasBit(words: Uint32Array, index: number): boolean {
  return ((words[index >>> 5] >>> (index & 31)) & 1) === 1;
}

function setBit(words: Uint32Array, index: number): void {
  words[index >>> 5] |= 1 << (index & 31);
}

/** 64 bits of FNV-1a over the numbers of several lists, so that a pattern made of long ones has a short key. */
export function digest(lists: readonly ArrayLike<number>[]): string {
  let [low, high] = [0x811c9dc5, 0x01000193];
  const add = (value: number): void => {
    low = Math.imul(low ^ value, 0x01000193) >>> 0;
    high = Math.imul(high ^ (value + low), 0x85ebca6b) >>> 0;
    high = (high ^ (high >>> 15)) >>> 0;
  };
  for (const list of lists) {
    add(list.length);
    for (let at = 0; at < list.length; at++) add(list[at]);
  }
  return low.toString(16).padStart(8, "0") + high.toString(16).padStart(8, "0");
}
