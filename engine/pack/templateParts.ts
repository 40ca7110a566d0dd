/** A chat template rendered around placeholders: what it writes itself may hold control tokens, the texts it is given never do. */
import { EngineError } from "../errors.ts";
import { type ChatMessage, type ChatTemplate, renderChat } from "./chatTemplate.ts";

/** Stands for text number `index`. Private-use characters keep a template from trimming or matching it. */
export function placeholder(index: number): string {
  return `\uE000${index}\uE001`;
}

/**
 * What the template writes in front of each of `count` texts, and last what it writes behind them all. The messages hold every placeholder
 * once, in order. Throws `unsupported-model` where the template drops, repeats or reorders them.
 */
export function partsAround(template: ChatTemplate, messages: readonly ChatMessage[], count: number): string[] {
  const parts = renderChat(template, messages).split(/\uE000(\d+)\uE001/);
  const order = parts.filter((_, i) => i % 2 === 1).map(Number);
  if (order.length !== count || order.some((index, i) => index !== i)) {
    const message = "the chat template drops, repeats or reorders messages";
    throw new EngineError("unsupported-model", message, "use a model whose chat template writes every message once");
  }
  return parts.filter((_, i) => i % 2 === 0);
}
