import * as vscode from "vscode";
import { plainError } from "../../engine/errors.ts";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import { onSettingChange } from "../config.ts";
import { reportFailure } from "../log.ts";
import type { CurrentModel } from "../models/currentModel.ts";
import { TokenBadges } from "./badges.ts";
import { registerCheckTask } from "./checkTask.ts";
import { costLine } from "./cost.ts";
import type { ExportServices } from "./exportFlow.ts";
import { Findings } from "./findings.ts";
import type { FitServices } from "./fit.ts";
import { modelWindow } from "./serverOptions.ts";
import type { BudgetSource } from "./source.ts";
import { TokenCodeLenses, TokenHovers } from "./symbols.ts";
import { BudgetView } from "./view.ts";
import { VirtualDocuments } from "./virtualDocuments.ts";

/** Everything that shows the budget, around one token server. */
export interface BudgetFeatures extends FitServices, ExportServices {
  readonly view: BudgetView;
  dispose(): void;
}

export interface FeatureServices {
  source: BudgetSource;
  model: CurrentModel;
  memento: vscode.Memento;
  log: vscode.LogOutputChannel;
}

export function createBudgetFeatures({ source, model, memento, log }: FeatureServices): BudgetFeatures {
  /** For what runs by itself: the log has it; a message box nobody asked for would not help. */
  const report = (what: string, error: unknown): void => {
    const { code, message } = plainError(error);
    if (code !== "aborted") log.warn(`budget: ${what}: ${code}: ${message}`);
  };
  const costOrNothing = (budget: BudgetSnapshot): string | undefined => {
    try {
      return costLine(budget);
    } catch (error) {
      report("the price table", error);
      // Said where the cost would stand, so that it is found by who edits the table.
      return plainError(error).message;
    }
  };
  const documents = new VirtualDocuments(source);
  const view = new BudgetView({ source, memento, costLine: costOrNothing, report });
  const all = vscode.Disposable.from(
    view,
    documents,
    new TokenBadges(source),
    new TokenCodeLenses(source),
    new TokenHovers(source),
    new Findings({ source, documents, report }),
    registerCheckTask(source),
    onSettingChange("prices", () => view.refreshMessage()),
  );
  return {
    source,
    documents,
    memento,
    reportFailure: (what, error) => reportFailure(log, what, error),
    view,
    modelWindow: () => modelWindow(model),
    dispose: () => void all.dispose(),
  };
}
