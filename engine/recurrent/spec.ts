/** Facts of recurrent models from their config.json: Hugging Face keys of mamba and mamba2, those of flash-linear-attention for rwkv7. */
import type { RecurrentSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { JsonRecord } from "../formats/json.ts";

export const recurrentTypes: readonly string[] = ["mamba", "mamba2", "rwkv7"];

/** Throws `unsupported-model` for what the engine cannot run faithfully. */
export function parseRecurrentSpec(modelType: string, _config: JsonRecord): RecurrentSpec {
  throw new EngineError("unsupported-model", `model type ${modelType} is not supported yet`, "choose a transformer");
}
