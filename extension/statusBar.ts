import * as vscode from "vscode";
import type { BudgetSnapshot } from "../webview/protocol/panel.ts";
import { meterSentence, meterText } from "./budget/meter.ts";
import { budgetViewId } from "./budget/names.ts";
import type { BudgetSource } from "./budget/source.ts";

/** The meter of the window in the status bar: used, reserved, free. A click goes to the Budget view. */
export function createStatusBar(source: BudgetSource): vscode.Disposable {
  const item = vscode.window.createStatusBarItem("longContext.tokens", vscode.StatusBarAlignment.Right, 90);
  item.name = "Long Context: Token Budget";
  // VS Code makes this command for every view.
  item.command = `${budgetViewId}.focus`;
  const show = (budget: BudgetSnapshot): void => {
    const { text, tooltip } = statusText(budget);
    item.text = text;
    item.tooltip = tooltip;
    // Not for a pack that is too large: before the first fit nearly every workspace is, and the text says so.
    item.backgroundColor = budget.state === "failed" ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
    item.accessibilityInformation = { label: meterSentence(budget), role: "button" };
    if (vscode.workspace.workspaceFolders?.length) item.show();
    else item.hide();
  };
  if (source.budget) show(source.budget);
  return vscode.Disposable.from(item, source.onDidChangeBudget(show));
}

function statusText(budget: BudgetSnapshot): { text: string; tooltip: string } {
  const { state, error } = budget;
  if (state === "failed") {
    return {
      text: "$(warning) tokens",
      tooltip: `Tokens are not counted: ${error?.message ?? "unknown"}.\nTo do: ${error?.remedy ?? "recount"}.`,
    };
  }
  const { text, tooltip } = meterText(budget);
  return { text: `$(${state === "counting" ? "loading~spin" : "book"}) ${text}`, tooltip };
}
