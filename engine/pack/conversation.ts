/** Messages of any chat as a prompt of a model, and what each of them takes of it. */
import type { ModelSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ChatMessage, ChatTemplate } from "./chatTemplate.ts";
import { headerLine } from "./pack.ts";
import { partsAround, placeholder } from "./templateParts.ts";

/** A model as its prompts are written. */
export interface PromptModel {
  spec: Pick<ModelSpec, "promptFormat">;
  tokenizer: Pick<Tokenizer, "encode" | "count" | "prefixIds">;
  /** Needed by the prompt format `chat`. */
  chatTemplate: ChatTemplate | undefined;
}

/**
 * Token ids of a conversation with the assistant's turn opened. Only template text can hold control tokens. A base model gets questions and
 * answers in plain words. Throws `bad-argument` where nothing is said, and `unsupported-model` where the template cannot write it.
 */
export function conversationPrompt(model: PromptModel, messages: readonly ChatMessage[]): Int32Array<ArrayBuffer> {
  const said = tidyMessages(messages);
  if (said.length === 0) throw new EngineError("bad-argument", "the conversation is empty", "say something first");
  if (model.spec.promptFormat === "chat") return templatePrompt(model, said);
  const { tokenizer } = model;
  const turns = said.map((message) => tokenizer.encode(plainTurn(message)));
  return join([Int32Array.from(tokenizer.prefixIds), ...turns, tokenizer.encode(PLAIN_CLOSING)]);
}

/** Tokens around the messages of a conversation: what opens it, what each role's message has beside its text, what opens the reply. */
export interface ConversationFrame {
  opening: number;
  closing: number;
  /** `system` may be negative: where it takes the place of a longer text of the template's own. */
  roles: Readonly<Record<ChatMessage["role"], number>>;
}

/** What the model writes around messages; the numbers add up to `conversationPrompt` for any alternating conversation. */
export function conversationFrame(model: PromptModel): ConversationFrame {
  const { tokenizer } = model;
  if (model.spec.promptFormat === "chat") return templateFrame(model);
  const frame = (role: ChatMessage["role"]): number => tokenizer.count(plainTurn({ role, content: "" }));
  return {
    opening: tokenizer.prefixIds.length,
    closing: tokenizer.count(PLAIN_CLOSING),
    roles: { system: frame("system"), user: frame("user"), assistant: frame("assistant") },
  };
}

/** Tokens that a message adds to a conversation. Of an extractive model, what it takes as one of the texts that are quoted from. */
export function messageTokens(model: PromptModel, frame: ConversationFrame, { role, content }: ChatMessage): number {
  const { spec, tokenizer } = model;
  if (spec.promptFormat === "extractive")
    return tokenizer.count(`${headerLine(messageName(0))}\n`) + tokenizer.count(`${content}\n`);
  if (spec.promptFormat === "plain") return tokenizer.count(plainTurn({ role, content }));
  return Math.max(0, frame.roles[role] + tokenizer.count(content));
}

/** What an extractive model is shown of a conversation: the last line that the user said is the question, everything before it is text. */
export function questionAndTexts(messages: readonly ChatMessage[]): {
  question: string;
  texts: { path: string; text: string }[];
} {
  const said = messages.filter(({ content }) => content.trim() !== "");
  const asked = said.findLastIndex(({ role }) => role === "user");
  const last = said[asked];
  if (!last) throw new EngineError("bad-argument", "nothing was asked", "end the conversation with a question");
  const lines = last.content.trimEnd().split("\n");
  const question = lines.pop() ?? "";
  const earlier = said.slice(0, asked).map(({ content }) => content);
  const texts = [...earlier, lines.join("\n")]
    .filter((text) => text.trim() !== "")
    .map((text, i) => ({ path: messageName(i), text }));
  return { question, texts };
}

function messageName(index: number): string {
  return `message ${index + 1}`;
}

/**
 * Messages as every template takes them: what the system says comes first and as one, neighbours of one role are one message, empty ones are
 * gone.
 */
