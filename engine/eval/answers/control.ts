/** What is answered without a model: what a search for the name finds first, read where the model's answers are read. */
import { linesAround, searchFor } from "../../generate/answerLines.ts";
import type { ContextFile, ExpectedAnswer, Question } from "./api.ts";
import type { PackText } from "./packText.ts";

/** The first line that holds the name; where the question is about what stands around a definition, the first such line around that one. */
export function answerWithoutModel(
  question: Pick<Question, "text" | "name">,
  text: PackText,
  files: readonly ContextFile[],
): ExpectedAnswer | undefined {
  const mention = text.firstMention(question.name);
  const search = searchFor(question.text);
  if (mention === undefined || search?.definitionFirst === undefined) return mention;
  const lines = files.find(({ path }) => path === mention.path)?.lines ?? [];
  const mayAnswer = linesAround(search.kind, [mention], () => lines);
  const line = lines.findIndex((_, i) => mayAnswer({ path: mention.path, line: i + 1 }, "")) + 1;
  return line === 0 ? undefined : { path: mention.path, line, text: (lines[line - 1] ?? "").trim() };
}
