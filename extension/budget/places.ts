import * as vscode from "vscode";
import { currentRoots } from "../corpus/currentRoots.ts";
import { absolutePath, rootOf } from "../server/roots.ts";

/** Scheme of the read-only documents that the extension writes itself. */
export const budgetScheme = "longcontext";

/** Whether a path is one of git's rows. */
export function isGitPath(path: string): boolean {
  return path.startsWith("git:");
}

/** What opens a row: a file, an editor without one, or the document with what git says; undefined for paths of another workspace. */
export function uriOfPath(path: string): vscode.Uri | undefined {
  if (path === "") return undefined;
  if (path.startsWith("untitled:")) return vscode.Uri.parse(path);
  if (isGitPath(path)) {
    // The ending makes the editor colour it.
    const ending = path.endsWith("log") ? "log" : "diff";
    return vscode.Uri.from({ scheme: budgetScheme, path: `/${path}.${ending}`, query: "git" });
  }
  try {
    return vscode.Uri.file(absolutePath(currentRoots(), path));
  } catch {
    // The folder was closed since the row was made.
    return undefined;
  }
}

/** The name by which the server knows a file or folder; undefined outside the workspace. A folder's ends in "/". */
export function pathOfUri(uri: vscode.Uri, isFolder = false): string | undefined {
  if (uri.scheme === "untitled") return uri.toString();
  if (uri.scheme !== "file") return undefined;
  const found = rootOf(currentRoots(), uri.fsPath);
  if (!found) return undefined;
  if (found.inner === "") return found.root.prefix;
  return `${found.root.prefix}${found.inner}${isFolder ? "/" : ""}`;
}

/** Files of the workspace that are open in an editor, the active one first; they matter most to a fit. */
export function openPaths(): string[] {
  const active = vscode.window.activeTextEditor?.document.uri;
  const tabs = vscode.window.tabGroups.all
    .flatMap((group) => group.tabs)
    .flatMap(({ input }) => (input instanceof vscode.TabInputText ? [input.uri] : []));
  const paths = [...(active ? [active] : []), ...tabs].map((uri) => pathOfUri(uri)).filter((path) => path !== undefined);
  return [...new Set(paths)];
}
