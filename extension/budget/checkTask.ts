import * as vscode from "vscode";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import { checkTaskType } from "./names.ts";
import { exactTokens } from "./numbers.ts";
import type { BudgetSource } from "./source.ts";

/** Exit codes, as those of `lcp pack --budget`. */
const exitCodes = { within: 0, over: 3, failed: 1 } as const;

/**
 * A task that fails when the pack is over a number of tokens. It asks the counts that are there anyway and starts no process, so it is
 * the same in an untrusted workspace.
 */
export function registerCheckTask(source: BudgetSource): vscode.Disposable {
  return vscode.tasks.registerTaskProvider(checkTaskType, {
    provideTasks: () => {
      const { budget } = source;
      return budget ? [checkTask(source, { type: checkTaskType, budget: budget.window - budget.reserve })] : [];
    },
    resolveTask: ({ definition }) => checkTask(source, definition),
  });
}

function checkTask(source: BudgetSource, definition: vscode.TaskDefinition): vscode.Task {
  const budget: unknown = definition.budget;
  const execution = new vscode.CustomExecution(async () => new CheckTerminal(source, budget));
  const name = `pack within ${typeof budget === "number" ? exactTokens(budget) : "a budget of"} tokens`;
  const task = new vscode.Task(definition, vscode.TaskScope.Workspace, name, checkTaskType, execution, []);
  task.group = vscode.TaskGroup.Test;
  task.presentationOptions = { reveal: vscode.TaskRevealKind.Silent };
  return task;
}

/** Waits for exact counts, prints one line and ends with the exit code. */
class CheckTerminal implements vscode.Pseudoterminal {
  private readonly source: BudgetSource;
  private readonly limit: unknown;
  private readonly written = new vscode.EventEmitter<string>();
  private readonly closed = new vscode.EventEmitter<number>();
  private listening: vscode.Disposable | undefined;
  readonly onDidWrite = this.written.event;
  readonly onDidClose = this.closed.event;

  constructor(source: BudgetSource, limit: unknown) {
    this.source = source;
    this.limit = limit;
  }

  open(): void {
    if (typeof this.limit !== "number" || !Number.isFinite(this.limit) || this.limit < 0) {
      this.end('"budget" in tasks.json must be a number of tokens', exitCodes.failed);
      return;
    }
    const { limit } = this;
    const look = (budget: BudgetSnapshot | undefined): void => {
      if (budget === undefined || budget.state === "counting" || (budget.state === "ready" && budget.approximate)) return;
      this.listening?.dispose();
      const [line, code] = verdict(budget, limit);
      this.end(line, code);
    };
    this.listening = this.source.onDidChangeBudget(look);
    look(this.source.budget);
  }

  close(): void {
    this.listening?.dispose();
  }

  private end(line: string, code: number): void {
    this.written.fire(`${line}\r\n`);
    this.closed.fire(code);
  }
}

function verdict({ state, error, packTokens }: BudgetSnapshot, limit: number): [line: string, code: number] {
  if (state === "failed") return [`not counted: ${error?.message ?? "unknown"}`, exitCodes.failed];
  const counted = `${exactTokens(packTokens)} tokens of ${exactTokens(limit)}`;
  if (packTokens <= limit) return [`within budget: ${counted}`, exitCodes.within];
  return [`over budget by ${exactTokens(packTokens - limit)}: ${counted}`, exitCodes.over];
}
