import * as vscode from "vscode";
import type { BudgetSnapshot } from "../webview/protocol/panel.ts";
import type { TokenClient } from "./client.ts";
import { commandIds } from "./commandIds.ts";

/** The workspace's tokens in the status bar; a click opens the playground. */
export function createStatusBar(client: TokenClient): vscode.Disposable {
  const item = vscode.window.createStatusBarItem("longContext.tokens", vscode.StatusBarAlignment.Right, 90);
  item.name = "Long Context: Workspace Tokens";
  item.command = commandIds.openPlayground;
  const show = (budget: BudgetSnapshot): void => {
    const { text, tooltip } = statusText(budget);
    item.text = text;
    item.tooltip = tooltip;
    item.backgroundColor = budget.state === "failed" ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
    if (vscode.workspace.workspaceFolders?.length) item.show();
    else item.hide();
  };
  if (client.budget) show(client.budget);
  return vscode.Disposable.from(item, client.onDidChangeBudget(show));
}

function statusText(budget: BudgetSnapshot): { text: string; tooltip: string } {
  const { state, tokens, doneFiles, totalFiles, excluded, tokenizer, error } = budget;
  if (state === "failed") {
    return {
      text: "$(warning) tokens",
      tooltip: `Tokens are not counted: ${error?.message ?? "unknown"}.\nTo do: ${error?.remedy ?? "recount"}.`,
    };
  }
  const number = tokens.toLocaleString("en-US");
  if (state === "counting") {
    return {
      text: `$(loading~spin) ${number} tokens`,
      tooltip: `Counting tokens: ${doneFiles} of ${totalFiles} files (${tokenizer})`,
    };
  }
  const files = `${totalFiles.toLocaleString("en-US")} files, ${excluded.toLocaleString("en-US")} left out`;
  return {
    text: `$(book) ${number} tokens`,
    tooltip: `${number} tokens in ${files}\nTokenizer: ${tokenizer}\nClick to open the playground`,
  };
}
