import type { QuestionType } from "./api.ts";
import type { Draw } from "./draw.ts";

/** What is asked for, whatever makes it hard. */
export type Wording = Exclude<QuestionType, "definition-hard" | "needle-multi" | "absent-unseen" | "absent-used">;

const wordings: Readonly<Record<Wording, readonly string[]>> = {
  definition: [
    "Where is {name} defined?",
    "Which line defines {name}?",
    "Show me the definition of {name}",
    "Where is {name} declared?",
    "Find the definition of {name}.",
  ],
  signature: [
    "What is the signature of {name}?",
    "What parameters does {name} take?",
    "Show me the signature of {name}",
    "How does the definition of {name} begin?",
  ],
  constant: [
    "What is the value of {name}?",
    "What is {name} set to?",
    "Which value does {name} have?",
    "What does {name} equal?",
  ],
  return: [
    "What does {name} return?",
    "What is returned by {name}?",
    "Show me what {name} returns",
    "What is the return value of {name}?",
  ],
  import: [
    "Where is {name} imported?",
    "Which line imports {name}?",
    "Show me the import of {name}",
    "Where does {name} come from?",
  ],
  caller: ["Where is {name} called?", "Which line calls {name}?", "What calls {name}?", "Show me the call of {name}"],
  comment: [
    "What does the comment on {name} say?",
    "How is {name} documented?",
    "What does the documentation of {name} say?",
    "Show me the comment above {name}",
  ],
  key: [
    "What is {name} set to?",
    "What is the value of {name} in the configuration?",
    "Which value does the key {name} have?",
    "Show me the setting {name}",
  ],
  file: [
    "Which file defines {name}?",
    "In which file is {name} defined?",
    "What file is {name} in?",
    "Which file contains the definition of {name}?",
  ],
  needle: [
    "What is the special magic number for {name}?",
    "What is the magic number for {name}?",
    "Find the special magic number for {name}.",
  ],
};

/** One question in a drawn wording; the name of code stands in backticks half of the time, as people write it. */
export function phrase(wording: Wording, name: string, draw: Draw): string {
  const choices = wordings[wording];
  const template = choices[draw(choices.length)] ?? "";
  const isCode = wording !== "needle" && draw(2) === 0;
  return template.replace("{name}", () => (isCode ? `\`${name}\`` : name));
}
