import * as vscode from "vscode";
import { type ContextSet, parseContextSet, writeContextSet } from "../../engine/pack/contextSet.ts";
import { EngineError, plainError } from "../../engine/errors.ts";
import { tokenizerPathSetting, tokenizerSetting, writeWindow } from "../config.ts";
import { offerUndo } from "./fit.ts";
import { contextSetFolder } from "./names.ts";
import { exactTokens, shortTokens } from "./numbers.ts";
import type { BudgetSource } from "./source.ts";

/** Writes the levels of now as a context set; the name as argument asks for nothing. Resolves to the file. */
export async function saveContextSet(source: BudgetSource, argument: unknown): Promise<vscode.Uri | undefined> {
  const folder = setsFolder();
  const name = typeof argument === "string" ? argument : await askName();
  if (name === undefined) return undefined;
  const wrong = wrongName(name);
  if (wrong !== undefined)
    throw new EngineError("bad-argument", `"${name}" is no name of a context set: ${wrong}`, "choose another name");
  const { levels } = await source.call("longContext/levels", {});
  const { budget } = source;
  const tokenizer = presetThatCounts();
  const set: ContextSet = {
    version: 1,
    name: name.trim(),
    ...(budget ? { window: budget.window, reserve: budget.reserve } : {}),
    ...(tokenizer === undefined ? {} : { tokenizer }),
    levels,
  };
  const uri = vscode.Uri.joinPath(folder, `${fileName(name)}.json`);
  if (typeof argument !== "string" && (await exists(uri)) && !(await mayReplace(name))) return undefined;
  await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode(writeContextSet(set)));
  void vscode.window.showInformationMessage(
    `Long Context: context set "${set.name}" saved in ${vscode.workspace.asRelativePath(uri)}.`,
  );
  return uri;
}

/** Puts every file at the level a set says and takes over its window; a uri as argument asks for nothing. Resolves to the set. */
export async function openContextSet(source: BudgetSource, argument: unknown): Promise<ContextSet | undefined> {
  const uri = argument instanceof vscode.Uri ? argument : await pickSet();
  if (!uri) return undefined;
  const set = await readSet(uri);
  await source.call("longContext/replaceLevels", { levels: set.levels });
  const { budget } = source;
  if (budget && (set.window !== undefined || set.reserve !== undefined))
    await writeWindow(set.window ?? budget.window, set.reserve ?? budget.reserve);
  const size = set.window === undefined ? "" : ` for a window of ${shortTokens(set.window)}`;
  void offerUndo(`context set "${set.name}"${size} opened.${otherTokenizer(set)}`);
  return set;
}

/** Throws `bad-argument` naming the file. */
export async function readSet(uri: vscode.Uri): Promise<ContextSet> {
  const text = new TextDecoder().decode(await vscode.workspace.fs.readFile(uri));
  try {
    return parseContextSet(text);
  } catch (error) {
    const { code, message, remedy, facts } = plainError(error);
    throw new EngineError(code, `${vscode.workspace.asRelativePath(uri)}: ${message}`, remedy, facts);
  }
}

/** The tokenizer as others can have it too: a model's own or one by path means nothing on another machine. */
function presetThatCounts(): string | undefined {
  const preset = tokenizerPathSetting() === undefined ? tokenizerSetting() : "model";
  return preset === "model" ? undefined : preset;
}

/** Counts are only the set's own with its tokenizer; which one counts is the user's choice. */
function otherTokenizer({ tokenizer }: ContextSet): string {
  if (tokenizer === undefined || tokenizer === presetThatCounts()) return "";
  return ` It was made with the tokenizer "${tokenizer}"; the counts here are of another.`;
}

async function pickSet(): Promise<vscode.Uri | undefined> {
  const pattern = `${contextSetFolder}/*.json`;
  const uris = (
    await Promise.all(
      (vscode.workspace.workspaceFolders ?? []).map((folder) =>
        vscode.workspace.findFiles(new vscode.RelativePattern(folder, pattern), null),
      ),
    )
  ).flat();
  if (uris.length === 0) {
    throw new EngineError(
      "not-found",
      `there is no context set in ${contextSetFolder}/`,
      'save one with "Long Context: Save Context Set…"',
    );
  }
  const items = await Promise.all(uris.map(setItem));
  items.sort((a, b) => a.label.localeCompare(b.label));
  return (await vscode.window.showQuickPick(items, { title: "Long Context: Open Context Set", matchOnDescription: true }))?.uri;
}

/** A file that is no context set stays in the list with what is wrong, so that it can be mended. */
async function setItem(uri: vscode.Uri): Promise<vscode.QuickPickItem & { uri: vscode.Uri }> {
  const description = vscode.workspace.asRelativePath(uri);
  try {
    const { name, window, levels } = await readSet(uri);
    const choices = `${exactTokens(Object.keys(levels).length)} levels`;
    return {
      uri,
      label: name,
      description,
      detail: window === undefined ? choices : `${choices}, window ${exactTokens(window)}`,
    };
  } catch (error) {
    return { uri, label: `$(warning) ${description}`, detail: plainError(error).message };
  }
}

function setsFolder(): vscode.Uri {
  const [first] = vscode.workspace.workspaceFolders ?? [];
  if (!first) throw new EngineError("empty-workspace", "no folder is open", "open the folder the context set is for");
  return vscode.Uri.joinPath(first.uri, contextSetFolder);
}

function askName(): Thenable<string | undefined> {
  return vscode.window.showInputBox({
    title: "Long Context: Save Context Set",
    prompt: `A name; the levels are written to ${contextSetFolder}/<name>.json`,
    validateInput: wrongName,
  });
}

function wrongName(name: string): string | undefined {
  if (fileName(name) === "") return "a name has letters or digits";
  return name.length > 80 ? "a name has at most 80 characters" : undefined;
}

/** Letters, digits, dots and dashes: the same file name on every system, and never a path. */
function fileName(name: string): string {
  return name
    .trim()
    .normalize("NFC")
    .replaceAll(/[^\p{L}\p{N}._-]+/gu, "-")
    .replaceAll(/^[-.]+|[-.]+$/g, "");
}

async function exists(uri: vscode.Uri): Promise<boolean> {
  try {
    await vscode.workspace.fs.stat(uri);
    return true;
  } catch (error) {
    if (error instanceof vscode.FileSystemError && error.code === "FileNotFound") return false;
    throw error;
  }
}

async function mayReplace(name: string): Promise<boolean> {
  const replace = "Replace";
  return (await vscode.window.showWarningMessage(`A context set "${name}" exists.`, { modal: true }, replace)) === replace;
}
