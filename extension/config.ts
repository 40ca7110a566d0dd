import * as vscode from "vscode";
import type { BackendChoice } from "../engine/api.ts";
import type { AttentionChoice, KvFormats } from "../engine/attention/api.ts";
import { formatAttention, parseAttention } from "../engine/attention/policy.ts";
import { EngineError } from "../engine/errors.ts";
import { formatKvFormats, parseKvFormats } from "../engine/kv-cache/kvFormats.ts";
import {
  backendSettings,
  isBackendSetting,
  isTokenizerSetting,
  settingDefaults,
  settingIds,
  type TokenizerSetting,
  tokenizerSettings,
} from "./settings.ts";

/** Absolute path of the model folder or GGUF file the user set, or the name of a bundled model; undefined means the default. */
export function modelPathSetting(): string | undefined {
  const path = vscode.workspace.getConfiguration().get<string>(settingIds.modelPath, "").trim();
  return path === "" ? undefined : path;
}

/** Machine scope: a workspace cannot point the extension at a folder of its choice. */
export async function writeModelPath(path: string): Promise<void> {
  await vscode.workspace.getConfiguration().update(settingIds.modelPath, path, vscode.ConfigurationTarget.Global);
}

/** Address of the hub models are downloaded from, without a slash at its end. Machine scope. */
export function hubUrlSetting(): string {
  const value = vscode.workspace.getConfiguration().get<unknown>(settingIds.hubUrl, settingDefaults.hubUrl);
  const text = typeof value === "string" ? value.trim().replace(/\/+$/, "") : "";
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url?.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (plain && (url.protocol === "https:" || url.protocol === "http:")) return text;
  throw badValue("hubUrl", value, `set it to an address such as ${settingDefaults.hubUrl}`);
}

/** Nothing is opened to the network. Machine scope. */
export function hubOfflineSetting(): boolean {
  return onOff("hubOffline", settingDefaults.hubOffline, undefined);
}

/** VS Code's own: whether certificates must be ones that this machine trusts. */
export function strictSslSetting(): boolean {
  return vscode.workspace.getConfiguration("http").get<boolean>("proxyStrictSSL", true);
}

export function backendSetting(): BackendChoice {
  const value = vscode.workspace.getConfiguration().get<string>(settingIds.backend, "auto");
  if (isBackendSetting(value)) return value;
  throw badValue("backend", value, `set it to ${backendSettings.join(", ")}`);
}

export async function writeBackend(value: BackendChoice): Promise<void> {
  if (!isBackendSetting(value)) throw badValue("backend", value, `set it to ${backendSettings.join(", ")}`);
  if (value !== backendSetting())
    await vscode.workspace.getConfiguration().update(settingIds.backend, value, vscode.ConfigurationTarget.Global);
}

/** How a question attends, in the grammar of `lcp ask --attention`. */
export function attentionSetting(): AttentionChoice {
  return written("attention", parseAttention);
}

/** How keys and values are cached, in the grammar of `--kv`. */
export function kvSetting(): KvFormats {
  return written("kv", parseKvFormats);
}

/** Sets both where they are set now, else in the user's settings; what is as it was is not written. */
export async function writeAttention(attention: AttentionChoice, kv: KvFormats): Promise<void> {
  const [choice, formats] = [formatAttention(attention), formatKvFormats(kv)];
  if (choice !== workspaceValue("attention", "")) await writeWhereSet("attention", choice);
  if (formats !== workspaceValue("kv", "")) await writeWhereSet("kv", formats);
}

/** Whose tokens are counted; `tokenizerPathSetting` goes before it. */
export function tokenizerSetting(): TokenizerSetting {
  const value = workspaceValue("tokenizer", "model");
  if (isTokenizerSetting(value)) return value;
  throw badValue("tokenizer", value, `set it to ${tokenizerSettings.join(", ")}`);
}

/** Absolute path of another tokenizer; undefined where none is set. Machine scope, as the model's path. */
export function tokenizerPathSetting(): string | undefined {
  const path = vscode.workspace.getConfiguration().get<string>(settingIds.tokenizerPath, "").trim();
  return path === "" ? undefined : path;
}

/** Tokens of the window that packs are made for; 0 means the loaded model's. */
export function windowSetting(): number {
  return wholeNumber("window", settingDefaults.window, 0);
}

/** Tokens of the window that stay free for the answer. */
export function reserveSetting(): number {
  return wholeNumber("reserve", settingDefaults.reserve, 0);
}

/**
 * Sets both where they are set now, else in the user's settings: choosing a window does not add a file to the repository.
 */
export async function writeWindow(window: number, reserve: number): Promise<void> {
  if (window !== windowSetting()) await writeWhereSet("window", window);
  if (reserve !== reserveSetting()) await writeWhereSet("reserve", reserve);
}

