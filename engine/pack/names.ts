/** The names of one file, each as a number (see `nameId`), once and in ascending order. */
export interface NamesOfText {
  definitions: Int32Array<ArrayBuffer>;
  references: Int32Array<ArrayBuffer>;
}

/**
 * A name as a 32-bit number (FNV-1a over its UTF-16 units): ranking compares millions of names, and keeps those of a whole workspace. Two of
 * 100,000 different names share a number about once; such a link between two files is one wrong link among very many.
 */
export function nameId(name: string): number {
  let hash = OFFSET;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), PRIME);
  return hash;
}

/** Names as sorted numbers, each once. */
export function nameIds(names: Iterable<string>): Int32Array<ArrayBuffer> {
  return sorted(new Set([...names].map(nameId)));
}

/**
 * The names of a text in any language, without a parser: a word behind a defining keyword is a definition, every other word of more than two
 * characters a reference. A receiver as Go has it may stand between keyword and name. O(length).
 */
export function namesIn(text: string): NamesOfText {
  const definitions = new Set<number>();
  const references = new Set<number>();
  const words = new Words(text);
  let defining = false;
  while (words.next()) {
    if (defining) definitions.add(words.id);
    else if (words.end - words.start > 2) references.add(words.id);
    defining = KEYWORDS.has(words.id) && words.skipToName();
  }
  for (const id of definitions) references.delete(id);
  return { definitions: sorted(definitions), references: sorted(references) };
}

const OFFSET = 0x811c9dc5 | 0;
const PRIME = 0x01000193;

const KEYWORDS: ReadonlySet<number> = new Set(
  (
    "function class const let var def func fn fun type interface enum struct trait module namespace record object protocol " +
    "sub procedure package macro_rules"
  )
    .split(" ")
    .map(nameId),
);

/** Characters in which a receiver has to end, so that the time stays linear whatever the text. */
const LONGEST_RECEIVER = 200;

/** What a word begins with, goes on with, or neither, for each ASCII character. */
const BEGINS = 1;
const GOES_ON = 2;
const kinds = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code);
  return /[A-Za-z_$]/.test(character) ? BEGINS | GOES_ON : /\d/.test(character) ? GOES_ON : 0;
});
const letters = /\p{L}/u;
const lettersAndDigits = /[\p{L}\p{N}\p{M}]/u;

/** The words of a text one after the other, with their numbers; nothing is cut out of the text. */
class Words {
  start = 0;
  end = 0;
  id = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** Moves to the next word; false at the end. */
  next(): boolean {
    const { text } = this;
    let at = this.end;
    while (at < text.length && !this.isPart(at, BEGINS)) at++;
    if (at >= text.length) return false;
    this.start = at;
    let hash = OFFSET;
    for (; at < text.length && this.isPart(at, GOES_ON); at++) hash = Math.imul(hash ^ text.charCodeAt(at), PRIME);
    this.end = at;
    this.id = hash;
    return true;
  }

  /** Whether only blanks, a "*", a "!" or a bracketed receiver stand before the next word; moves behind them. */
  skipToName(): boolean {
    const { text } = this;
    let at = this.end;
    while (text[at] === "*" || text[at] === "!") at++;
    const blanks = this.blanksFrom(at);
    if (blanks === at) return false;
    at = blanks;
    if (text[at] === "(") {
      const limit = at + LONGEST_RECEIVER;
      while (at < limit && text[at] !== ")" && text[at] !== "\n") at++;
      if (text[at] !== ")") return false;
      at = this.blanksFrom(at + 1);
    }
    if (at >= text.length || !this.isPart(at, BEGINS)) return false;
    this.end = at;
    return true;
  }

  private blanksFrom(from: number): number {
    let at = from;
    while (this.text[at] === " " || this.text[at] === "\t" || this.text[at] === "\n" || this.text[at] === "\r") at++;
    return at;
  }

  private isPart(at: number, kind: number): boolean {
    const code = this.text.charCodeAt(at);
    if (code < 128) return ((kinds[code] ?? 0) & kind) !== 0;
    // Letters outside the first plane are no part of a name here: nobody writes code with them.
    return (kind === BEGINS ? letters : lettersAndDigits).test(this.text[at] ?? "");
  }
}

function sorted(ids: ReadonlySet<number>): Int32Array<ArrayBuffer> {
  return Int32Array.from(ids).sort();
}
