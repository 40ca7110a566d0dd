import { readdir, stat } from "node:fs/promises";
import { basename, isAbsolute, join } from "node:path";
import { EngineError } from "../../engine/errors.ts";

/** A model folder on disk with its plain files. */
export interface ModelFolder {
  readonly folder: string;
  readonly label: string;
  readonly files: readonly { name: string; sizeBytes: number }[];
}

/** The model that comes with the product, below the package's root. */
export const bundledModel = ["media", "specimens", "keyshift-4m"] as const;

export function bundledModelFolder(packageRoot: string): string {
  return join(packageRoot, ...bundledModel);
}

/**
 * Looks into a Hugging Face model folder; throws `no-such-folder` where it is none, `weights-missing` where config.json, tokenizer.json
 * or the safetensors file is not in it, and `bad-argument` for a relative path.
 */
export async function readModelFolder(folder: string): Promise<ModelFolder> {
  const remedy = "choose a Hugging Face folder with config.json, tokenizer.json and model.safetensors";
  if (!isAbsolute(folder)) {
    throw new EngineError("bad-argument", `the model path "${folder}" is not absolute`, "give the full path of the folder", {
      folder,
    });
  }
  const found = await stat(folder).catch(() => undefined);
  if (!found) throw new EngineError("no-such-folder", `the model folder "${folder}" does not exist`, remedy, { folder });
  if (!found.isDirectory())
    throw new EngineError("no-such-folder", `"${folder}" is a file, not a model folder`, remedy, { folder });
  const files = await filesOf(folder);
  const names = new Set(files.map(({ name }) => name));
  const missing = ["config.json", "tokenizer.json"].filter((name) => !names.has(name));
  if (![...names].some((name) => name.endsWith(".safetensors"))) missing.push("*.safetensors");
  if (missing.length > 0) {
    throw new EngineError("weights-missing", `the model folder "${folder}" has no ${missing.join(", no ")}`, remedy, { folder });
  }
  return { folder, label: basename(folder), files };
}

/** Top-level files; links are followed, because model caches are made of them. */
async function filesOf(folder: string): Promise<{ name: string; sizeBytes: number }[]> {
  const names = (await readdir(folder)).sort();
  const stats = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  return names.flatMap((name, index) => {
    const found = stats[index];
    return found?.isFile() ? [{ name, sizeBytes: found.size }] : [];
  });
}
