import * as vscode from "vscode";
import { type Root, workspaceRoots } from "../server/roots.ts";

/** The workspace folders on this machine's disk, named as the token server names them. */
export function currentRoots(): Root[] {
  const folders = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === "file");
  return workspaceRoots(folders.map(({ name, uri }) => ({ name, folder: uri.fsPath })));
}
