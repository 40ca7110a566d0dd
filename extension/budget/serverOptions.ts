import { readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import * as vscode from "vscode";
import { EngineError } from "../../engine/errors.ts";
import { parsePythonJson } from "../../engine/formats/jsonText.ts";
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
import type { CurrentModel } from "../models/currentModel.ts";
import type { ServerOptions } from "../server/requests.ts";
import { settingDefaults, settingIds } from "../settings.ts";

/** What is asked of the model that is meant. */
type Model = Pick<CurrentModel, "path" | "ggufContext">;

/**
 * What the token server counts with, by the settings of now; throws `bad-argument` naming the setting that makes no sense.
 * The model's tokenizer is the default, and its window where the setting is 0.
 */
export function serverOptions(model: Model, storageFolder: string): ServerOptions {
  const window = windowSetting() === 0 ? requireModelWindow(model) : windowSetting();
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
    tokenizer: tokenizerSource(model.path),
    storageFolder,
    include: includeSetting(),
    maxFileBytes: maxFileBytesSetting(),
    window,
    reserve,
    modelWindow: model.ggufContext === "reading" ? undefined : modelWindow(model),
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

/** Tokens the model was trained for, by its configuration; undefined where there is none or the engine cannot run it. */
export function modelWindow(model: Model): number | undefined {
  try {
    return requireModelWindow(model);
  } catch (error) {
    if (EngineError.is(error)) return undefined;
    throw error;
  }
}

function requireModelWindow(model: Model): number {
  const remedy = `set ${settingIds.window} to a number of tokens`;
  const { ggufContext } = model;
  // Until its header is read; the model tells when it is, and the server is configured again.
  if (ggufContext === "reading") return settingDefaults.window;
  if (ggufContext !== undefined) {
    if ("tokens" in ggufContext) return ggufContext.tokens;
    throw new EngineError("not-found", `the window of the model is not known: ${ggufContext.message}`, remedy, {
      path: model.path,
    });
  }
  const path = join(model.path, "config.json");
  let text: string;
  try {
    // A few KB, once per change of a setting.
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new EngineError("not-found", `the window of the model is not known: ${String(error)}`, remedy, { path });
  }
  return parseSpec(parsePythonJson(text, path, "unsupported-model", remedy)).maxPositionEmbeddings;
}

function tokenizerSource(modelPath: string): string {
  const path = tokenizerPathSetting();
  if (path !== undefined) {
    if (isAbsolute(path)) return path;
    throw new EngineError("bad-argument", `${settingIds.tokenizerPath} "${path}" is not absolute`, "give the full path", {
      path,
    });
  }
  const preset = tokenizerSetting();
  return preset === "model" ? modelPath : preset;
}
