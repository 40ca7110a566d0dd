/** What is answered without a model: what a search for the name finds first, read where the model's answers are read. */
import { linesAround, linesHolding, searchFor } from "../../generate/answerLines.ts";
import type { ContextFile, ExpectedAnswer, Question } from "./api.ts";
import type { PackText } from "./packText.ts";

/** The first line that can answer; where the question is about what stands around a definition, the first such line around the first with the name. */
export function answerWithoutModel(
  question: Pick<Question, "text" | "name">,
  text: PackText,
  files: readonly ContextFile[],
): ExpectedAnswer | undefined {
  const mention = text.firstMention(question.name);
  const search = searchFor(question.text);
  if (mention === undefined || search === undefined) return mention;
  const linesOf = (path: string): readonly string[] => files.find((file) => file.path === path)?.lines ?? [];
  const mayAnswer = search.definitionFirst
    ? linesAround(search.kind, [mention], linesOf)
    : linesHolding(
        search,
        files.map(({ lines }) => lines),
      )?.mayAnswer;
  if (!mayAnswer) return mention;
  for (const { path, lines } of files) {
    const line = lines.findIndex((text, i) => mayAnswer({ path, line: i + 1 }, text.trim())) + 1;
    if (line > 0) return { path, line, text: (lines[line - 1] ?? "").trim() };
  }
  return undefined;
}
