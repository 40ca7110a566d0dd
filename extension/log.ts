import * as vscode from "vscode";

/** The one place where the extension writes what happened; users open it with "Long Context: Show Log". */
export function createLog(): vscode.LogOutputChannel {
  return vscode.window.createOutputChannel("Long Context", { log: true });
}
