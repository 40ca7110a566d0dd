import { readFile } from "node:fs/promises";
import { isBinaryFile } from "isbinaryfile";
import { throwIfAborted } from "../../engine/errors.ts";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import type { CountedFile } from "../../webview/protocol/panel.ts";
import { contentHash } from "./contentHash.ts";
import type { ExcludedRow, ExclusionKind } from "./requests.ts";
import { type FoundFile, unreadable } from "./walk.ts";

/** Bytes of a text file and their hash, or why the file is none. */
export type TextFile = { bytes: Uint8Array<ArrayBuffer>; hash: string } | { reason: string; kind: ExclusionKind };

/** What became of one found file. */
export type Counted = { file: CountedFile } | { excluded: ExcludedRow };

/** Reads a file and looks at its content: binary and UTF-16 files are refused with a reason, bad UTF-8 is not. */
export async function readTextFile(absolute: string): Promise<TextFile> {
  let buffer: Buffer<ArrayBuffer>;
  try {
    buffer = await readFile(absolute);
  } catch (error) {
    return { reason: unreadable(error), kind: "unreadable" };
  }
  const [first, second] = buffer;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    return { reason: "UTF-16 text; only UTF-8 is read", kind: "binary" };
  // The library judges by the first half kilobyte; a NUL further on is no text either.
  if (buffer.includes(0) || (await isBinaryFile(buffer))) return { reason: "binary content", kind: "binary" };
  return { bytes: new Uint8Array(buffer), hash: contentHash(buffer) };
}

/** Counts files with one tokenizer; contents that were counted before are not tokenized again. */
export class FileCounter {
  private readonly tokenizer: Pick<Tokenizer, "count">;
  private readonly tokensOfHash = new Map<string, number>();
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(tokenizer: Pick<Tokenizer, "count">) {
    this.tokenizer = tokenizer;
  }

  /** Tokens of the bytes as UTF-8, bad sequences replaced, as the pack decodes them. */
  tokens(bytes: Uint8Array, hash: string): number {
    const known = this.tokensOfHash.get(hash);
    if (known !== undefined) return known;
    const tokens = this.tokenizer.count(this.decoder.decode(bytes));
    this.tokensOfHash.set(hash, tokens);
    return tokens;
  }

  async count(found: FoundFile): Promise<Counted> {
    const text = await readTextFile(found.absolute);
    if ("reason" in text) return { excluded: { path: found.path, reason: text.reason, kind: text.kind } };
    const tokens = this.tokens(text.bytes, text.hash);
    return { file: { path: found.path, hash: text.hash, sizeBytes: text.bytes.length, tokens } };
  }

  /** Counts one file after the other, giving way to other work between them; throws `aborted`. */
  async countAll(
    files: readonly FoundFile[],
    onCounted: (counted: Counted, done: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    for (const [index, found] of files.entries()) {
      throwIfAborted(signal);
      onCounted(await this.count(found), index + 1);
      await new Promise<void>((resume) => setImmediate(resume));
    }
  }
}
