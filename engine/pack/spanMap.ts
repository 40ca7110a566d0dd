import type { PackedFile } from "../api.ts";

/** A line of a packed file; line 0 is the header line, which is not in the file. */
export interface Place {
  path: string;
  line: number;
}

/** Lines startLine..endLine of one file. */
export interface Span {
  path: string;
  startLine: number;
  endLine: number;
}

/** Token positions of the prompt and lines of files, both ways, by binary search. */
export class SpanMap {
  /** `files` in the order of their tokens. */
  constructor(private readonly files: readonly PackedFile[]) {}

  /** The line that a token begins in; undefined for tokens outside the files. */
  at(token: number): Place | undefined {
    const file = this.files[lastAtMost(this.files.length, token, (i) => this.files[i]?.tokenStart ?? 0)];
    if (!file || token >= file.tokenEnd) return undefined;
    return { path: file.path, line: lastAtMost(file.lineTokens.length, token, (i) => file.lineTokens[i] ?? 0) + 1 };
  }

  /** Lines that tokens [start, end) begin in, one span per file. */
  spans(start: number, end: number): Span[] {
    const spans: Span[] = [];
    let index = Math.max(
      0,
      lastAtMost(this.files.length, start, (i) => this.files[i]?.tokenStart ?? 0),
    );
    for (let file = this.files[index]; file && file.tokenStart < end; file = this.files[++index]) {
      const first = this.at(Math.max(start, file.tokenStart));
      const last = this.at(Math.min(end, file.tokenEnd) - 1);
      if (first && last && first.path === last.path) spans.push({ path: file.path, startLine: first.line, endLine: last.line });
    }
    return spans;
  }

  /** Tokens [start, end) that begin in lines startLine..endLine. */
  tokens(span: Span): { start: number; end: number } | undefined {
    const file = this.files.find((packed) => packed.path === span.path);
    if (!file) return undefined;
    const start = span.startLine < 1 ? file.tokenStart : file.lineTokens[span.startLine - 1];
    const end = span.endLine < 1 ? file.bodyStart : (file.lineTokens[span.endLine] ?? file.tokenEnd);
    return start === undefined ? undefined : { start, end };
  }
}

/** Largest index in [0, count) whose value is at most `limit`, for ascending values; -1 where there is none. */
function lastAtMost(count: number, limit: number, value: (index: number) => number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value(middle) <= limit) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
