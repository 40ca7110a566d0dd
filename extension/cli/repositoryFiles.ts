import { join } from "node:path";
import { throwIfAborted } from "../../engine/errors.ts";
import type { CountedFile } from "../../engine/eval/answers/contexts.ts";
import { splitLines } from "../../engine/pack/body.ts";
import { headerLine } from "../../engine/pack/pack.ts";
import { openThreadPool } from "../server/countPool.ts";
import { readTextFile } from "../server/textFile.ts";
import { readTokenizer } from "../server/tokenizerFile.ts";
import { emptyFolder, findFiles } from "./corpus.ts";

export interface RepositoryOptions {
  folder: string;
  /** Globs; only files that one of them names. Empty: all. */
  include: readonly string[];
  /** Model folder or GGUF file, whose tokenizer counts. */
  modelPath: string;
  packageRoot: string;
  signal: AbortSignal;
  onProgress: (done: number, all: number) => void;
}

/**
 * The text files of a folder with their tokens and with what their outlines declare; files that a program wrote are left out, as they are of a pack.
 * Throws `no-such-folder`, `empty-workspace`, and what reading the tokenizer throws.
 */
export async function readRepository(
  options: RepositoryOptions,
): Promise<{ files: CountedFile[]; countTokens: (text: string) => number }> {
  const { folder, include, modelPath, packageRoot, signal, onProgress } = options;
  const found = await findFiles(folder, signal, include);
  const tokenizer = await readTokenizer(modelPath);
  const countTokens = (text: string): number => tokenizer.encode(text).length;
  const pool = openThreadPool(join(packageRoot, "dist", "countWorker.js"), modelPath);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const files: CountedFile[] = [];
  const excluded = [...found.excluded];
  try {
    for (const [done, { path, absolute }] of found.files.entries()) {
      throwIfAborted(signal);
      onProgress(done, found.files.length);
      const read = await readTextFile(absolute, { path });
      const left = "reason" in read ? read : read.suspect;
      if (left !== undefined || "reason" in read) {
        if (left !== undefined) excluded.push({ path, reason: left.reason, kind: left.kind });
        continue;
      }
      const text = decoder.decode(read.utf8);
      const lines = splitLines(text);
      const symbols = await pool.call("symbols", { file: { path, absolute, text } }, { signal });
      const tokens = countTokens(`${headerLine(path)}\n`) + countTokens(lines.map((line) => `${line}\n`).join(""));
      files.push({ path, lines, tokens, symbols: "reason" in symbols ? [] : symbols });
    }
  } finally {
    pool.dispose();
  }
  if (files.length === 0) throw emptyFolder(folder, excluded);
  return { files, countTokens };
}