/** Globs; a file must match one of them. Empty: every file. */
export function includeSetting(): string[] {
  const value = workspaceValue("include", []);
  if (Array.isArray(value) && value.every((glob) => typeof glob === "string")) return value.filter((glob) => glob.trim() !== "");
  throw badValue("include", value, 'set it to a list of globs, for example ["src/**"]');
}

/** Larger files are left out, with a row that says so. */
export function maxFileBytesSetting(): number {
  return 1024 * wholeNumber("maxFileKiB", settingDefaults.maxFileKiB, 1);
}

/** Commits whose messages are a row of the budget; 0: no such row. */
export function gitCommitsSetting(): number {
  return wholeNumber("gitCommits", settingDefaults.gitCommits, 0);
}

/** Whether the explorer shows tokens on this file. */
export function badgesSetting(uri: vscode.Uri): boolean {
  return onOff("badges", true, uri);
}

/** Whether the editor shows tokens above the symbols of this file. */
export function codeLensSetting(uri: vscode.Uri): boolean {
  return onOff("codeLens", false, uri);
}

/** Whether the Problems view lists what is odd about this file. */
export function findingsSetting(uri: vscode.Uri | undefined): boolean {
  return onOff("findings", true, uri);
}

/** What prefixes of prompts may take on the disk; 0 keeps none. Machine scope. */
export function prefixCacheBytesSetting(): number {
  const value = vscode.workspace.getConfiguration().get<unknown>(settingIds.prefixCacheMaxGiB, settingDefaults.prefixCacheMaxGiB);
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return Math.floor(value * 2 ** 30);
  throw badValue("prefixCacheMaxGiB", value, "set it to a number of GiB, or to 0 to keep nothing");
}

/** From how many seconds of reading on a question is held back until the user says so; 0: never. */
export function coldPrefixSecondsSetting(): number {
  const value = workspaceValue("coldPrefixSeconds", settingDefaults.coldPrefixSeconds);
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  throw badValue("coldPrefixSeconds", value, "set it to a number of seconds, or to 0 to be never asked");
}

/** The price table as it stands in the settings, unchecked. */
export function pricesSetting(): unknown {
  return workspaceValue("prices", []);
}

/** Runs the listener when one of the settings changes. */
export function onSettingChange(
  ids: keyof typeof settingIds | readonly (keyof typeof settingIds)[],
  listener: () => void,
): vscode.Disposable {
  const watched = typeof ids === "string" ? [ids] : ids;
  return vscode.workspace.onDidChangeConfiguration((event) => {
    if (watched.some((id) => event.affectsConfiguration(settingIds[id]))) listener();
  });
}

/** What counts for the whole workspace: with several folders, the value of the first one. */
function workspaceValue(id: keyof typeof settingIds, otherwise: unknown): unknown {
  return vscode.workspace.getConfiguration(undefined, firstFolder()).get<unknown>(settingIds[id], otherwise);
}

function firstFolder(): vscode.Uri | undefined {
  return vscode.workspace.workspaceFolders?.[0]?.uri;
}

function wholeNumber(id: keyof typeof settingIds, otherwise: number, least: number): number {
  const value = workspaceValue(id, otherwise);
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
  throw badValue(id, value, `set it to a whole number of at least ${least}`);
}

function onOff(id: keyof typeof settingIds, otherwise: boolean, uri: vscode.Uri | undefined): boolean {
  const value = vscode.workspace.getConfiguration(undefined, uri).get<unknown>(settingIds[id], otherwise);
  if (typeof value === "boolean") return value;
  throw badValue(id, value, "set it to true or false");
}

/** A text that the engine reads; what it refuses names the setting. */
function written<Value>(id: "attention" | "kv", read: (text: string) => Value): Value {
  const value = workspaceValue(id, settingDefaults[id]);
  try {
    return read(typeof value === "string" ? value : JSON.stringify(value));
  } catch (error) {
    if (!EngineError.is(error)) throw error;
    throw badValue(id, value, `${error.message}; ${error.remedy}`);
  }
}

async function writeWhereSet(id: keyof typeof settingIds, value: number | string): Promise<void> {
  const settings = vscode.workspace.getConfiguration(undefined, firstFolder());
  const { workspaceFolderValue, workspaceValue: ofWorkspace } = settings.inspect(settingIds[id]) ?? {};
  const target =
    workspaceFolderValue !== undefined
      ? vscode.ConfigurationTarget.WorkspaceFolder
      : ofWorkspace !== undefined
        ? vscode.ConfigurationTarget.Workspace
        : vscode.ConfigurationTarget.Global;
  const isDefault = target === vscode.ConfigurationTarget.Global && value === settings.inspect(settingIds[id])?.defaultValue;
  await settings.update(settingIds[id], isDefault ? undefined : value, target);
}

function badValue(id: keyof typeof settingIds, value: unknown, remedy: string): EngineError {
  const shown = JSON.stringify(value) ?? String(value);
  return new EngineError("bad-argument", `${settingIds[id]} is ${shown}`, remedy, { value: shown });
}
