/** What config.json says of every model, whatever its kind. */
import type { CommonSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import { type JsonFields, shown } from "../formats/json.ts";

export const CONFIG_REMEDY = "download config.json again from where the model came";

const DEFAULT_EPS = 1e-6;

/** What every family has. `epsKey` is what it calls the eps of its norms. */
export function commonOf(fields: JsonFields, modelType: string, tiedByDefault: boolean, epsKey: string): CommonSpec {
  return {
    modelType,
    vocabSize: fields.positiveInteger("vocab_size"),
    hiddenSize: fields.positiveInteger("hidden_size"),
    layerCount: fields.positiveInteger("num_hidden_layers"),
    normEps: positive(fields, epsKey, DEFAULT_EPS),
    maxPositionEmbeddings: fields.positiveInteger("max_position_embeddings"),
    tiedEmbeddings: fields.boolean("tie_word_embeddings", tiedByDefault),
    embeddingMultiplier: positive(fields, "embedding_multiplier", 1),
    bosTokenId: fields.tokenId("bos_token_id"),
    eosTokenIds: tokenIds(fields, "eos_token_id"),
    absentTokenId: fields.tokenId("absent_token_id"),
    promptFormat: promptFormatOf(fields),
    answerLines: answerLinesOf(fields),
  };
}

function tokenIds(fields: JsonFields, key: string): number[] {
  const value = fields.value(key);
  if (!Array.isArray(value)) {
    const id = fields.tokenId(key);
    return id === undefined ? [] : [id];
  }
  if (value.every((id): id is number => Number.isSafeInteger(id) && Number(id) >= 0)) return value;
  throw badConfig(`${key} ${shown(value)} is not a list of token ids`);
}

function promptFormatOf(fields: JsonFields): CommonSpec["promptFormat"] {
  const format = fields.string("prompt_format", "chat");
  if (format === "chat" || format === "extractive" || format === "plain") return format;
  throw badConfig(`prompt_format ${shown(format)} is not extractive, chat or plain`);
}

function answerLinesOf(fields: JsonFields): CommonSpec["answerLines"] {
  const lines = fields.string("answer_lines", "one");
  if (lines === "one" || lines === "many") return lines;
  throw badConfig(`answer_lines ${shown(lines)} is not one or many`);
}

export function positive(fields: JsonFields, key: string, fallback: number): number {
  const value = fields.number(key, fallback);
  if (value > 0) return value;
  throw badConfig(`${key} ${value} must be above 0`);
}

export function badConfig(what: string): EngineError {
  return new EngineError("unsupported-model", `config.json: ${what}`, CONFIG_REMEDY);
}
