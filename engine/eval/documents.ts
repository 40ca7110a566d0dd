/** Long texts made of a user's files, for measuring a model on them. */
import type { SnapshotFile } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { type BodyCache, encodeBody, readLines } from "../pack/body.ts";
import { headerLine } from "../pack/pack.ts";
import { uniformAt } from "../reference/sample.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export interface DocumentOptions {
  files: readonly SnapshotFile[];
  readFile(file: SnapshotFile, signal?: AbortSignal): Promise<Uint8Array>;
  tokenizer: Tokenizer;
  cache: BodyCache;
  /** Tokens of every text. */
  documentTokens: number;
  /** Texts wanted; fewer where the files do not give as many, at least one. */
  documents: number;
  /** Decides which files come first. */
  seed: number;
  signal?: AbortSignal;
  onProgress?(doneTokens: number, totalTokens: number): void;
}

/**
 * Texts of exactly `documentTokens` tokens: what the tokenizer puts first, then files as a prompt has them (header line, lines), in an order
 * that only the seed and the paths decide. Files that only their name is given of are left out. Throws `context-too-long` where all files
 * together are shorter than one text.
 */
export async function readDocuments(options: DocumentOptions): Promise<Int32Array<ArrayBuffer>[]> {
  const { tokenizer, documentTokens, documents, signal } = options;
  const { prefixIds } = tokenizer;
  const wanted = documents * (documentTokens - prefixIds.length);
  const ids: number[] = [];
  for (const file of shuffled(options.files, options.seed)) {
    if (ids.length >= wanted) break;
    throwIfAborted(signal);
    for (const part of [tokenizer.encode(headerLine(file.path) + "\n"), await bodyOf(file, options)]) {
      for (const id of part) ids.push(id);
    }
    options.onProgress?.(Math.min(ids.length, wanted), wanted);
  }
  const perDocument = documentTokens - prefixIds.length;
  const count = Math.min(documents, Math.floor(ids.length / perDocument));
  if (count < 1) {
    const message = `all files together have ${ids.length.toLocaleString("en-US")} tokens, fewer than a text of ${documentTokens.toLocaleString("en-US")}`;
    throw new EngineError("context-too-long", message, "choose a shorter length, or more files", {
      tokens: ids.length,
      documentTokens,
    });
  }
  return Array.from({ length: count }, (_, index) =>
    Int32Array.from([...prefixIds, ...ids.slice(index * perDocument, (index + 1) * perDocument)]),
  );
}

/** A hash of the texts, 64 bits in hexadecimal: equal texts have equal ones, and that is all it is for. */
export function documentsHash(documents: readonly Int32Array[]): string {
  let [high, low] = [0x811c9dc5, 0x9e3779b9];
  for (const document of documents) {
    for (const id of [document.length, ...document]) {
      high = Math.imul(high ^ id, 0x01000193) >>> 0;
      low = Math.imul(low ^ id ^ high, 0x85ebca6b) >>> 0;
    }
  }
  return [high, low].map((half) => half.toString(16).padStart(8, "0")).join("");
}

async function bodyOf(file: SnapshotFile, options: DocumentOptions): Promise<Int32Array> {
  const { tokenizer, cache, signal } = options;
  const known = cache.get(file.hash);
  if (known) return known.ids;
  const body = encodeBody(readLines(await options.readFile(file, signal)), tokenizer);
  cache.set(file.hash, body);
  return body.ids;
}

function shuffled(files: readonly SnapshotFile[], seed: number): SnapshotFile[] {
  return files
    .filter((file) => file.level !== "name")
    .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
    .map((file, index) => ({ file, order: uniformAt(seed, index) }))
    .sort((a, b) => a.order - b.order)
    .map(({ file }) => file);
}
