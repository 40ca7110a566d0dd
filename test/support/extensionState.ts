/** What the extension says about itself, inside the extension host. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import * as vscode from "vscode";
import { commandIds } from "../../extension/commandIds.ts";
import type { AskResult } from "../../engine/generate/api.ts";
import type { BudgetSnapshot, PanelState } from "../../webview/protocol/panel.ts";
import { until } from "./until.ts";

export const extensionId = "long-context-playground.long-context-playground";

export interface ExtensionState {
  budget: BudgetSnapshot | undefined;
  panel: PanelState | undefined;
  /** Of the newest run. */
  lastRun: Pick<AskResult, "question" | "answer" | "citations"> | undefined;
}

export async function extensionState(): Promise<ExtensionState> {
  return vscode.commands.executeCommand<ExtensionState>(commandIds.showState);
}

/** The state once `wanted` holds for it. */
export async function stateWhere(
  what: string,
  wanted: (state: ExtensionState) => boolean,
  timeoutMs = 60_000,
): Promise<ExtensionState> {
  let last: ExtensionState | undefined;
  try {
    return await until(what, timeoutMs, async () => {
      last = await extensionState();
      return wanted(last) ? last : undefined;
    });
  } catch (error) {
    throw new Error(`${what}: it ended as ${JSON.stringify(last)}`, { cause: error });
  }
}

/** The only folder of the workspace. */
export function workspaceFolder(): string {
  const [folder] = vscode.workspace.workspaceFolders ?? [];
  assert.ok(folder);
  return folder.uri.fsPath;
}

/** `lcp count <folder> --json` in a process of its own. */
export function countWithLcp(folder: string): {
  tokens: number;
  files: number;
  bytes: number;
  excluded: { path: string; reason: string }[];
} {
  const root = process.env.LCP_HOST_ROOT;
  assert.ok(root, "LCP_HOST_ROOT names the checkout");
  const run = spawnSync(process.execPath, [join(root, "dist", "cli.mjs"), "count", folder, "--json"], {
    encoding: "utf8",
    cwd: root,
  });
  assert.equal(run.status, 0, run.stderr);
  return JSON.parse(run.stdout) as ReturnType<typeof countWithLcp>;
}
