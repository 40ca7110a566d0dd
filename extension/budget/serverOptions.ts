import { readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import * as vscode from "vscode";
import { EngineError } from "../../engine/errors.ts";
import { parseJson } from "../../engine/formats/json.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import {
  gitCommitsSetting,
  includeSetting,
  maxFileBytesSetting,
  onSettingChange,
  reserveSetting,
  tokenizerPathSetting,
  tokenizerSetting,
  windowSetting,
} from "../config.ts";
import type { ServerOptions } from "../server/requests.ts";
import { settingIds } from "../settings.ts";

/**
 * What the token server counts with, by the settings of now; throws `bad-argument` naming the setting that makes no sense.
 * `modelFolder` is the loaded model's: its tokenizer is the default, and its window where the setting is 0.
 */
export function serverOptions(modelFolder: string, storageFolder: string): ServerOptions {
  const window = windowSetting() === 0 ? requireModelWindow(modelFolder) : windowSetting();
  const reserve = reserveSetting();
  if (reserve >= window) {
    throw new EngineError(
      "bad-argument",
      `${settingIds.reserve} is ${reserve}, as large as the window of ${window} tokens`,
      `make ${settingIds.reserve} smaller, or ${settingIds.window} larger`,
      { reserve, window },
    );
  }
  return {
    tokenizer: tokenizerSource(modelFolder),
    storageFolder,
    include: includeSetting(),
    maxFileBytes: maxFileBytesSetting(),
    window,
    reserve,
    git: vscode.workspace.isTrusted,
    commits: gitCommitsSetting(),
  };
}

/** Runs the listener when one of the settings behind `serverOptions` changes, or the workspace becomes trusted. */
export function onServerOptionsChange(listener: () => void): vscode.Disposable {
  return vscode.Disposable.from(
    onSettingChange(["tokenizer", "tokenizerPath", "include", "maxFileKiB", "window", "reserve", "gitCommits"], listener),
    vscode.workspace.onDidGrantWorkspaceTrust(listener),
  );
}

/** Tokens a model was trained for, by its config.json; undefined where there is none or the engine cannot run it. */
export function modelWindow(modelFolder: string): number | undefined {
  try {
    return requireModelWindow(modelFolder);
  } catch (error) {
    if (EngineError.is(error)) return undefined;
    throw error;
  }
}

function requireModelWindow(modelFolder: string): number {
  const path = join(modelFolder, "config.json");
  const remedy = `set ${settingIds.window} to a number of tokens`;
  let text: string;
  try {
    // A few KB, once per change of a setting.
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new EngineError("not-found", `the window of the model is not known: ${String(error)}`, remedy, { path });
  }
  return parseSpec(parseJson(text, path, "unsupported-model", remedy)).maxPositionEmbeddings;
}

function tokenizerSource(modelFolder: string): string {
  const path = tokenizerPathSetting();
  if (path !== undefined) {
    if (isAbsolute(path)) return path;
    throw new EngineError("bad-argument", `${settingIds.tokenizerPath} "${path}" is not absolute`, "give the full path", {
      path,
    });
  }
  const preset = tokenizerSetting();
  return preset === "model" ? modelFolder : preset;
}
