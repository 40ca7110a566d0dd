import { Template } from "@huggingface/jinja";
import { EngineError } from "../errors.ts";

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/** A model's Jinja template, and the texts of the tokens it may name. */
export interface ChatTemplate {
  source: string;
  bosToken: string;
  eosToken: string;
}

/** Renders messages and opens the assistant's turn; throws `unsupported-model` where the template fails. */
export function renderChat(template: ChatTemplate, messages: readonly ChatMessage[]): string {
  try {
    return new Template(template.source).render({
      messages,
      add_generation_prompt: true,
      bos_token: template.bosToken,
      eos_token: template.eosToken,
    });
  } catch (error) {
    const message = `the chat template fails: ${error instanceof Error ? error.message : String(error)}`;
    throw new EngineError(
      "unsupported-model",
      message,
      "use a model whose chat template takes plain user and assistant messages",
    );
  }
}
