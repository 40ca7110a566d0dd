import * as vscode from "vscode";
import { plainError } from "../engine/errors.ts";

/** The one place where the extension writes what happened; users open it with "Long Context: Show Log". */
export function createLog(): vscode.LogOutputChannel {
  return vscode.window.createOutputChannel("Long Context", { log: true });
}

/** Logs an error and shows it with its remedy. */
export function reportFailure(log: vscode.LogOutputChannel, what: string, error: unknown): void {
  const { code, message, remedy } = plainError(error);
  log.error(`${what}: ${code}: ${message}`);
  void vscode.window.showErrorMessage(`Long Context: ${message}. To do: ${remedy}.`);
}
