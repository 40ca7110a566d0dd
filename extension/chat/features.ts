import { join } from "node:path";
import * as vscode from "vscode";
import type { TokenClient } from "../client.ts";
import type { CurrentModel } from "../models/currentModel.ts";
import type { ModelList } from "../models/modelList.ts";
import type { PanelSettingsStore } from "../panel/panelSettings.ts";
import type { PlaygroundPanel } from "../panel/playgroundPanel.ts";
import { ChatEngine } from "./chatEngine.ts";
import { LanguageModels } from "./languageModels.ts";
import { ModelTokens } from "./modelTokens.ts";
import { ChatParticipant } from "./participant.ts";

export interface ChatFeatureServices {
  extensionUri: vscode.Uri;
  client: TokenClient;
  model: CurrentModel;
  list: ModelList;
  panel: PlaygroundPanel;
  settings: PanelSettingsStore;
  log: vscode.LogOutputChannel;
}

/** What VS Code's own chat gets of us: the participant and the language models. */
export interface ChatFeatures {
  readonly participant: ChatParticipant;
  dispose(): void;
}

export function createChatFeatures(services: ChatFeatureServices): ChatFeatures {
  const { extensionUri, client, model, list, panel, settings, log } = services;
  const tokens = new ModelTokens(join(extensionUri.fsPath, "dist", "tokenThread.js"));
  const engine = new ChatEngine(panel, model);
  const languageModels = new LanguageModels({ list, engine, tokens, settings, log });
  const icon = vscode.Uri.joinPath(extensionUri, "media", "budget.svg");
  const participant = new ChatParticipant({ client, engine, model, languageModels, tokens, icon, log });
  languageModels.announce();
  const all = vscode.Disposable.from(participant, languageModels, tokens);
  return { participant, dispose: () => void all.dispose() };
}
