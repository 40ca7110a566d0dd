/** Real code as one text of tokens: files of this repository and of packages at the versions of package-lock.json, always in one order. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";

/** Read in this order, each sorted by path. */
const FOLDERS = ["engine", "node_modules/eslint/lib", "node_modules/undici/lib", "extension", "webview"];
const CODE = /\.(ts|mts|js|mjs|cjs|py)$/;

export interface RealCode {
  ids: Int32Array<ArrayBuffer>;
  folders: readonly string[];
  files: number;
  bytes: number;
  /** Of the ids, little-endian. */
  sha256: string;
}

/** The first `tokens` tokens, each file behind a line that names it. */
export function readRealCode(tokenizer: Tokenizer, tokens: number): RealCode {
  const ids = new Int32Array(tokens);
  let [length, files, bytes] = [0, 0, 0];
  for (const path of FOLDERS.flatMap(codeBelow)) {
    if (length === tokens) break;
    const text = readFileSync(path, "utf8");
    const found = tokenizer.encode(`=== ${path.replaceAll(sep, "/")} ===\n${text}\n`).subarray(0, tokens - length);
    ids.set(found, length);
    length += found.length;
    files++;
    bytes += Buffer.byteLength(text);
  }
  if (length < tokens) throw new RangeError(`${FOLDERS.join(", ")} have ${length} tokens, and ${tokens} are asked for`);
  const sha256 = createHash("sha256").update(new Uint8Array(ids.buffer)).digest("hex");
  return { ids, folders: FOLDERS, files, bytes, sha256 };
}

function codeBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && CODE.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
