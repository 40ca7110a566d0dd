import * as vscode from "vscode";
import { EngineError } from "../../engine/errors.ts";
import { commandIds } from "../commandIds.ts";
import { reserveSetting, windowSetting, writeWindow } from "../config.ts";
import type { FitPreview } from "../server/requests.ts";
import { fitCost, fitDocument, fitGroups, fitRowsOf, fitSummary } from "./fitPreview.ts";
import { budgetViewId } from "./names.ts";
import { exactTokens, parseTokens, shortTokens } from "./numbers.ts";
import { openPaths, uriOfPath } from "./places.ts";
import type { BudgetSource } from "./source.ts";
import type { VirtualDocuments } from "./virtualDocuments.ts";

export interface FitServices {
  source: BudgetSource;
  documents: VirtualDocuments;
  /** Tokens the loaded model was trained for; undefined where its folder does not say. */
  modelWindow: () => number | undefined;
}

/** What a fit is made for. */
export interface FitTarget {
  window: number;
  reserve: number;
  /** Files with words of it rank higher; may be empty. */
  question: string;
  /** Shows what would change and applies it only when the user says so. */
  preview?: boolean;
}

/** Windows that are offered, beside the model's own. */
const windows = [8_000, 32_000, 128_000, 200_000, 1_000_000];
/** Rows of one group in the quick pick; the document has them all. */
const rowsPerGroup = 50;

/**
 * Asks for the window, shows what would be kept and dropped, and applies it when the user says so; offers Undo. With a target as argument
 * it asks for nothing and applies (for keybindings and tests), or only shows the preview. Resolves to the fit that was applied.
 */
export async function fitToWindow(services: FitServices, argument: unknown): Promise<FitPreview | undefined> {
  const { source } = services;
  const given = isFitTarget(argument) ? argument : undefined;
  const target = given ?? (await askTarget(services));
  if (!target) return undefined;
  const { window, reserve, question } = target;
  const preview = await vscode.window.withProgress({ location: { viewId: budgetViewId }, title: "Fitting" }, () =>
    source.call("longContext/fit", { window, reserve, question, openPaths: openPaths() }),
  );
  if ((!given || given.preview) && !(await confirmed(services, preview, target))) return undefined;
  const windowBefore = { window: windowSetting(), reserve: reserveSetting() };
  await source.call("longContext/applyFit", { revision: preview.revision, windowBefore });
  await writeWindow(window, reserve);
  // Waiting for the message would hold the command until it is closed.
  void offerUndo(`Fit to ${shortTokens(window)}: ${fitSummary(preview)}.`);
  return preview;
}

/** Takes the last change of levels back, and of a fit the window too. */
export async function undoLevels(source: BudgetSource): Promise<boolean> {
  const { undone, windowBefore } = await source.call("longContext/undo", {});
  if (windowBefore) await writeWindow(windowBefore.window, windowBefore.reserve);
  if (!undone) void vscode.window.showInformationMessage("Long Context: there is no change of levels to undo.");
  return undone;
}

/** Says what was done, with a button that takes it back; the command it runs tells its own failure. */
export async function offerUndo(message: string): Promise<void> {
  const undo = "Undo";
  if ((await vscode.window.showInformationMessage(`Long Context: ${message}`, undo)) === undo)
    await vscode.commands.executeCommand(commandIds.undoLevels);
}

async function askTarget(services: FitServices): Promise<FitTarget | undefined> {
  const window = await askWindow(services);
  if (window === undefined) return undefined;
  const reserveText = await vscode.window.showInputBox({
    title: `Long Context: Fit to ${shortTokens(window)} (2 of 3)`,
    prompt: "Tokens of the window that stay free for the answer",
    value: String(Math.min(reserveSetting(), Math.floor(window / 4))),
    validateInput: (text) => wrongReserve(text, window),
  });
  const reserve = reserveText === undefined ? undefined : parseTokens(reserveText);
  if (reserve === undefined) return undefined;
  const question = await vscode.window.showInputBox({
    title: `Long Context: Fit to ${shortTokens(window)} (3 of 3)`,
    prompt: "What will you ask? Files that have to do with it rank higher. Enter skips this.",
    placeHolder: "optional",
  });
  return question === undefined ? undefined : { window, reserve, question };
}

