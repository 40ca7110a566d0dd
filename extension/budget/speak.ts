import * as vscode from "vscode";
import { meterSentence } from "./meter.ts";
import { rowSentence } from "./rows.ts";
import type { BudgetView } from "./view.ts";
import type { BudgetSource } from "./source.ts";

/** Status bar changes are not announced to screen readers, a message is: the meter and the selected row as sentences. */
export function speakBudget(source: BudgetSource, view: BudgetView): string {
  const { budget } = source;
  if (!budget) return say("Tokens are not counted yet.");
  const [selected] = view.selection;
  const row = selected?.kind === "row" ? ` Selected: ${rowSentence(selected.row, budget.window)}.` : "";
  return say(`${meterSentence(budget)}${row}`);
}

function say(sentence: string): string {
  void vscode.window.showInformationMessage(sentence);
  return sentence;
}
