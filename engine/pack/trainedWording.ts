import { type QuestionKind, readQuestion } from "./questionKind.ts";

/**
 * A question in words that the extractive models were trained on (engine/specimens/questions.py), where its kind and its name are recognised; any
 * other is left as it is. So small a model follows wordings, and loses much by new ones. Which file defines a name is asked as where it is defined:
 * the model finds that line far more often than the file's own, and a citation says in which file it stands.
 */
export function trainedWording(question: string): string {
  const { kind, name } = readQuestion(question);
  const wording = WORDINGS[kind];
  return wording === undefined || name === "" ? question : wording.replace("{}", () => `\`${name}\``);
}

/**
 * What keeps its words: a value, because they say whether it is a constant's or a setting's, and planted numbers and variables, which come in too
 * many forms.
 */
const WORDINGS: Readonly<Record<QuestionKind, string | undefined>> = {
  definition: "Where is {} defined?",
  file: "Where is {} defined?",
  signature: "What are the parameters of {}?",
  return: "What does {} return?",
  import: "Where is {} imported?",
  caller: "Where is {} called?",
  // One of the words that comments and docstrings were both asked for with.
  comment: "How is {} documented?",
  key: "What is {} set to in the configuration?",
  value: undefined,
  number: undefined,
  variables: undefined,
  unknown: undefined,
};
