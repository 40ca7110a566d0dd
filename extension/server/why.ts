import type { CountedEntry } from "./budgetTable.ts";
import { marksOf, rowOf, type RowSource } from "./budgetRows.ts";
import { decideLevel, levelWords, placeWords } from "./levelDecision.ts";
import type { BudgetRow } from "./requests.ts";
import type { FoundChoice } from "./selection.ts";

/** Everything that decided the level of a path, one sentence each; no sentence where there is no such row. */
export function whyOf(source: RowSource, path: string): string[] {
  const row = rowOf(source, path);
  if (!row) return [];
  if (row.kind === "excluded") return [`It is not counted: ${row.reason}.`];
  if (row.kind === "folder") return folderSentences(source, row);
  const file = source.table.file(path);
  return file ? fileSentences(source, file.entry, row) : [];
}

function folderSentences({ selection }: RowSource, row: BudgetRow): string[] {
  const { tokens, fullTokens, includedFiles, files } = row;
  return [
    `${number(includedFiles)} of ${number(files)} files go into the pack, with ${number(tokens)} of ${number(fullTokens)} tokens.`,
    `By level: ${row.reason}.`,
    ...chosenSentences(selection.all(row.path), row.path),
    ...estimateSentence(row),
  ];
}

function fileSentences({ selection, table }: RowSource, entry: CountedEntry, row: BudgetRow): string[] {
  const { level, reason } = decideLevel(selection, entry);
  const chosen = selection.all(entry.path);
  const cost = level === "excluded" ? `It would cost ${number(entry.tokens)} tokens.` : costSentence(entry, row);
  return [
    `It is at the level ${levelWords[level]}: ${reason}.`,
    cost,
    ...chosenSentences(chosen, entry.path),
    ...outlineSentences(entry),
    ...marksOf(table, entry).map(({ message }) => `Note: ${message}.`),
    ...estimateSentence(row),
  ];
}

function costSentence({ tokens, nameTokens }: CountedEntry, row: BudgetRow): string {
  const named = `the line that names it has ${number(nameTokens)}`;
  if (row.level === "name")
    return `It costs ${number(nameTokens)} tokens, those of its name; its text would cost ${number(tokens)}.`;
  return `It costs ${number(row.tokens)} tokens in the pack; its text has ${number(tokens)}, ${named}.`;
}

/** The first one decides; the others would, if it were not there. */
function chosenSentences(chosen: readonly FoundChoice[], path: string): string[] {
  return chosen.map(({ key, level, fitted }, index) => {
    const what = `${levelWords[level]} is chosen ${placeWords(key, path)}`;
    if (index > 0) return `Overruled by the deeper choice: ${what}${fitted ? ", by a fit" : ""}.`;
    return fitted ? `A fit decided it: ${what}.` : `You decided it: ${what}.`;
  });
}

function outlineSentences({ outline }: CountedEntry): string[] {
  if (!outline) return [];
  return ["reason" in outline ? `There is no outline: ${outline.reason}.` : `Its outline has ${number(outline.tokens)} tokens.`];
}

function estimateSentence({ approximate }: BudgetRow): string[] {
  return approximate ? ["The tokens are an estimate until it is counted."] : [];
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
