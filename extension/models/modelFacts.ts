/** What is known of a model without loading it: from its configuration and the headers of its weights. No `vscode`. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { ModelFiles, ModelSpec } from "../../engine/api.ts";
import { plainError } from "../../engine/errors.ts";
import { isRecord } from "../../engine/formats/json.ts";
import { loadModel } from "../../engine/models/load.ts";
import { contextOf, type WeightFacts, weightFacts } from "../../engine/models/preflight.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import { tensorShapes } from "../../engine/models/weights.ts";
import { bytesToFetch, missingFiles, sumOf } from "../hub/downloadModel.ts";
import type { HubSource, KnownModel } from "./knownModels.ts";
import { type ModelFolder, readModelFolder } from "./location.ts";
import { nodeModelFiles } from "./nodeFiles.ts";

/** Why a model cannot be used, and what to do. */
export interface Problem {
  message: string;
  remedy: string;
}

/** A model that the engine can open. */
export interface ReadModel {
  spec: ModelSpec;
  weights: WeightFacts;
  /** `model_type` of config.json, or the architecture of the GGUF file. */
  family: string;
  contextTokens: number;
}

export type ModelState =
  | ({ kind: "ready"; diskBytes: number } & ReadModel)
  /** Files of it are still to be downloaded. */
  | { kind: "incomplete"; doneBytes: number; totalBytes: number }
  /** Its folder or file is gone, or part of it. */
  | { kind: "missing"; problem: Problem }
  /** It is there, and the engine cannot open it. */
  | { kind: "unsupported"; diskBytes: number; problem: Problem };

/** Remembers what was read as long as the files stay as they are, because a vocabulary in a header takes its time. */
export class ModelReader {
  private readonly folderOf: (source: HubSource) => string;
  private readonly remembered = new Map<string, { stamp: string; state: ModelState }>();

  /** `folderOf` says where the files of a downloaded model are stored. */
  constructor(folderOf: (source: HubSource) => string) {
    this.folderOf = folderOf;
  }

  async stateOf({ path, source }: KnownModel): Promise<ModelState> {
    if (source.kind === "hub") {
      const missing = await missingFiles(this.folderOf(source), source.files);
      if (missing.length > 0) {
        const restBytes = await bytesToFetch(missing, this.folderOf(source), source.commit);
        const totalBytes = sumOf(source.files);
        return { kind: "incomplete", doneBytes: totalBytes - restBytes, totalBytes };
      }
    }
    let folder: ModelFolder;
    try {
      folder = await readModelFolder(path);
    } catch (error) {
      return { kind: "missing", problem: problemOf(error) };
    }
    const diskBytes = folder.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const stamp = await stampOf(folder);
    const before = this.remembered.get(path);
    if (before?.stamp === stamp) return before.state;
    const state = await readState(folder.path, diskBytes);
    this.remembered.set(path, { stamp, state });
    return state;
  }
}

async function readState(path: string, diskBytes: number): Promise<ModelState> {
  try {
    return { kind: "ready", diskBytes, ...(await readModel(path)) };
  } catch (error) {
    return { kind: "unsupported", diskBytes, problem: problemOf(error) };
  }
}

/** What a folder or GGUF file is; throws why the engine cannot open it. */
export async function readModel(path: string): Promise<ReadModel> {
  const files = nodeModelFiles(path);
  try {
    const { spec, weights } = await loadModel(withoutTokenizer(files));
    const tensors = [...tensorShapes(spec)].map(([name, shape]) => ({ name, shape, format: weights.format(name) }));
    return { spec, weights: weightFacts(tensors), family: spec.modelType, contextTokens: contextOf(spec) };
  } finally {
    await files.close();
  }
}

/** What a config.json alone says: the weights are taken to be in the format it states. Throws what `parseSpec` throws. */
export function modelOfConfig(config: unknown): ReadModel {
  const spec = parseSpec(config);
  const stated = isRecord(config) ? (config["dtype"] ?? config["torch_dtype"]) : undefined;
  const format = stated === "float32" ? "f32" : stated === "float16" ? "f16" : "bf16";
  const weights = weightFacts([...tensorShapes(spec)].map(([name, shape]) => ({ name, shape, format })));
  return { spec, weights, family: spec.modelType, contextTokens: contextOf(spec) };
}

/** A tokenizer is megabytes of JSON, and says nothing of what is asked here. */
function withoutTokenizer(files: ModelFiles): ModelFiles {
  return { ...files, text: async (name) => (name === "tokenizer.json" ? "{}" : files.text(name)) };
}

async function stampOf({ folder, files }: ModelFolder): Promise<string> {
  const stats = await Promise.all(files.map(({ name }) => stat(join(folder, name)).catch(() => undefined)));
  return files.map(({ name }, index) => `${name} ${stats[index]?.size} ${stats[index]?.mtimeMs}`).join("\n");
}

function problemOf(error: unknown): Problem {
  const { message, remedy } = plainError(error);
  return { message, remedy };
}
