import type { ContextFile, ExpectedAnswer } from "./api.ts";

/** A line of one context; `line` is 1-based. */
export interface TextLine {
  path: string;
  line: number;
  text: string;
}

/** The files of one context by their words and lines, in the order of the prompt. */
export class PackText {
  readonly lines: readonly TextLine[];
  private readonly byWord = new Map<string, TextLine[]>();
  private readonly byText = new Map<string, number>();

  constructor(files: readonly ContextFile[]) {
    this.lines = files.flatMap(({ path, lines }) => lines.map((text, i) => ({ path, line: i + 1, text })));
    for (const line of this.lines) {
      for (const word of new Set(line.text.match(WORD))) {
        const known = this.byWord.get(word);
        if (known) known.push(line);
        else this.byWord.set(word, [line]);
      }
      const trimmed = line.text.trim();
      this.byText.set(trimmed, (this.byText.get(trimmed) ?? 0) + 1);
    }
  }

  get words(): Iterable<string> {
    return this.byWord.keys();
  }

  /** Lines that hold a name: as a whole word, or, where it is none, anywhere. */
  holding(name: string): readonly TextLine[] {
    const isWord = new RegExp(`^(?:${WORD.source})$`).test(name);
    return isWord ? (this.byWord.get(name) ?? []) : this.lines.filter(({ text }) => text.includes(name));
  }

  /** Whether a name occurs at all, also as a part of a word. */
  mentions(name: string): boolean {
    return this.byWord.has(name) || this.lines.some(({ text }) => text.includes(name));
  }

  /** How many lines are this text, blanks around them aside. */
  count(trimmed: string): number {
    return this.byText.get(trimmed) ?? 0;
  }

  /** The first line that holds the name. */
  firstMention(name: string): ExpectedAnswer | undefined {
    const [first] = this.holding(name);
    return first && { path: first.path, line: first.line, text: first.text.trim() };
  }
}

const WORD = /[A-Za-z_$][\w$]*/g;
