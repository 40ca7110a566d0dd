/** What could be asked next, from what was answered: questions of the kinds that are answered with quotes. No `vscode`. */
import { readMentions } from "../../engine/pack/mentions.ts";
import type { AnswerMemory } from "./history.ts";
import type { ChatCommandName } from "./names.ts";

export interface Followup {
  prompt: string;
  label?: string;
  command?: ChatCommandName;
}

const most = 3;

/** At most three, none of them what was just asked. */
export function followups({ question, absent, path, quote, leftOut }: AnswerMemory): Followup[] {
  const name = readMentions([question]).identifiers[0];
  const found: Followup[] = [];
  if (absent || leftOut > 0)
    found.push({ prompt: question, label: "What would be read, and what does not fit?", command: "plan" });
  if (name !== undefined) {
    const callable = quote !== undefined && /\b(function|def|fn|func)\b|=>|\)\s*[:{]/.test(quote);
    if (absent) found.push({ prompt: `Which file contains \`${name}\`?` });
    else {
      found.push({ prompt: callable ? `What does \`${name}\` return?` : `What is the value of \`${name}\`?` });
      found.push({ prompt: `Which file imports \`${name}\`?` });
      found.push({ prompt: `What does the comment above \`${name}\` say?` });
    }
  } else if (path !== undefined) found.push({ prompt: `What does ${path} import?` });
  const asked = plain(question);
  return found.filter(({ prompt, command }) => command !== undefined || plain(prompt) !== asked).slice(0, most);
}

function plain(question: string): string {
  return question
    .replaceAll(/[`()?]/g, "")
    .trim()
    .toLowerCase();
}