async function askWindow({ source, modelWindow }: FitServices): Promise<number | undefined> {
  const current = source.budget?.window ?? windowSetting();
  const model = modelWindow();
  const item = (label: string, tokens: number, description: string) => ({ label, description, tokens });
  const items = [
    ...(current > 0 ? [item(shortTokens(current), current, "the window of now")] : []),
    ...(model === undefined ? [] : [item(shortTokens(model), model, "what the loaded model was trained for")]),
    ...windows.filter((tokens) => tokens !== current).map((tokens) => item(shortTokens(tokens), tokens, "")),
    item("Custom…", 0, "any number of tokens"),
  ];
  const picked = await vscode.window.showQuickPick(items, {
    title: "Long Context: Fit to Window (1 of 3)",
    placeHolder: "Tokens of the window the pack must fit into",
  });
  if (!picked) return undefined;
  if (picked.tokens > 0) return picked.tokens;
  const text = await vscode.window.showInputBox({
    title: "Long Context: Fit to Window (1 of 3)",
    prompt: "Tokens of the window, for example 64K",
    validateInput: (value) => ((parseTokens(value) ?? 0) > 0 ? undefined : "A number of tokens, for example 64K or 65536"),
  });
  return text === undefined ? undefined : parseTokens(text);
}

function wrongReserve(text: string, window: number): string | undefined {
  const tokens = parseTokens(text);
  if (tokens === undefined) return "A number of tokens, for example 4K or 4096";
  return tokens < window ? undefined : `Less than the window of ${exactTokens(window)}`;
}

interface PreviewItem extends vscode.QuickPickItem {
  does?: "apply" | "document" | "open";
  path?: string;
}

/** True when the user applies the preview, false when it is closed. */
function confirmed({ documents }: FitServices, preview: FitPreview, { window, reserve }: FitTarget): Promise<boolean> {
  const pick = vscode.window.createQuickPick<PreviewItem>();
  pick.title = `Fit to ${shortTokens(window)}: preview`;
  pick.placeholder = fitSummary(preview);
  pick.matchOnDescription = true;
  // Looking at a file or at the whole list must not throw the preview away.
  pick.ignoreFocusOut = true;
  pick.items = previewItems(preview);
  return new Promise((resolve) => {
    let apply = false;
    pick.onDidAccept(() => {
      const [item] = pick.selectedItems;
      if (item?.does === "apply") {
        apply = true;
        pick.hide();
      } else if (item?.does === "document") {
        void documents.show("Fit preview.md", fitDocument(preview, window, reserve));
      } else if (item?.path !== undefined) {
        const uri = uriOfPath(item.path);
        if (uri) void vscode.commands.executeCommand("vscode.open", uri, { preview: true, preserveFocus: true });
      }
    });
    pick.onDidHide(() => {
      pick.dispose();
      resolve(apply);
    });
    pick.show();
  });
}

function previewItems(preview: FitPreview): PreviewItem[] {
  const items: PreviewItem[] = [
    { label: "$(check) Apply", description: fitSummary(preview), does: "apply", alwaysShow: true },
    { label: "$(open-preview) Show everything as a document", does: "document", alwaysShow: true },
  ];
  for (const { level, title } of fitGroups) {
    const rows = fitRowsOf(preview, level);
    if (rows.length === 0) continue;
    items.push({ label: `${title}: ${rows.length}`, kind: vscode.QuickPickItemKind.Separator });
    for (const row of rows.slice(0, rowsPerGroup)) {
      items.push({ label: row.path, description: fitCost(row), detail: row.reason, does: "open", path: row.path });
    }
    if (rows.length > rowsPerGroup)
      items.push({
        label: `… and ${exactTokens(rows.length - rowsPerGroup)} more`,
        description: "in the document",
        does: "document",
      });
  }
  return items;
}

/** Throws `bad-argument` for an argument that means a target and is none. */
function isFitTarget(value: unknown): value is FitTarget {
  if (typeof value !== "object" || value === null || !("window" in value)) return false;
  const { window } = value;
  const reserve = "reserve" in value ? value.reserve : undefined;
  const question = "question" in value ? value.question : undefined;
  if (typeof window === "number" && typeof reserve === "number" && typeof question === "string") return true;
  throw new EngineError("bad-argument", "a fit wants { window, reserve, question }", 'give all three, the question may be ""');
}
