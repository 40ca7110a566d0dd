import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import { loadTokenizer } from "../../engine/tokenizer/load.ts";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";

/** The tokenizer of a model folder, or of a tokenizer.json itself; throws `tokenizer-invalid` where it is missing or not one. */
export async function readTokenizer(folderOrFile: string): Promise<Tokenizer> {
  const file = folderOrFile.endsWith(".json") ? folderOrFile : join(folderOrFile, "tokenizer.json");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch {
    throw new EngineError("tokenizer-invalid", `there is no ${file}`, "choose a model folder that contains tokenizer.json", {
      file,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new EngineError("tokenizer-invalid", `${file} is not JSON: ${because}`, "download the file again", { file });
  }
  return loadTokenizer(json);
}
