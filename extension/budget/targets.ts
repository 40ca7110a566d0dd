import * as vscode from "vscode";
import { EngineError } from "../../engine/errors.ts";
import { pathOfUri } from "./places.ts";
import type { BudgetNode } from "./tree.ts";

/**
 * The paths a command is about: the rows it was run on, the files of the explorer, else the selection of the Budget view, else the file
 * in the editor. Throws `bad-argument` where there is none of these.
 */
export async function targetPaths(
  argument: unknown,
  selected: unknown,
  view: { readonly selection: readonly BudgetNode[]; readonly keyed: readonly BudgetNode[] },
): Promise<string[]> {
  if (isFocusArgument(argument)) return rowPaths(view.keyed);
  const given = Array.isArray(selected) && selected.length > 0 ? selected : argument === undefined ? [] : [argument];
  const paths = (await Promise.all(given.map(pathOf))).filter((path) => path !== undefined);
  if (paths.length > 0) return [...new Set(paths)];
  const rows = rowPaths(view.selection);
  if (rows.length > 0) return rows;
  const active = vscode.window.activeTextEditor?.document.uri;
  const path = active && pathOfUri(active);
  if (path !== undefined) return [path];
  throw new EngineError("bad-argument", "nothing is selected", "select rows in the Budget view, or open a file of the workspace");
}

/** What the keybindings of the Budget view give: the row is the one the keyboard is on. */
function isFocusArgument(argument: unknown): boolean {
  return typeof argument === "object" && argument !== null && "focus" in argument && argument.focus === true;
}

function rowPaths(nodes: readonly BudgetNode[]): string[] {
  return nodes.flatMap((node) => (node.kind === "row" ? [node.row.path] : []));
}

/** A row, a uri of the explorer, or a path as text (for keybindings and tests). */
async function pathOf(given: unknown): Promise<string | undefined> {
  if (typeof given === "string") return given;
  if (given instanceof vscode.Uri) return pathOfUri(given, await isFolder(given));
  if (isRowNode(given)) return given.row.path;
  return undefined;
}

async function isFolder(uri: vscode.Uri): Promise<boolean> {
  return ((await vscode.workspace.fs.stat(uri)).type & vscode.FileType.Directory) !== 0;
}

function isRowNode(value: unknown): value is Extract<BudgetNode, { kind: "row" }> {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "row" && "row" in value;
}
