import * as vscode from "vscode";
import type { BackendChoice } from "../engine/api.ts";
import { EngineError } from "../engine/errors.ts";
import { backendSettings, isBackendSetting, settingIds } from "./settings.ts";

/** Absolute path of the model folder the user set; undefined means the bundled model. */
export function modelPathSetting(): string | undefined {
  const path = vscode.workspace.getConfiguration().get<string>(settingIds.modelPath, "").trim();
  return path === "" ? undefined : path;
}

/** Machine scope: a workspace cannot point the extension at a folder of its choice. */
export async function writeModelPath(path: string): Promise<void> {
  await vscode.workspace.getConfiguration().update(settingIds.modelPath, path, vscode.ConfigurationTarget.Global);
}

export function backendSetting(): BackendChoice {
  const value = vscode.workspace.getConfiguration().get<string>(settingIds.backend, "auto");
  if (isBackendSetting(value)) return value;
  throw badBackend(value);
}

export async function writeBackend(value: BackendChoice): Promise<void> {
  if (!isBackendSetting(value)) throw badBackend(value);
  if (value !== backendSetting())
    await vscode.workspace.getConfiguration().update(settingIds.backend, value, vscode.ConfigurationTarget.Global);
}

/** Runs the listener when one of the settings changes. */
export function onSettingChange(id: keyof typeof settingIds, listener: () => void): vscode.Disposable {
  return vscode.workspace.onDidChangeConfiguration((event) => {
    if (event.affectsConfiguration(settingIds[id])) listener();
  });
}

function badBackend(value: string): EngineError {
  return new EngineError("bad-argument", `${settingIds.backend} is "${value}"`, `set it to ${backendSettings.join(", ")}`, {
    value,
  });
}
