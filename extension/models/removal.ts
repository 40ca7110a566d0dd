import * as vscode from "vscode";
import { bytesText } from "../hub/words.ts";
import type { ModelRow } from "./modelWords.ts";

/** Asks whether a model may go, and says what that means: files that were downloaded are deleted, others stay. */
export async function confirmRemoval({ label, path, origin, state, chosen, source }: ModelRow): Promise<boolean> {
  const fallsBack = chosen ? " The bundled model is used instead." : "";
  if (origin === "hub") {
    const size =
      "diskBytes" in state ? bytesText(state.diskBytes) : state.kind === "incomplete" ? bytesText(state.doneBytes) : "";
    const what = size === "" ? "What was downloaded of it" : `${size} that were downloaded`;
    const detail = `${what} will be deleted from ${path}.${fallsBack} It can be downloaded again from ${source?.hub ?? "the hub"}.`;
    return (await ask(`Delete ${label}?`, detail, "Delete")) === "Delete";
  }
  const detail = `It is taken off the list. Its files stay where they are: ${path}.${fallsBack}`;
  return (await ask(`Forget ${label}?`, detail, "Forget")) === "Forget";
}

function ask(message: string, detail: string, button: string): Thenable<string | undefined> {
  return vscode.window.showWarningMessage(message, { modal: true, detail }, button);
}
