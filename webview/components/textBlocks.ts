/** A long text that grows, in blocks of lines: what is shown already is never touched again. No DOM; components/answerText.ts has that. */

/** Lines of one block: small enough to lay out at once, large enough that there are few. */
export const LINES_PER_BLOCK = 200;

/** Where blocks are shown. */
export interface BlockSink {
  /** Begins the next block; the one before is whole. */
  open(): void;
  /** Behind the text of the last block. */
  append(text: string): void;
  /** Takes all blocks away. */
  clear(): void;
}

/** Writes what is new of a text: as many characters as were added, whatever its length. */
export class BlockWriter {
  private readonly sink: BlockSink;
  private text = "";
  /** Line ends in the last block. */
  private lines = 0;

  constructor(sink: BlockSink) {
    this.sink = sink;
  }

  /** Shows `text` instead of what was written before. The line end between two blocks is in neither. */
  write(text: string): void {
    if (text === this.text) return;
    // Compared as wholes: `startsWith` looks at one character after the other.
    const goesOn = this.text !== "" && text.slice(0, this.text.length) === this.text;
    if (!goesOn) {
      this.sink.clear();
      this.lines = 0;
      if (text !== "") this.sink.open();
    }
    this.append(goesOn ? text.slice(this.text.length) : text);
    this.text = text;
  }

  private append(fresh: string): void {
    let from = 0;
    for (let end = fresh.indexOf("\n"); end >= 0; end = fresh.indexOf("\n", end + 1)) {
      this.lines++;
      if (this.lines < LINES_PER_BLOCK) continue;
      if (end > from) this.sink.append(fresh.slice(from, end));
      this.sink.open();
      this.lines = 0;
      from = end + 1;
    }
    if (from < fresh.length) this.sink.append(fresh.slice(from));
  }
}
