/** The token server of the running extension, for tests inside the extension host; reached through its debug commands. */
import assert from "node:assert/strict";
import * as vscode from "vscode";
import { commandIds } from "../../extension/commandIds.ts";
import type { ServedRow } from "../../extension/commands.ts";
import type { BudgetSource } from "../../extension/budget/source.ts";
import type { BudgetChildren, BudgetSort } from "../../extension/server/requests.ts";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import { extensionState, stateWhere } from "./extensionState.ts";

/** All that the server says about a path. */
export async function servedRow(path: string, children?: { filter?: string; sort: BudgetSort }): Promise<ServedRow> {
  const served = await vscode.commands.executeCommand<ServedRow | undefined>(commandIds.showRow, path, children);
  assert.ok(served, `the server did not answer about "${path}"`);
  return served;
}

/** The counts once nothing is counted or estimated any more. */
export async function settled(): Promise<BudgetSnapshot> {
  const { budget } = await stateWhere("settled counts", (state) => state.budget?.state === "ready" && !state.budget.approximate);
  assert.ok(budget);
  return budget;
}

/** What a tree or a badge asks, answered by the real server. */
export async function serverSource(): Promise<BudgetSource> {
  const { budget } = await extensionState();
  const answers: Record<string, (params: { path: string; filter?: string; sort: BudgetSort }) => Promise<unknown>> = {
    "longContext/children": async ({ path, filter, sort }): Promise<BudgetChildren> =>
      (await servedRow(path, { sort, ...(filter === undefined ? {} : { filter }) })).children,
    "longContext/row": async ({ path }) => ({ row: (await servedRow(path)).row }),
  };
  return {
    budget,
    onDidChangeBudget: new vscode.EventEmitter<BudgetSnapshot>().event,
    call: async (name, params) => (answers[name] ?? assert.fail(name))(params as never) as never,
  };
}
