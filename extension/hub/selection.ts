/** Which files of a repository are downloaded: what the engine opens, and nothing else. */
import { EngineError } from "../../engine/errors.ts";
import { ggufParts } from "./ggufParts.ts";
import { type Hub, pageUrl } from "./hub.ts";
import type { HubFile, HubRepository } from "./repository.ts";

/** Everything beside the weights that a model folder may need. */
const SETTINGS: readonly RegExp[] = [
  /^config\.json$/,
  /^generation_config\.json$/,
  /^tokenizer[\w.-]*\.(json|model)$/,
  /^special_tokens_map\.json$/,
  /^added_tokens\.json$/,
  /^chat_template\.(jinja|json)$/,
  /^rwkv_vocab[\w.-]*\.txt$/,
];
const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const SHARD = /^model-\d+-of-\d+\.safetensors$/;
/** Formats that can hold Python objects, whose loading runs code; and others the engine does not open. */
const PICKLES = /\.(bin|pt|pth|ckpt|pkl|pickle)$/i;
/** The projector of a vision model, which is no model of its own. */
const PROJECTOR = /(^|\/)mmproj[^/]*\.gguf$/i;

/** One way to have the model. */
export interface Choice {
  kind: "safetensors" | "gguf";
  /** Name of the GGUF file; "" for safetensors. */
  ggufName: string;
  files: readonly HubFile[];
}

/**
 * The ways in which a repository's model can be had: its safetensors, and each of its GGUF files. Throws `hub-refused` with the reason
 * where there is none.
 */
export function choicesOf(hub: Pick<Hub, "url">, found: HubRepository): Choice[] {
  const choices: Choice[] = [];
  const safetensors = safetensorsOf(found.files);
  if (safetensors !== undefined) choices.push({ kind: "safetensors", ggufName: "", files: safetensors });
  choices.push(...ggufChoices(found.files));
  if (choices.length === 0) throw noneOf(hub, found);
  return choices;
}

/** "Q4_K_M" of "name-Q4_K_M.gguf", or the name itself. */
export function ggufVariant(name: string): string {
  const base = (name.split("/").at(-1) ?? name).replace(/-\d{5}-of-\d{5}(?=\.gguf$)/i, "");
  return /(?:^|[-._])((?:I?Q\d\w*|BF16|F16|F32|MXFP4\w*))\.gguf$/i.exec(base)?.[1]?.toUpperCase() ?? base;
}

function safetensorsOf(files: readonly HubFile[]): HubFile[] | undefined {
  const names = new Set(files.map(({ name }) => name));
  if (!names.has("config.json")) return undefined;
  const single = names.has(SINGLE);
  const isWeight = (name: string): boolean => (single ? name === SINGLE : name === INDEX || SHARD.test(name));
  if (!single && !names.has(INDEX)) return undefined;
  return files.filter(({ name }) => isWeight(name) || SETTINGS.some((pattern) => pattern.test(name)));
}

/** Each whole GGUF model; one that was cut up is had with all its parts, or not at all. */
function ggufChoices(files: readonly HubFile[]): Choice[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  return files
    .filter(({ name }) => isGguf(name) && !PROJECTOR.test(name))
    .flatMap(({ name }) => {
      const parts = (ggufParts(name) ?? []).map((part) => byName.get(part));
      const whole = parts.filter((part) => part !== undefined);
      return whole.length > 0 && whole.length === parts.length ? [{ kind: "gguf" as const, ggufName: name, files: whole }] : [];
    });
}

function isGguf(name: string): boolean {
  return /\.gguf$/i.test(name);
}

function noneOf(hub: Pick<Hub, "url">, { repository, files }: HubRepository): EngineError {
  const page = pageUrl(hub, repository);
  const refuse = (because: string, remedy: string): EngineError =>
    new EngineError("hub-refused", `${repository} ${because}`, remedy, { repository });
  const names = files.map(({ name }) => name);
  const pickle = names.find((name) => PICKLES.test(name));
  if (names.includes("adapter_config.json")) return refuse("is an adapter, not a model", "choose the model it adapts");
  if (names.some((name) => isGguf(name) && !PROJECTOR.test(name)))
    return refuse("lacks parts of its GGUF files", "choose another repository of this model");
  if (names.some((name) => name.endsWith(".safetensors")) && !names.includes("config.json"))
    return refuse(
      "has no config.json, so its weights mean nothing to the engine",
      "choose a repository in the layout of transformers",
    );
  if (names.some((name) => name.endsWith(".safetensors")))
    return refuse(
      `has its weights in other files than ${SINGLE}, with or without an index`,
      "choose a repository in the layout of transformers",
    );
  if (pickle !== undefined) {
    return refuse(
      `has its weights only as pickles (${pickle}), which can run code when they are opened and are never downloaded`,
      `look at ${page}/discussions for a version with safetensors, or choose another repository`,
    );
  }
  return refuse("has neither safetensors nor GGUF files", `look at ${page} what it holds, and choose another repository`);
}
