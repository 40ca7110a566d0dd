import * as vscode from "vscode";
import type { Level } from "../../engine/pack/levels.ts";
import { filesText } from "./numbers.ts";
import { isIncluded, levelNames } from "./rows.ts";
import type { BudgetSource } from "./source.ts";

/** Puts all paths at one level, as one step that Undo takes back. */
export async function setLevel(source: BudgetSource, paths: readonly string[], level: Level): Promise<void> {
  await source.call("longContext/setLevels", { levels: Object.fromEntries(paths.map((path) => [path, level])) });
  const what = paths.length === 1 ? (paths[0] ?? "") : `${paths.length} rows`;
  vscode.window.setStatusBarMessage(`Long Context: ${what || "the workspace"} is ${levelNames[level]}`, 4000);
}

/** As the check box: leaves everything out where something of it goes into the pack, else takes all of it in. */
export async function toggleIncluded(source: BudgetSource, paths: readonly string[]): Promise<void> {
  const rows = await Promise.all(paths.map((path) => source.call("longContext/row", { path })));
  const included = rows.some(({ row }) => row !== undefined && isIncluded(row));
  await source.call(
    "longContext/checkRows",
    included ? { takenIn: [], leftOut: [...paths] } : { takenIn: [...paths], leftOut: [] },
  );
}

/** Forgets what was chosen for these paths and everything below them; returns how many choices that were. */
export async function resetLevels(source: BudgetSource, paths: readonly string[]): Promise<number> {
  return (await source.call("longContext/resetLevels", { paths: [...paths] })).forgotten;
}

/** Everything that decided the level of a row, sentence by sentence, in a list that a screen reader reads. */
export async function showWhy(source: BudgetSource, path: string): Promise<readonly string[]> {
  const { sentences } = await source.call("longContext/why", { path });
  const items = sentences.map((sentence) => ({ label: sentence }));
  // The list stays open as long as it is read; the command does not wait for it.
  void vscode.window.showQuickPick(items.length > 0 ? items : [{ label: "Nothing was decided about it." }], {
    title: `Why is ${path || "the workspace"} at this level?`,
    placeHolder: "Escape closes",
  });
  return sentences;
}

/** "3 files withheld: …" */
export function withheldText(withheld: readonly { path: string; reason: string }[]): string {
  const named = withheld.slice(0, 3).map(({ path, reason }) => `${path} (${reason})`);
  const rest = withheld.length > 3 ? `, and ${withheld.length - 3} more` : "";
  return `${filesText(withheld.length)} withheld: ${named.join(", ")}${rest}`;
}
