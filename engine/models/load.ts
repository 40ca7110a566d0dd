import type { ModelFiles, ModelSpec, WeightStore } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import type { AttendedPrecision } from "../generate/api.ts";
import { isRecord, parseJson, shown } from "../formats/json.ts";
import { parsePythonJson } from "../formats/jsonText.ts";
import { openSafetensors } from "../formats/safetensors.ts";
import { rwkvConfigFromWeights } from "../recurrent/checkpoint.ts";
import { loadTokenizer } from "../tokenizer/load.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { attendedPrecision } from "./attendedFile.ts";
import { openFolderWeights } from "./folderWeights.ts";
import { loadGguf } from "./loadGguf.ts";
import { parseSpec } from "./spec.ts";
import { checkWeights, parameterCount } from "./weights.ts";

/** A model folder, understood and checked; weights are still on disk. */
export interface LoadedModel {
  label: string;
  /** Final: a model without a chat template is `plain`, and generation_config.json adds to the tokens that end an answer. */
  spec: ModelSpec;
  weights: WeightStore;
  /** Makes the tokenizer; throws `not-found`, `tokenizer-invalid` or `unsupported-tokenizer`. Token ids need none. */
  tokenizer(): Tokenizer;
  /** Jinja source that turns messages into a prompt. */
  chatTemplate: string | undefined;
  /** What the template calls bos_token and eos_token. */
  bosToken: string | undefined;
  eosToken: string | undefined;
  parameterCount: number;
  /** attended.json; undefined where the folder has none. */
  attendedPrecision: AttendedPrecision | undefined;
}

const CONFIG = "config.json";
const TOKENIZER = "tokenizer.json";
const REMEDY = "choose a Hugging Face model folder with config.json, tokenizer.json and safetensors weights";

/** Reads config.json, generation_config.json, attended.json, tokenizer.json, tokenizer_config.json and the weights' headers, or one GGUF file. Throws `not-found`, `unsupported-model`, `bad-weights` … */
export async function loadModel(files: ModelFiles, signal?: AbortSignal): Promise<LoadedModel> {
  throwIfAborted(signal);
  if (files.ggufName !== undefined) return loadGguf(files, files.ggufName, signal);
  const config = await configOf(files, signal);
  const configured = parseSpec(config);
  const tokenizerText = await files.text(TOKENIZER);
  throwIfAborted(signal);
  const { spec, weights } = await openFolderWeights(config, configured, files, signal);
  checkWeights(spec, weights);
  const settings = await tokenizerSettings(files);
  const chatTemplate = (await files.text("chat_template.jinja")) ?? settings.chatTemplate;
  const promptFormat = spec.promptFormat === "chat" && chatTemplate === undefined ? "plain" : spec.promptFormat;
  const eosTokenIds = [...new Set([...spec.eosTokenIds, ...(await generationEos(files))])];
  return {
    label: files.label,
    spec: { ...spec, promptFormat, eosTokenIds },
    weights,
    tokenizer: () => loadTokenizer(jsonOf(tokenizerText, files, TOKENIZER, "tokenizer-invalid")),
    chatTemplate,
    bosToken: settings.bosToken,
    eosToken: settings.eosToken,
    parameterCount: parameterCount(spec),
    attendedPrecision: await attendedPrecision(files),
  };
}

/** Chat models name more ends of an answer in generation_config.json than in config.json (Llama 3: <|eot_id|>). */
async function generationEos(files: ModelFiles): Promise<readonly number[]> {
  const name = "generation_config.json";
  const text = await files.text(name);
  if (text === undefined) return [];
  const json = parseJson(text, name, "unsupported-model", REMEDY);
  if (!isRecord(json)) throw new EngineError("unsupported-model", `${name} holds ${shown(json)}, not an object`, REMEDY);
  const value = json["eos_token_id"] ?? [];
  const ids: readonly unknown[] = Array.isArray(value) ? value : [value];
  return ids.map((id) => {
    if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return id;
    throw new EngineError("unsupported-model", `${name} has the eos_token_id ${shown(value)}`, REMEDY);
  });
}

/** config.json; where there is none, what the tensors say: an RWKV-7 as BlinkDL publishes it is weights alone. */
async function configOf(files: ModelFiles, signal: AbortSignal | undefined): Promise<unknown> {
  const text = await files.text(CONFIG);
  const isWeightsAlone = text === undefined && (await files.open("model.safetensors")) !== undefined;
  const told = isWeightsAlone ? rwkvConfigFromWeights(await openSafetensors(files, signal)) : undefined;
  return told ?? jsonOf(text, files, CONFIG, "unsupported-model");
}

function jsonOf(
  text: string | undefined,
  files: ModelFiles,
  name: string,
  damagedCode: "unsupported-model" | "tokenizer-invalid",
): unknown {
  if (text === undefined)
    throw new EngineError("not-found", `${files.label} has no ${name}`, REMEDY, { folder: files.label, file: name });
  return parsePythonJson(text, name, damagedCode, `download ${name} again from where the model came`);
}

async function tokenizerSettings(files: ModelFiles): Promise<Pick<LoadedModel, "chatTemplate" | "bosToken" | "eosToken">> {
  const text = await files.text("tokenizer_config.json");
  if (text === undefined) return { chatTemplate: undefined, bosToken: undefined, eosToken: undefined };
  const json = parseJson(text, "tokenizer_config.json", "tokenizer-invalid", "download tokenizer_config.json again");
  if (!isRecord(json)) throw badSettings(`holds ${shown(json)}, not an object`);
  return {
    chatTemplate: templateOf(json["chat_template"] ?? undefined),
    bosToken: tokenText("bos_token", json["bos_token"] ?? undefined),
    eosToken: tokenText("eos_token", json["eos_token"] ?? undefined),
  };
}

/** One template, or a list of named ones of which "default" is meant for conversations. */
function templateOf(value: unknown): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  if (!Array.isArray(value)) throw badSettings(`has the chat_template ${shown(value)}`);
  const named: unknown = value.find((entry) => isRecord(entry) && entry["name"] === "default");
  if (named === undefined) return undefined;
  if (isRecord(named) && typeof named["template"] === "string") return named["template"];
  throw badSettings("has a default chat_template without text");
}

/** A special token is written as a string, or as an object with its content. */
function tokenText(key: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  if (isRecord(value) && typeof value["content"] === "string") return value["content"];
  throw badSettings(`has the ${key} ${shown(value)}`);
}

function badSettings(what: string): EngineError {
  return new EngineError("tokenizer-invalid", `tokenizer_config.json ${what}`, "download tokenizer_config.json again");
}
