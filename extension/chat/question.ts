/** From what was typed into the chat to a question of the engine. No `vscode`. */
import type { ChatCommandName } from "./names.ts";

/** A reference that stands in the text, with what to read in its place. */
export interface TypedReference {
  /** Where it begins and ends, its "#" included. */
  range: readonly [start: number, end: number];
  name: string;
}

/** The text with each `#…` replaced by the name of what it means, so that the question names it in words. */
export function withNames(prompt: string, references: readonly TypedReference[]): string {
  let text = prompt;
  const backwards = [...references].sort((a, b) => b.range[0] - a.range[0]);
  for (const { range, name } of backwards) text = text.slice(0, range[0]) + name + text.slice(range[1]);
  return text.trim();
}

/** `/where retryCeiling` is the question that the bundled model was trained to answer; a whole sentence stays what it is. */
export function questionOf(command: ChatCommandName | undefined, text: string): string {
  const name = /^`?([\p{L}\p{N}_$.#:-]+)(?:\(\))?`?\??$/u.exec(text)?.[1];
  return command === "where" && name !== undefined ? `Where is \`${name}\` defined?` : text;
}
