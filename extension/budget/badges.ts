import * as vscode from "vscode";
import { badgesSetting, onSettingChange } from "../config.ts";
import { Later } from "../server/later.ts";
import { badgeText, exactTokens } from "./numbers.ts";
import { pathOfUri } from "./places.ts";
import { levelNames } from "./rows.ts";
import type { BudgetSource } from "./source.ts";

/** VS Code refuses larger change events. */
const urisPerEvent = 250;
/** Explorer rows whose badge is kept up to date; older ones are asked for again when they are seen again. */
const remembered = 2000;
const settleMs = 1000;

/** Tokens of files in the explorer, as two characters; asks the server for the rows that the explorer shows, nothing else. */
export class TokenBadges implements vscode.FileDecorationProvider, vscode.Disposable {
  private readonly source: BudgetSource;
  private readonly changed = new vscode.EventEmitter<vscode.Uri[]>();
  /** By uri text, the longest unseen first. */
  private readonly shown = new Map<string, vscode.Uri>();
  private readonly settle: Later;
  private readonly all: vscode.Disposable;
  readonly onDidChangeFileDecorations = this.changed.event;

  constructor(source: BudgetSource) {
    this.source = source;
    this.settle = new Later(settleMs, () => this.announce());
    this.all = vscode.Disposable.from(
      this.changed,
      this.settle,
      source.onDidChangeBudget(() => this.settle.soon()),
      onSettingChange("badges", () => this.announce()),
      vscode.window.registerFileDecorationProvider(this),
    );
  }

  async provideFileDecoration(uri: vscode.Uri, token: vscode.CancellationToken): Promise<vscode.FileDecoration | undefined> {
    const path = pathOfUri(uri);
    if (path === undefined || path === "") return undefined;
    this.remember(uri);
    if (!badgesSetting(uri) || this.source.budget === undefined || this.source.budget.state === "failed") return undefined;
    // The explorer does not say what is a folder; the server knows both names.
    const row =
      (await this.source.call("longContext/row", { path }, token)).row ??
      (await this.source.call("longContext/row", { path: `${path}/` }, token)).row;
    if (row === undefined || row.kind === "excluded") return undefined;
    const badge = badgeText(row.fullTokens);
    if (badge === undefined) return undefined;
    const about = row.approximate ? "≈ " : "";
    const level = row.level === "full" ? "" : `, ${levelNames[row.level]}: ${about}${exactTokens(row.tokens)} in the pack`;
    return new vscode.FileDecoration(badge, `${about}${exactTokens(row.fullTokens)} tokens${level}`);
  }

  dispose(): void {
    this.all.dispose();
  }

  private remember(uri: vscode.Uri): void {
    const key = uri.toString();
    this.shown.delete(key);
    this.shown.set(key, uri);
    for (const oldest of this.shown.keys()) {
      if (this.shown.size <= remembered) break;
      this.shown.delete(oldest);
    }
  }

  /** Tells VS Code to ask again, for the rows it has asked about. */
  private announce(): void {
    const uris = [...this.shown.values()];
    for (let start = 0; start < uris.length; start += urisPerEvent) this.changed.fire(uris.slice(start, start + urisPerEvent));
  }
}