function tidyMessages(messages: readonly ChatMessage[]): ChatMessage[] {
  const said = messages.filter(({ content }) => content.trim() !== "");
  const ordered = [...said.filter(({ role }) => role === "system"), ...said.filter(({ role }) => role !== "system")];
  const tidy: ChatMessage[] = [];
  for (const { role, content } of ordered) {
    const before = tidy.at(-1);
    if (before?.role === role) tidy[tidy.length - 1] = { role, content: `${before.content}\n\n${content}` };
    else tidy.push({ role, content });
  }
  return tidy;
}

function templatePrompt(model: PromptModel, messages: readonly ChatMessage[]): Int32Array<ArrayBuffer> {
  const template = templateOf(model);
  const { said, parts } = partsFor(template, messages);
  const { tokenizer } = model;
  const written = parts.map((part) => tokenizer.encode(part, { special: "recognize" }));
  const texts = said.map(({ content }) => tokenizer.encode(content));
  return join(written.flatMap((part, i) => [part, texts[i] ?? new Int32Array(0)]));
}

/** The parts around messages; a template that knows no system role gets what it says in front of the user's first message. */
function partsFor(template: ChatTemplate, messages: readonly ChatMessage[]): { said: readonly ChatMessage[]; parts: string[] } {
  try {
    return { said: messages, parts: around(template, messages) };
  } catch (error) {
    const [system, first, ...rest] = messages;
    if (!EngineError.is(error, "unsupported-model") || system?.role !== "system") throw error;
    const user: ChatMessage =
      first?.role === "user" ? { role: "user", content: `${system.content}\n\n${first.content}` } : { ...system, role: "user" };
    const said = first === undefined || first.role === "user" ? [user, ...rest] : [user, first, ...rest];
    return { said, parts: around(template, said) };
  }
}

function around(template: ChatTemplate, messages: readonly Pick<ChatMessage, "role">[]): string[] {
  const marked = messages.map(({ role }, i): ChatMessage => ({ role, content: placeholder(i) }));
  return partsAround(template, marked, messages.length);
}

/**
 * A template is asked to write user, assistant, user. What stands in front of both questions alike is a question's own, and so is what follows
 * both alike; the rest opens the conversation, belongs to the answer, or opens the reply. So the numbers add up exactly.
 */
function templateFrame(model: PromptModel): ConversationFrame {
  const template = templateOf(model);
  const ids = (roles: readonly ChatMessage["role"][]): number[][] =>
    around(
      template,
      roles.map((role) => ({ role })),
    ).map((part) => [...model.tokenizer.encode(part, { special: "recognize" })]);
  const [first = [], answer = [], second = [], end = []] = ids(["user", "assistant", "user"]);
  const before = shared(first.toReversed(), second.toReversed());
  const behind = shared(answer, end);
  const opening = first.length - before;
  const user = before + behind;
  const closing = end.length - behind;
  const system = systemTokens(model.tokenizer, ids, opening + user + closing);
  return { opening, closing, roles: { user, assistant: answer.length - behind + second.length - before, system } };
}

/** What a system message adds beside its text; where the template knows none, it is a paragraph of the first question. */
function systemTokens(
  tokenizer: PromptModel["tokenizer"],
  ids: (roles: readonly ChatMessage["role"][]) => number[][],
  withoutIt: number,
): number {
  try {
    return ids(["system", "user"]).reduce((sum, part) => sum + part.length, -withoutIt);
  } catch (error) {
    if (EngineError.is(error, "unsupported-model")) return tokenizer.count("\n\n");
    throw error;
  }
}

/** How many of the first elements are the same. */
function shared(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

function templateOf({ chatTemplate }: PromptModel): ChatTemplate {
  if (chatTemplate) return chatTemplate;
  throw new EngineError("unsupported-model", "the model has no chat template", "add chat_template.jinja to its folder");
}

/** One turn as a base model reads it. */
function plainTurn({ role, content }: ChatMessage): string {
  switch (role) {
    case "system":
      return `${content}\n`;
    case "user":
      return `\nQuestion: ${content}`;
    case "assistant":
      return `\nAnswer: ${content}\n`;
  }
}

const PLAIN_CLOSING = "\nAnswer:";

function join(parts: readonly Int32Array[]): Int32Array<ArrayBuffer> {
  const joined = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
