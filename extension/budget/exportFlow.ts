import { basename, extname } from "node:path";
import * as vscode from "vscode";
import { packFormats, type PackFormat } from "../../engine/pack/exportPack.ts";
import { EngineError } from "../../engine/errors.ts";
import type { PackExport, ServerCalls } from "../server/requests.ts";
import { exactTokens, filesText } from "./numbers.ts";
import { withheldText } from "./levels.ts";
import type { BudgetSource } from "./source.ts";

export interface ExportServices {
  source: BudgetSource;
  memento: vscode.Memento;
  /** For what fails after the command has ended. */
  reportFailure: (what: string, error: unknown) => void;
}

const formatKey = "packFormat";
const formats: Readonly<Record<PackFormat, { label: string; detail: string; extension: string }>> = {
  xml: { label: "XML", detail: "one element per file; what most chat assistants read best", extension: "xml" },
  markdown: { label: "Markdown", detail: "a heading and a fenced block per file", extension: "md" },
  json: { label: "JSON", detail: "paths, levels, tokens and texts, for programs", extension: "json" },
  plain: { label: "Plain text", detail: "a line with the path, then the text", extension: "txt" },
};

/** The pack into the clipboard; the format as argument asks for nothing. */
export async function copyPack(services: ExportServices, argument: unknown): Promise<PackExport | undefined> {
  const format = await chooseFormat(services.memento, argument, "Copy Pack");
  if (!format) return undefined;
  return deliver(services, format, undefined, async ({ text }) => {
    await vscode.env.clipboard.writeText(text ?? "");
    return "copied";
  });
}

/** The pack into a file that the user names; a uri as argument decides format (by its extension) and place. */
export async function exportPack(services: ExportServices, argument: unknown): Promise<PackExport | undefined> {
  const given = argument instanceof vscode.Uri ? argument : undefined;
  const format = given ? formatOf(given) : await chooseFormat(services.memento, argument, "Export Pack");
  const uri = format && (given ?? (await askPlace(format)));
  if (!uri) return undefined;
  // The server writes to this machine's disk, so that a large pack never crosses to the editor.
  return deliver(services, format, uri.scheme === "file" ? uri.fsPath : undefined, async ({ text }) => {
    if (text !== undefined) await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode(text));
    return `written to ${basename(uri.path)}`;
  });
}

/**
 * Makes the pack without the files a secret was found in, says which, and hands it over; then offers to put some of them in after all.
 * `hand` returns what it did.
 */
async function deliver(
  { source, reportFailure }: ExportServices,
  format: PackFormat,
  file: string | undefined,
  hand: (pack: PackExport) => Promise<string>,
): Promise<PackExport> {
  const pack = await render(source, { format, allowSecretsIn: [], file });
  const did = await hand(pack);
  // Waiting for the message would hold the command until it is closed.
  tell(pack, did, async (allowSecretsIn) => {
    const whole = await render(source, { format, allowSecretsIn, file });
    await tell(whole, await hand(whole), undefined);
  }).catch((error: unknown) => reportFailure("the pack with allowed files", error));
  return pack;
}

function render(source: BudgetSource, ask: ServerCalls["longContext/export"]["params"]): Promise<PackExport> {
  return Promise.resolve(
    vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: "Long Context: making the pack", cancellable: true },
      (_, token) => source.call("longContext/export", ask, token),
    ),
  );
}

/** Says what was handed over and what was withheld; `again` makes the pack once more with files that the user allows. */
async function tell(pack: PackExport, did: string, again: ((allowed: string[]) => Promise<void>) | undefined): Promise<void> {
  const what = `Long Context: ${exactTokens(pack.tokens)} tokens of ${filesText(pack.files)} ${did}.`;
  if (pack.withheld.length === 0) {
    void vscode.window.showInformationMessage(what);
    return;
  }
  const review = "Review Withheld…";
  const buttons = again ? [review] : [];
  const answer = await vscode.window.showWarningMessage(`${what} ${withheldText(pack.withheld)}.`, ...buttons);
  if (answer !== review || !again) return;
  const picked = await vscode.window.showQuickPick(
    pack.withheld.map(({ path, reason }) => ({ label: path, description: reason })),
    {
      canPickMany: true,
      title: "Files with a suspected secret",
      placeHolder: "Select the files that may leave all the same; nothing selected changes nothing",
    },
  );
  if (picked && picked.length > 0) await again(picked.map(({ label }) => label));
}

async function chooseFormat(memento: vscode.Memento, argument: unknown, title: string): Promise<PackFormat | undefined> {
  if (typeof argument === "string") {
    if (isPackFormat(argument)) return argument;
    throw new EngineError("bad-argument", `"${argument}" is no format of a pack`, `use ${packFormats.join(", ")}`);
  }
  const last = memento.get<unknown>(formatKey);
  const ordered = [...packFormats].sort((a, b) => Number(b === last) - Number(a === last));
  const picked = await vscode.window.showQuickPick(
    ordered.map((format) => ({ ...formats[format], format })),
    { title: `Long Context: ${title}`, placeHolder: "Format" },
  );
  if (picked) await memento.update(formatKey, picked.format);
  return picked?.format;
}

async function askPlace(format: PackFormat): Promise<vscode.Uri | undefined> {
  const { label, extension } = formats[format];
  const [folder] = vscode.workspace.workspaceFolders ?? [];
  const name = `${folder?.name ?? "workspace"}-pack.${extension}`;
  return vscode.window.showSaveDialog({
    title: "Long Context: Export Pack",
    filters: { [label]: [extension] },
    // Beside the workspace: inside it the pack would be counted into the next pack.
    ...(folder ? { defaultUri: vscode.Uri.joinPath(folder.uri, "..", name) } : {}),
  });
}

function formatOf(uri: vscode.Uri): PackFormat {
  const extension = extname(uri.path).slice(1);
  const format = packFormats.find((known) => formats[known].extension === extension);
  if (format) return format;
  const known = packFormats.map((name) => `.${formats[name].extension}`).join(", ");
  throw new EngineError("bad-argument", `"${basename(uri.path)}" says no format by its extension`, `use one of ${known}`);
}

function isPackFormat(value: string): value is PackFormat {
  return packFormats.some((format) => format === value);
}
