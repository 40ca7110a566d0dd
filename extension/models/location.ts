import { readdir, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import { firstPart, ggufParts } from "../hub/ggufParts.ts";
import { repositoryOfFolder } from "../hub/repositoryId.ts";

/** A model on disk with the plain files it may be read from. */
export interface ModelFolder {
  /** What the user chose: the folder, or the GGUF file in it. */
  readonly path: string;
  readonly folder: string;
  readonly label: string;
  /** The GGUF file that is the model; undefined for a folder of safetensors. */
  readonly ggufName: string | undefined;
  readonly files: readonly { name: string; sizeBytes: number }[];
}

/** The models that come with the product: the one that answers, then the siblings that differ in their mechanism only. */
const bundledNames = ["ask-5m", "rope-4m", "alibi-4m", "mamba-4m", "rwkv7-4m"] as const;

/** Where the models that come with the product lie, the default first. */
export function bundledModelFolders(packageRoot: string): [string, ...string[]] {
  const [first, ...others] = bundledNames;
  const folder = (name: string): string => join(packageRoot, "media", "specimens", name);
  return [folder(first), ...others.map(folder)];
}

export function bundledModelFolder(packageRoot: string): string {
  return bundledModelFolders(packageRoot)[0];
}

/** Whether a path means a GGUF file and not a folder, by its name. */
export function isGgufPath(path: string): boolean {
  return /\.gguf$/i.test(path);
}

/** The folder in which a model's files lie. */
export function folderOfModel(path: string): string {
  return isGgufPath(path) ? dirname(path) : path;
}

/** What a model is called: "org/name" for one that was downloaded from a hub, else the name of its folder or file. */
export function modelLabel(path: string): string {
  if (isGgufPath(path)) return basename(path);
  return repositoryOfFolder(basename(dirname(path))) ?? basename(path);
}

/**
 * Looks at a Hugging Face model folder, a GGUF file, or a folder that holds just one; throws `no-such-folder` where there is none,
 * `weights-missing` where tokenizer.json (unless only token ids are wanted), the weights, or beside shards config.json are not in it, and `bad-argument`
 * for a relative path.
 */
export async function readModelFolder(path: string, needsTokenizer = true): Promise<ModelFolder> {
  const remedy = "choose a Hugging Face folder with config.json, tokenizer.json and model.safetensors, or a GGUF file";
  if (!isAbsolute(path)) {
    throw new EngineError(
      "bad-argument",
      `the model path "${path}" is not absolute`,
      "give the full path of the folder or file",
      {
        folder: path,
      },
    );
  }
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new EngineError("no-such-folder", `the model "${path}" does not exist`, remedy, { folder: path });
  if (found.isFile() && isGgufPath(path)) return ggufModel(path);
  if (!found.isDirectory())
    throw new EngineError("no-such-folder", `"${path}" is a file, and no GGUF file`, remedy, { folder: path });
  const files = await filesOf(path);
  const names = new Set(files.map(({ name }) => name));
  const hasSafetensors = [...names].some((name) => name.endsWith(".safetensors"));
  const ggufNames = [...names].filter((name) => isGgufPath(name) && ggufParts(name) !== undefined);
  if (!hasSafetensors && ggufNames.length > 0) {
    if (ggufNames.length === 1 && ggufNames[0] !== undefined) return readModelFolder(join(path, ggufNames[0]), needsTokenizer);
    const message = `the folder "${path}" has ${ggufNames.length} GGUF models`;
    throw new EngineError("bad-argument", message, `choose one of them: ${ggufNames.join(", ")}`, { folder: path });
  }
  // An RWKV-7 as BlinkDL publishes it has no config.json; whether these weights are one is known when they are opened.
  const needed = names.has("model.safetensors") ? [] : ["config.json"];
  const missing = [...needed, ...(needsTokenizer ? ["tokenizer.json"] : [])].filter((name) => !names.has(name));
  if (!hasSafetensors && !names.has("model.onnx")) missing.push("*.safetensors");
  if (missing.length > 0) {
    throw new EngineError("weights-missing", `the model folder "${path}" has no ${missing.join(", no ")}`, remedy, {
      folder: path,
    });
  }
  return { path, folder: path, label: modelLabel(path), ggufName: undefined, files };
}

/** A GGUF file, with the other parts of its model where it was cut up. */
async function ggufModel(path: string): Promise<ModelFolder> {
  const folder = dirname(path);
  const ggufName = basename(path);
  const parts = ggufParts(ggufName);
  if (parts === undefined) {
    const first = firstPart(ggufName);
    throw new EngineError("bad-argument", `${ggufName} is not the first part of its model`, `choose ${first}`, { path });
  }
  const stats = await Promise.all(parts.map((name) => stat(join(folder, name)).catch(() => undefined)));
  const files = parts.flatMap((name, index) => {
    const found = stats[index];
    return found?.isFile() ? [{ name, sizeBytes: found.size }] : [];
  });
  const missing = parts.filter((name) => !files.some((file) => file.name === name));
  if (missing.length > 0)
    throw new EngineError("weights-missing", `${ggufName} lacks ${missing.join(", ")}`, "download the missing parts as well", {
      path,
    });
  return { path, folder, label: modelLabel(path), ggufName, files };
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
