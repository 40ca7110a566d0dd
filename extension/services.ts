import { join } from "node:path";
import * as vscode from "vscode";
import { CitationRevealer } from "./citations/reveal.ts";
import { TokenClient } from "./client.ts";
import { createLog } from "./log.ts";
import { CurrentModel } from "./models/currentModel.ts";
import { PanelSettingsStore } from "./panel/panelSettings.ts";
import { PlaygroundPanel } from "./panel/playgroundPanel.ts";
import { RunStore } from "./panel/runs.ts";

/** Every object of the extension, constructed here and nowhere else. */
export interface Services {
  readonly log: vscode.LogOutputChannel;
  readonly model: CurrentModel;
  readonly client: TokenClient;
  readonly panel: PlaygroundPanel;
  dispose(): void;
}

export function createServices(context: vscode.ExtensionContext): Services {
  const log = createLog();
  const model = new CurrentModel(context.extensionPath);
  const client = new TokenClient(context.asAbsolutePath(join("dist", "server.js")), model.folder, log);
  const settings = new PanelSettingsStore(context.workspaceState);
  const storage = context.storageUri ?? context.globalStorageUri;
  const runs = new RunStore(join(storage.fsPath, "runs"), (message) => log.warn(message));
  const revealer = new CitationRevealer();
  const panel = new PlaygroundPanel(context.extensionUri, { client, model, settings, runs, revealer, log });
  const all = vscode.Disposable.from(panel, revealer, settings, client, model, log);
  return { log, model, client, panel, dispose: () => void all.dispose() };
}
