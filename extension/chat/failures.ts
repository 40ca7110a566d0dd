/** Errors as the chat shows them. No `vscode`. */
import { EngineError, plainError } from "../../engine/errors.ts";

/** What went wrong and what to do, in two sentences. */
export function failureText(error: unknown): string {
  const { message, remedy } = plainError(error);
  return `${sentence(message)} To do: ${remedy}.`;
}

export function isAborted(error: unknown): boolean {
  return EngineError.is(error, "aborted");
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
