import * as vscode from "vscode";
import { codeLensSetting, onSettingChange } from "../config.ts";
import type { SymbolTokens } from "../server/requests.ts";
import { Later } from "../server/later.ts";
import { exactTokens, shortShare, shortTokens } from "./numbers.ts";
import { pathOfUri } from "./places.ts";
import type { BudgetSource } from "./source.ts";

const selector: vscode.DocumentSelector = { scheme: "file" };
const settleMs = 500;
/** A selection longer than this is told by its file's symbols only: it would cross two processes for a hover. */
const maxSelectionCharacters = 1_000_000;

/** Tokens above top-level symbols (off by default: one more line above every function is noise to who does not budget right now). */
export class TokenCodeLenses implements vscode.CodeLensProvider, vscode.Disposable {
  private readonly source: BudgetSource;
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly all: vscode.Disposable;
  readonly onDidChangeCodeLenses = this.changed.event;

  constructor(source: BudgetSource) {
    this.source = source;
    const settle = new Later(settleMs, () => this.changed.fire());
    this.all = vscode.Disposable.from(
      this.changed,
      settle,
      source.onDidChangeBudget(() => settle.soon()),
      onSettingChange("codeLens", () => this.changed.fire()),
      vscode.languages.registerCodeLensProvider(selector, this),
    );
  }

  async provideCodeLenses(document: vscode.TextDocument, token: vscode.CancellationToken): Promise<vscode.CodeLens[]> {
    if (!codeLensSetting(document.uri)) return [];
    const symbols = await symbolsOf(this.source, document, token);
    return symbols.map(
      ({ name, nameLine, tokens }) =>
        new vscode.CodeLens(lineRange(document, nameLine), {
          title: `${shortTokens(tokens)} tokens`,
          tooltip: `${name}: ${exactTokens(tokens)} tokens`,
          command: "",
        }),
    );
  }

  dispose(): void {
    this.all.dispose();
  }
}

/** Tokens of the symbol under the pointer, and of the selection when the pointer is in it. */
export class TokenHovers implements vscode.HoverProvider, vscode.Disposable {
  private readonly source: BudgetSource;
  private readonly registration: vscode.Disposable;

  constructor(source: BudgetSource) {
    this.source = source;
    this.registration = vscode.languages.registerHoverProvider(selector, this);
  }

  async provideHover(
    document: vscode.TextDocument,
    position: vscode.Position,
    token: vscode.CancellationToken,
  ): Promise<vscode.Hover | undefined> {
    const window = this.source.budget?.window ?? 0;
    const selection = selectionAt(document, position);
    if (selection) {
      const text = document.getText(selection);
      if (text.length > maxSelectionCharacters) return undefined;
      const { tokens } = await this.source.call("longContext/countText", { text }, token);
      return new vscode.Hover(
        plain(`Selection: ${exactTokens(tokens)} tokens, ${shortShare(tokens, window)} of the window`),
        selection,
      );
    }
    const line = position.line + 1;
    // Only on the line that names the symbol: a hover on every word of its body would be in the way.
    const symbol = (await symbolsOf(this.source, document, token)).find(({ nameLine }) => nameLine === line);
    if (!symbol) return undefined;
    const { name, tokens, startLine, endLine } = symbol;
    const lines = startLine === endLine ? `line ${startLine}` : `lines ${startLine}–${endLine}`;
    return new vscode.Hover(
      plain(`${name}: ${exactTokens(tokens)} tokens (${lines}), ${shortShare(tokens, window)} of the window`),
    );
  }

  dispose(): void {
    this.registration.dispose();
  }
}

async function symbolsOf(
  source: BudgetSource,
  document: vscode.TextDocument,
  token: vscode.CancellationToken,
): Promise<readonly SymbolTokens[]> {
  const path = pathOfUri(document.uri);
  if (path === undefined || source.budget === undefined || source.budget.state === "failed") return [];
  return (await source.call("longContext/symbols", { path }, token)).symbols;
}

function selectionAt(document: vscode.TextDocument, position: vscode.Position): vscode.Selection | undefined {
  const editor = vscode.window.visibleTextEditors.find((shown) => shown.document === document);
  return editor?.selections.find((selection) => !selection.isEmpty && selection.contains(position));
}

/** `line` is 1-based; the file may have become shorter since it was read. */
function lineRange(document: vscode.TextDocument, line: number): vscode.Range {
  const clamped = Math.min(Math.max(line, 1), document.lineCount) - 1;
  return new vscode.Range(clamped, 0, clamped, 0);
}

/** Names come from the repository: no link and no HTML is made of them. */
function plain(text: string): vscode.MarkdownString {
  return new vscode.MarkdownString().appendText(text);
}
