/** What is answered without a model: what a search for the name finds first, read where the model's answers are read. */
import { firstLines, linesAround, type MayAnswer, searchFor } from "../../generate/answerLines.ts";
import type { ContextFile, ExpectedAnswer, Question } from "./api.ts";
import type { PackText } from "./packText.ts";

/** The first line that can answer; what stands around a definition is looked for around the first line that can be one. */
export function answerWithoutModel(
  question: Pick<Question, "text" | "name">,
  text: PackText,
  files: readonly ContextFile[],
): ExpectedAnswer | undefined {
  const search = searchFor(question.text);
  const candidates = search && firstLines(search, linesOfAll(files));
  if (!search || !candidates) return text.firstMention(question.name);
  const first = firstOf(files, candidates.mayAnswer);
  if (first === undefined || search.definitionFirst === undefined) return first;
  const linesOf = (path: string): readonly string[] => files.find((file) => file.path === path)?.lines ?? [];
  return firstOf(files, linesAround(search.kind, [first], linesOf));
}

function linesOfAll(files: readonly ContextFile[]): (readonly string[])[] {
  return files.map(({ lines }) => lines);
}

function firstOf(files: readonly ContextFile[], mayAnswer: MayAnswer): ExpectedAnswer | undefined {
  for (const { path, lines } of files) {
    const line = lines.findIndex((text, i) => mayAnswer({ path, line: i + 1 }, text.trim())) + 1;
    if (line > 0) return { path, line, text: (lines[line - 1] ?? "").trim() };
  }
  return undefined;
}
