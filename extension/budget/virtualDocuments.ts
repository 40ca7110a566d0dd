import * as vscode from "vscode";
import { exactTokens } from "./numbers.ts";
import { budgetScheme } from "./places.ts";
import { rowDescription } from "./rows.ts";
import type { BudgetSource } from "./source.ts";

/** Rows of a folder that its document lists. */
const listed = 200;

/** Read-only documents: the preview of a fit, what git says, and what a folder holds (it has no text of its own that a finding could point at). */
export class VirtualDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly source: BudgetSource;
  private readonly texts = new Map<string, string>();
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  private readonly registration: vscode.Disposable;
  readonly onDidChange = this.changed.event;

  constructor(source: BudgetSource) {
    this.source = source;
    this.registration = vscode.Disposable.from(
      vscode.workspace.registerTextDocumentContentProvider(budgetScheme, this),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => {
        if (uri.scheme === budgetScheme) this.texts.delete(uri.path);
      }),
    );
  }

  /** The document that lists a folder; `path` ends in "/", or is "" for the workspace. */
  folderUri(path: string): vscode.Uri {
    return vscode.Uri.from({ scheme: budgetScheme, path: `/${path}`, query: "folder" });
  }

  /** Shows a text under a name, beside nothing else: the same name is shown again with its new text. */
  async show(name: string, text: string): Promise<void> {
    const uri = vscode.Uri.from({ scheme: budgetScheme, path: `/${name}` });
    this.texts.set(uri.path, text);
    this.changed.fire(uri);
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri), { preview: true, preserveFocus: true });
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    if (uri.query === "git") {
      const { text } = await this.source.call("longContext/gitText", { path: uri.path.slice(1).replace(/\.\w+$/, "") });
      return text ?? "Git has nothing to show here any more.\n";
    }
    if (uri.query !== "folder") return this.texts.get(uri.path) ?? "This preview is out of date.\n";
    const path = uri.path.slice(1);
    const [{ rows, hidden }, { sentences }] = await Promise.all([
      this.source.call("longContext/children", { path, sort: "tokens", limit: listed, leftOutLimit: 0 }),
      this.source.call("longContext/why", { path }),
    ]);
    const window = this.source.budget?.window ?? 0;
    const lines = [path || "The workspace", ...sentences, ""];
    for (const row of rows) lines.push(`${exactTokens(row.tokens).padStart(12)}  ${row.name}  ${rowDescription(row, window)}`);
    if (hidden > 0) lines.push(`${"".padStart(12)}  and ${exactTokens(hidden)} more`);
    return `${lines.join("\n")}\n`;
  }

  dispose(): void {
    this.registration.dispose();
    this.changed.dispose();
  }
}
