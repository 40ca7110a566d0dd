import { join } from "node:path";
import * as vscode from "vscode";
import { plainError } from "../engine/errors.ts";
import { type BudgetFeatures, createBudgetFeatures } from "./budget/features.ts";
import { fitToWindow } from "./budget/fit.ts";
import { serverOptions } from "./budget/serverOptions.ts";
import { type ChatFeatures, createChatFeatures } from "./chat/features.ts";
import { CursorInserter } from "./citations/insertAtCursor.ts";
import { CitationRevealer } from "./citations/reveal.ts";
import { TokenClient } from "./client.ts";
import { prefixCacheBytesSetting } from "./config.ts";
import { createLog } from "./log.ts";
import { CurrentModel } from "./models/currentModel.ts";
import { ModelFeatures } from "./models/features.ts";
import type { HandlerServices } from "./panel/handlers.ts";
import { PanelSettingsStore } from "./panel/panelSettings.ts";
import { PlaygroundPanel } from "./panel/playgroundPanel.ts";
import { RunStore } from "./panel/runs.ts";
import { SearchStore } from "./panel/searches.ts";
import { openPrefixFolder, type PrefixFolder } from "./prefixes/prefixFolder.ts";
import type { ServerOptions } from "./server/requests.ts";
import { settingDefaults } from "./settings.ts";

/** Every object of the extension, constructed here and nowhere else. */
export interface Services {
  readonly log: vscode.LogOutputChannel;
  readonly model: CurrentModel;
  readonly client: TokenClient;
  readonly panel: PlaygroundPanel;
  readonly budget: BudgetFeatures;
  readonly models: ModelFeatures;
  readonly chat: ChatFeatures;
  /** Prefixes of prompts that outlive the panel, the same for all windows. */
  readonly prefixes: PrefixFolder;
  /** Finished questions of this workspace. */
  readonly runs: RunStore;
  /** What VS Code calls this extension. */
  readonly extensionId: string;
  /** What the token server counts with, by the settings of now; throws `bad-argument` for a setting without sense. */
  serverOptions(): ServerOptions;
  dispose(): void;
}

export function createServices(context: vscode.ExtensionContext): Services {
  const log = createLog();
  const model = new CurrentModel(context.extensionPath);
  const storage = context.storageUri ?? context.globalStorageUri;
  const currentOptions = (): ServerOptions => serverOptions(model, join(storage.fsPath, "index"));
  const client = new TokenClient(
    context.asAbsolutePath(join("dist", "server.js")),
    startOptions(currentOptions, model, log),
    log,
  );
  const settings = new PanelSettingsStore(context.workspaceState);
  const runs = new RunStore(join(storage.fsPath, "runs"), (message) => log.warn(message));
  const searches = new SearchStore(join(storage.fsPath, "rope-search.json"), (message) => log.warn(message));
  const prefixes = openPrefixFolder(join(context.globalStorageUri.fsPath, "prefixes"), () => prefixCap(log));
  const revealer = new CitationRevealer();
  const inserter = new CursorInserter((editor) => revealer.isUntouched(editor));
  const chooseModel = (): Promise<boolean> => models.choose();
  const fitLevels: HandlerServices["fitLevels"] = async (target) =>
    (await fitToWindow(budget, { ...target, preview: true })) !== undefined;
  const forPanel = { client, model, settings, runs, searches, prefixes, revealer, inserter, chooseModel, fitLevels, log };
  const panel = new PlaygroundPanel(context.extensionUri, forPanel);
  const budget = createBudgetFeatures({ source: client, model, memento: context.workspaceState, log });
  const { documents } = budget;
  const { secrets, globalStorageUri } = context;
  const models = new ModelFeatures({ model, panel, documents, secrets, storage: globalStorageUri.fsPath, log });
  const { extensionUri } = context;
  const chat = createChatFeatures({ extensionUri, client, model, list: models.list, panel, settings, log });
  const all = vscode.Disposable.from(chat, models, budget, panel, inserter, revealer, settings, client, model, log);
  return {
    log,
    model,
    client,
    panel,
    budget,
    models,
    chat,
    prefixes,
    runs,
    extensionId: context.extension.id,
    serverOptions: currentOptions,
    dispose: () => void all.dispose(),
  };
}

/** Nothing is kept under a setting without sense. */
function prefixCap(log: vscode.LogOutputChannel): number {
  try {
    return prefixCacheBytesSetting();
  } catch (error) {
    const { message, remedy } = plainError(error);
    log.error(`prefix cache: ${message}; ${remedy}`);
    return 0;
  }
}

/** A wrong setting must not keep the extension from starting: it is told, and the defaults count until it is mended. */
function startOptions(current: () => ServerOptions, model: CurrentModel, log: vscode.LogOutputChannel): ServerOptions {
  try {
    return current();
  } catch (error) {
    const { code, message, remedy } = plainError(error);
    log.error(`settings: ${code}: ${message}`);
    void vscode.window.showErrorMessage(`Long Context: ${message}. To do: ${remedy}.`);
    const { window, reserve, maxFileKiB, gitCommits: commits } = settingDefaults;
    const plain = { storageFolder: "", include: [], maxFileBytes: maxFileKiB * 1024, window, reserve };
    return { ...plain, tokenizer: model.path, git: vscode.workspace.isTrusted, commits };
  }
}
