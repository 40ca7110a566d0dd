import * as vscode from "vscode";
import { commandIds } from "../commandIds.ts";
import { type ModelRow, rowDescription, rowIcon } from "./modelWords.ts";

type Action = vscode.QuickPickItem & { command: string };

/** What can be done with a model as it is now, as its context menu has it. */
export function actionsOf({ origin, state, chosen }: ModelRow): Action[] {
  const ready = state.kind === "ready";
  const there = state.kind !== "missing";
  const rows: (readonly [boolean, keyof typeof commandIds, string])[] = [
    [ready && !chosen, "useModel", "$(check) Use it"],
    [ready, "preflightModel", "$(dashboard) What fits this machine?"],
    [state.kind === "incomplete", "resumeDownload", "$(cloud-download) Resume the download"],
    [state.kind === "downloading", "stopDownload", "$(debug-stop) Stop the download"],
    [there, "revealModel", "$(folder-opened) Show its files"],
    [true, "copyModelPath", "$(copy) Copy its path"],
    [origin !== "bundled", "removeModel", origin === "hub" ? "$(trash) Delete it…" : "$(trash) Forget it…"],
  ];
  const problem =
    "problem" in state ? [{ label: `$(warning) ${state.problem.message}`, detail: state.problem.remedy, command: "" }] : [];
  return [...problem, ...rows.flatMap(([fits, id, label]) => (fits ? [{ label, command: commandIds[id] }] : []))];
}

/** Lets the user pick one of some models; the only one is not asked for. */
export async function pickRow(rows: readonly ModelRow[], preferred: string | undefined): Promise<ModelRow | undefined> {
  const [only] = rows;
  if (rows.length === 1) return only;
  const selected = rows.find(({ path }) => path === preferred);
  if (selected !== undefined) return selected;
  if (rows.length === 0) {
    void vscode.window.showInformationMessage("Long Context: there is no model that this could be done with.");
    return undefined;
  }
  return (await vscode.window.showQuickPick(rows.map(rowItem), { title: "Long Context: Which Model?", matchOnDescription: true }))
    ?.row;
}

/** A model in a list. */
export function rowItem(row: ModelRow): vscode.QuickPickItem & { row: ModelRow } {
  return { row, label: `$(${rowIcon(row)}) ${row.label}`, description: rowDescription(row) };
}
