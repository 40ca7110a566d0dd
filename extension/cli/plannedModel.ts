import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { ModelSpec, TensorFormat } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { isRecord, type JsonRecord } from "../../engine/formats/json.ts";
import { parsePythonJson } from "../../engine/formats/jsonText.ts";
import { loadModel } from "../../engine/models/load.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import type { FormatOf } from "../../engine/planner/weightBytes.ts";
import { bundledModelFolder, isGgufPath, readModelFolder } from "../models/location.ts";
import { nodeModelFiles } from "../models/nodeFiles.ts";

/** What planning needs of a model. */
export interface PlannedModel {
  label: string;
  spec: ModelSpec;
  /** How the weights lie in their file, or, where there are none, as config.json says of all. */
  formatOf: FormatOf;
  hasWeights: boolean;
}

/** A model folder, a GGUF file, or a config.json without weights, by its own path or alone in a folder. Throws what reading them throws. */
export async function readPlannedModel(
  model: string | undefined,
  packageRoot: string,
  signal: AbortSignal,
): Promise<PlannedModel> {
  const path = model === undefined ? bundledModelFolder(packageRoot) : resolve(model);
  if (path.endsWith(".json")) return configModel(path);
  const config = join(path, "config.json");
  if (!isGgufPath(path) && (await isFile(config)) && !(await hasWeights(path))) return configModel(config);
  const files = nodeModelFiles((await readModelFolder(path, false)).path);
  try {
    const { label, spec, weights } = await loadModel(files, signal);
    return { label, spec, formatOf: (name) => weights.format(name), hasWeights: true };
  } finally {
    await files.close();
  }
}

async function configModel(path: string): Promise<PlannedModel> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    throw new EngineError(
      "not-found",
      `"${path}" cannot be read`,
      "give the path of a config.json, a model folder or a GGUF file",
    );
  }
  const config = parsePythonJson(text, basename(path), "unsupported-model", "give the config.json of a Hugging Face model");
  const spec = parseSpec(config);
  const format = statedFormat(isRecord(config) ? config : {});
  const isVector = (name: string): boolean => !name.endsWith(".weight") || /norm|ln_/.test(name);
  return {
    label: basename(path) === "config.json" ? basename(dirname(path)) : basename(path),
    spec,
    formatOf: (name) => (isVector(name) ? "f32" : format),
    hasWeights: false,
  };
}

/** The number format that a config names for its checkpoint; most are bf16. */
function statedFormat(config: JsonRecord): TensorFormat {
  const nested = isRecord(config["text_config"]) ? config["text_config"] : {};
  const stated = config["dtype"] ?? config["torch_dtype"] ?? nested["dtype"] ?? nested["torch_dtype"];
  return stated === "float32" ? "f32" : stated === "float16" ? "f16" : "bf16";
}

async function hasWeights(folder: string): Promise<boolean> {
  try {
    await readModelFolder(folder, false);
    return true;
  } catch (error) {
    if (EngineError.is(error, "weights-missing")) return false;
    throw error;
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
