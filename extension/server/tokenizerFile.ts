import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EngineError } from "../../engine/errors.ts";
import { readGgufTokenizer } from "../../engine/tokenizer/ggufTokenizer.ts";
import { loadTokenizer } from "../../engine/tokenizer/load.ts";
import { encodingOf, encodings, isPreset, type PresetName, presets, readPreset } from "../../engine/tokenizer/presets.ts";
import { readRwkvVocabulary, TrieTokenizer } from "../../engine/tokenizer/rwkv.ts";
import { rankTokenizer, readTiktokenRanks } from "../../engine/tokenizer/tiktoken.ts";
import type { PackedTokens } from "../../engine/tokenizer/tokenTable.ts";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import { modelLabel } from "../models/location.ts";
import { nodeModelFiles } from "../models/nodeFiles.ts";

/**
 * The tokenizer that a source names: a preset ("o200k", "cl100k"), or the absolute path of a model folder, a tokenizer.json,
 * a GGUF file, a tiktoken rank file (*.tiktoken, *.model) or an RWKV vocabulary (*.txt). Throws `tokenizer-invalid` where
 * there is none or it is damaged, and `unsupported-tokenizer` where it is of another kind; both with a remedy.
 */
export async function readTokenizer(source: string): Promise<Tokenizer> {
  if (isPreset(source)) return rankTokenizer(await readPresetFile(source), encodings[source]);
  if (!isAbsolute(source)) throw unknownSource(source);
  const file = await tokenizerFile(source);
  switch (extname(file).toLowerCase()) {
    case ".json":
      return loadTokenizer(parseJson(file, (await bytesOf(file)).toString("utf8")));
    case ".gguf":
      return ggufTokenizer(file);
    case ".tiktoken":
    case ".model":
      return tiktokenTokenizer(file, await bytesOf(file));
    case ".txt":
      return new TrieTokenizer(readRwkvVocabulary((await bytesOf(file)).toString("utf8"), basename(file)));
    default:
      throw new EngineError("unsupported-tokenizer", `${file} is no kind of tokenizer file that is known`, KINDS, { file });
  }
}

/** What a source is called on screen: the preset's name, or the folder or file without the path before it. */
export function tokenizerLabel(source: string): string {
  if (isPreset(source)) return presets[source].label;
  return modelLabel(basename(source) === "tokenizer.json" ? dirname(source) : source);
}

const KINDS = `name a preset (${Object.keys(presets).join(", ")}), or give the full path of a model folder, tokenizer.json, *.gguf, *.tiktoken or RWKV vocabulary (*.txt)`;

/** What a model folder may hold, the best first: the original tokenizer before what was made of it. */
const FOLDER_FILES: readonly RegExp[] = [
  /^tokenizer\.json$/,
  /\.gguf$/i,
  /\.tiktoken$/i,
  /^rwkv_vocab.*\.txt$/i,
  /^tokenizer\.model$/,
];

async function tokenizerFile(source: string): Promise<string> {
  const found = await stat(source).catch(() => undefined);
  if (!found) throw missing(source);
  if (!found.isDirectory()) return source;
  const names = (await readdir(source)).sort();
  for (const pattern of FOLDER_FILES) {
    const name = names.find((candidate) => pattern.test(candidate));
    if (name !== undefined) return join(source, name);
  }
  throw missing(join(source, "tokenizer.json"));
}

async function ggufTokenizer(file: string): Promise<Tokenizer> {
  const files = nodeModelFiles(dirname(file));
  try {
    const opened = await files.open(basename(file));
    if (!opened) throw missing(file);
    return await readGgufTokenizer(opened);
  } finally {
    await files.close();
  }
}

function tiktokenTokenizer(file: string, bytes: Buffer): Tokenizer {
  // A SentencePiece model is a protocol buffer whose first field, the pieces, has this tag.
  if (bytes[0] === 0x0a) {
    throw new EngineError(
      "unsupported-tokenizer",
      `${file} is a SentencePiece model, which is not read as it is`,
      "put the model's tokenizer.json into the same folder, or choose its GGUF file",
      { file },
    );
  }
  const tokens = readTiktokenRanks(bytes, basename(file));
  return rankTokenizer(tokens, encodingOf(basename(file), tokens.offsets.length - 1));
}

/** The build puts the presets beside the bundles; a test's bundle lies some folders below them. */
async function readPresetFile(name: PresetName): Promise<PackedTokens> {
  let folder = typeof __dirname === "string" ? __dirname : dirname(fileURLToPath(import.meta.url));
  for (let up = 0; up <= FOLDERS_UP; up++, folder = dirname(folder)) {
    const file = join(folder, "tokenizers", `${name}.bin`);
    const bytes = await readFile(file).catch(() => undefined);
    if (bytes) return readPreset(bytes, file);
  }
  const message = `the vocabulary of the preset ${name} is not installed`;
  throw new EngineError("tokenizer-invalid", message, "install the extension again, or run npm run build", { preset: name });
}

const FOLDERS_UP = 4;

async function bytesOf(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new EngineError("tokenizer-invalid", `${file} cannot be read: ${because}`, "check that you may read the file", {
      file,
    });
  }
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new EngineError("tokenizer-invalid", `${file} is not JSON: ${because}`, "download the file again", { file });
  }
}

function missing(file: string): EngineError {
  return new EngineError("tokenizer-invalid", `there is no ${file}`, KINDS, { file });
}

function unknownSource(source: string): EngineError {
  return new EngineError("tokenizer-invalid", `"${source}" is neither a preset nor an absolute path`, KINDS, { source });
}
