import { Template } from "@huggingface/jinja";
import { EngineError } from "../errors.ts";

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/** The chat template of a model with the token texts it may name. */
export interface ChatTemplate {
  source: string;
  bosToken: string;
  eosToken: string;
}

const REMEDY = "use a model whose chat template takes plain user and assistant messages";

/** Renders messages and opens the assistant's turn; throws `unsupported-model` where the template cannot. */
export function renderChat(template: ChatTemplate, messages: readonly ChatMessage[]): string {
  try {
    return new Template(template.source).render({
      messages,
      add_generation_prompt: true,
      bos_token: template.bosToken,
      eos_token: template.eosToken,
    });
  } catch (error) {
    throw new EngineError("unsupported-model", `the chat template fails: ${error instanceof Error ? error.message : String(error)}`, REMEDY);
  }
}

/**
 * The chat template of tokenizer_config.json (a string, or a list of named ones: `default` is taken) or of
 * chat_template.jinja, which wins; undefined where the model has none.
 */
export function readChatTemplate(tokenizerConfig: unknown, jinjaFile: string | undefined): ChatTemplate | undefined {
  const config: Readonly<Record<string, unknown>> = isObject(tokenizerConfig) ? tokenizerConfig : {};
  const source = jinjaFile ?? templateSource(config.chat_template);
  if (source === undefined) return undefined;
  return { source, bosToken: tokenText(config.bos_token), eosToken: tokenText(config.eos_token) };
}

function templateSource(json: unknown): string | undefined {
  if (typeof json === "string") return json;
  if (!Array.isArray(json)) return undefined;
  const named: readonly unknown[] = json;
  const found = named.find((item) => isObject(item) && item.name === "default");
  return isObject(found) && typeof found.template === "string" ? found.template : undefined;
}

/** A token is written as a string or as an object with `content`. */
function tokenText(json: unknown): string {
  if (typeof json === "string") return json;
  return isObject(json) && typeof json.content === "string" ? json.content : "";
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
