import type * as vscode from "vscode";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import type { ServerCalls } from "../server/requests.ts";

/** What the Budget view needs of the token server. The server decides; everything here only shows and asks. */
export interface BudgetSource {
  readonly budget: BudgetSnapshot | undefined;
  readonly onDidChangeBudget: vscode.Event<BudgetSnapshot>;
  call<Name extends keyof ServerCalls>(
    name: Name,
    params: ServerCalls[Name]["params"],
    token?: vscode.CancellationToken,
  ): Promise<ServerCalls[Name]["result"]>;
}
