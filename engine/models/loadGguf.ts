import type { ModelFiles, ModelSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import { type GgufFile, openGguf } from "../formats/ggufStore.ts";
import { ggufTokenizer } from "../tokenizer/ggufTokenizer.ts";
import { ggufConfig } from "./ggufModel.ts";
import { chatTemplate, specialTokenText } from "./ggufTokens.ts";
import { ggufWeights } from "./ggufWeights.ts";
import type { LoadedModel } from "./load.ts";
import { parseSpec } from "./spec.ts";
import { checkWeights, parameterCount } from "./weights.ts";

/** A model in one GGUF file (or its parts): everything is in there. Throws what `openGguf` and `ggufConfig` throw. */
export async function loadGguf(files: ModelFiles, name: string, signal?: AbortSignal): Promise<LoadedModel> {
  const file = await openGguf(files, name, signal);
  const { metadata } = file.header;
  const spec = await ggufSpec(file, name, signal);
  const weights = ggufWeights(spec, String(metadata.get("general.architecture")), file.store, name);
  checkWeights(spec, weights);
  const template = chatTemplate(metadata);
  return {
    label: name.replace(/\.gguf$/i, ""),
    spec: template === undefined && spec.promptFormat === "chat" ? { ...spec, promptFormat: "plain" } : spec,
    weights,
    tokenizer: () => ggufTokenizer(metadata, name),
    chatTemplate: template,
    bosToken: specialTokenText(metadata, "bos"),
    eosToken: specialTokenText(metadata, "eos"),
    parameterCount: parameterCount(spec),
    attendedPrecision: undefined,
  };
}

/** The facts of the model; what is wrong with them is said of the file they stand in. */
async function ggufSpec(file: GgufFile, name: string, signal: AbortSignal | undefined): Promise<ModelSpec> {
  const config = await ggufConfig(file, name, signal);
  try {
    return parseSpec(config);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const message = error.message.replaceAll("config.json", `the metadata of ${name}`);
    throw new EngineError(error.code, message, "choose another GGUF file of this model", error.facts);
  }
}
