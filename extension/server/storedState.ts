import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isPreset } from "../../engine/tokenizer/presets.ts";
import type { ServerOptions } from "./requests.ts";
import { readLevels, type StoredSelection } from "./selection.ts";

/** Raised when the same bytes count differently than before. */
const countsVersion = 1;

/**
 * Everything that decides what a file's entry in the index means: the tokenizer by its files' names, sizes and times, so that a vocabulary
 * that was replaced is another one, and the size limit. Empty where the tokenizer is not there.
 */
export async function indexIdentity({ tokenizer, maxFileBytes }: ServerOptions): Promise<string> {
  const files = isPreset(tokenizer) ? tokenizer : await filesIdentity(tokenizer);
  return files === "" ? "" : `counts ${countsVersion}; ${files}; up to ${maxFileBytes} bytes`;
}

/** One index per tokenizer, so that going back to another one costs nothing; "" where nothing is to be kept. */
export function indexFile({ storageFolder, tokenizer }: ServerOptions): string {
  if (storageFolder === "") return "";
  const name = createHash("sha256").update(tokenizer).digest("hex").slice(0, 16);
  return join(storageFolder, `${name}.index`);
}

/** What was chosen when the workspace was last open; nothing where the file is missing, and, after a word in the log, where it is damaged. */
export async function readSelection(storageFolder: string, log: (message: string) => void): Promise<StoredSelection> {
  const nothing = { levels: {}, fitted: [] };
  if (storageFolder === "") return nothing;
  const text = await readFile(levelsFile(storageFolder), "utf8").catch(() => undefined);
  if (text === undefined) return nothing;
  try {
    return storedSelection(JSON.parse(text));
  } catch (error) {
    log(`the chosen levels cannot be read and start anew: ${error instanceof Error ? error.message : String(error)}`);
    return nothing;
  }
}

export async function writeSelection(storageFolder: string, selection: StoredSelection): Promise<void> {
  if (storageFolder === "") return;
  const file = levelsFile(storageFolder);
  await mkdir(dirname(file), { recursive: true });
  const written = `${file}.${randomUUID()}`;
  try {
    await writeFile(written, JSON.stringify(selection));
    await rename(written, file);
  } catch (error) {
    await rm(written, { force: true });
    throw error;
  }
}

/** Throws what is wrong with it. */
function storedSelection(value: unknown): StoredSelection {
  if (typeof value !== "object" || value === null || !("levels" in value) || !("fitted" in value))
    throw new Error("it holds no levels");
  const { levels, fitted } = value;
  if (!Array.isArray(fitted) || !fitted.every((key) => typeof key === "string"))
    throw new Error("it does not say what was fitted");
  return { levels: Object.fromEntries(readLevels(levels)), fitted };
}

function levelsFile(storageFolder: string): string {
  return join(storageFolder, "levels.json");
}

async function filesIdentity(source: string): Promise<string> {
  const found = await stat(source).catch(() => undefined);
  if (!found) return "";
  if (!found.isDirectory()) return `${source} ${found.size} ${found.mtimeMs}`;
  const names = (await readdir(source)).filter((name) => tokenizerNames.test(name)).sort();
  const parts = await Promise.all(
    names.map(async (name) => {
      const file = await stat(join(source, name)).catch(() => undefined);
      return file ? `${basename(name)} ${file.size} ${file.mtimeMs}` : "";
    }),
  );
  return [source, ...parts].join(" ");
}

/** Files of a model folder that a tokenizer may be read from. */
const tokenizerNames = /^tokenizer\.|\.gguf$|\.tiktoken$|^rwkv_vocab.*\.txt$/i;
