import { filesOf } from "./budgetTable.ts";
import { decideLevel } from "./levelDecision.ts";
import type { WorkspaceCounts } from "./state.ts";

/**
 * What check boxes say, as one change. A row that is unchecked is left out. One that is checked is as if nobody had left it out, so that a fit
 * may still choose for it; where it would be out all the same (by a folder above it, or because a program wrote it), it is taken in whole.
 */
export function checkRows(
  { selection, table }: Pick<WorkspaceCounts, "selection" | "table">,
  { takenIn, leftOut }: { takenIn: readonly string[]; leftOut: readonly string[] },
): void {
  const isOut = (path: string): boolean => {
    const file = table.file(path);
    const folder = file ? undefined : table.folder(path);
    const files = file ? [file] : folder ? filesOf(folder) : [];
    return files.every(({ entry }) => decideLevel(selection, entry).level === "excluded");
  };
  selection.together(() => {
    if (leftOut.length > 0) selection.set(Object.fromEntries(leftOut.map((path) => [path, "excluded"])));
    selection.reset(takenIn);
    const stillOut = takenIn.filter(isOut);
    if (stillOut.length > 0) selection.set(Object.fromEntries(stillOut.map((path) => [path, "full"])));
  });
}
