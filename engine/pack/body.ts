import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** One file's text, cut into lines and tokens; the same for every path with these bytes. */
export interface FileBody {
  /** Lines as an editor numbers them: CR LF, CR and LF end one; no line behind a final line break. */
  readonly lines: readonly string[];
  /** Tokens of the lines, each ended by "\n". */
  readonly ids: Int32Array<ArrayBuffer>;
  /** lineTokens[i] is the first token of line i + 1, counted from the body's start. */
  readonly lineTokens: Uint32Array<ArrayBuffer>;
  /** Bytes that are not UTF-8 were replaced by U+FFFD. */
  readonly repaired: boolean;
}

export function encodeBody(bytes: Uint8Array, tokenizer: Tokenizer): FileBody {
  const { text, repaired } = decodeUtf8(bytes);
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  if (lines[lines.length - 1] === "") lines.pop();
  const { ids, starts } = tokenizer.encodeWithOffsets(lines.map((line) => line + "\n").join(""));
  return { lines, ids, lineTokens: firstTokens(lines, starts), repaired };
}

function decodeUtf8(bytes: Uint8Array): { text: string; repaired: boolean } {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), repaired: false };
  } catch {
    return { text: new TextDecoder("utf-8").decode(bytes), repaired: true };
  }
}

/** A line whose characters all lie in a token begun earlier (a blank one, say) shares the next line's first token. */
function firstTokens(lines: readonly string[], starts: Int32Array): Uint32Array<ArrayBuffer> {
  const first = new Uint32Array(lines.length);
  let token = 0;
  let offset = 0;
  lines.forEach((line, i) => {
    while (token < starts.length && (starts[token] ?? 0) < offset) token++;
    first[i] = token;
    offset += line.length + 1;
  });
  return first;
}

/** Bodies by content hash, dropped oldest first beyond a number of tokens. */
export class BodyCache {
  private readonly bodies = new Map<string, FileBody>();
  private tokens = 0;

  constructor(private readonly maxTokens = MAX_CACHED_TOKENS) {}

  get(hash: string): FileBody | undefined {
    const body = this.bodies.get(hash);
    if (!body) return undefined;
    this.bodies.delete(hash);
    this.bodies.set(hash, body);
    return body;
  }

  set(hash: string, body: FileBody): void {
    this.tokens += body.ids.length - (this.bodies.get(hash)?.ids.length ?? 0);
    this.bodies.delete(hash);
    this.bodies.set(hash, body);
    for (const [oldest, { ids }] of this.bodies) {
      if (this.tokens <= this.maxTokens || oldest === hash) return;
      this.bodies.delete(oldest);
      this.tokens -= ids.length;
    }
  }
}

/** 32 MiB of ids, and about 50 MB of text beside them. */
const MAX_CACHED_TOKENS = 8 * 1024 * 1024;
