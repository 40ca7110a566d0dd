import * as vscode from "vscode";
import { EngineError } from "../../engine/errors.ts";
import type { ChatMessage } from "../../engine/pack/chatTemplate.ts";

/** A message of VS Code's as a template takes it. Throws `bad-argument` for what is no text. */
export function chatMessage({ role, content, name }: vscode.LanguageModelChatRequestMessage): ChatMessage {
  const text = content.map(partText).join("");
  return { role: roleOf(role), content: name === undefined || name === "" ? text : `${name}: ${text}` };
}

/** The roles in the typings are two; VS Code's own prompts also have a system's, which follows them. */
function roleOf(role: vscode.LanguageModelChatMessageRole): ChatMessage["role"] {
  if (role === vscode.LanguageModelChatMessageRole.User) return "user";
  return role === vscode.LanguageModelChatMessageRole.Assistant ? "assistant" : "system";
}

function partText(part: unknown): string {
  if (part instanceof vscode.LanguageModelTextPart) return part.value;
  if (part instanceof vscode.LanguageModelToolResultPart) return part.content.map(partText).join("");
  if (part instanceof vscode.LanguageModelToolCallPart) return `${part.name}(${JSON.stringify(part.input)})`;
  if (isData(part)) {
    if (part.mimeType.startsWith("text/") || part.mimeType === "application/json") return new TextDecoder().decode(part.data);
    // What VS Code says to providers that bill by what they cache is no part of the conversation.
    if (part.mimeType === "cache_control") return "";
    throw new EngineError("bad-argument", `the model cannot read ${part.mimeType}`, "attach text instead");
  }
  throw new EngineError("bad-argument", "the model reads text only, and a message has something else", "attach text instead");
}

/** A part that newer versions of VS Code have: bytes with their type. */
function isData(part: unknown): part is { mimeType: string; data: Uint8Array } {
  return (
    typeof part === "object" &&
    part !== null &&
    "mimeType" in part &&
    typeof part.mimeType === "string" &&
    "data" in part &&
    part.data instanceof Uint8Array
  );
}
