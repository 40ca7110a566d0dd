import * as vscode from "vscode";
import { plainError } from "../../engine/errors.ts";
import type { BudgetChildren, BudgetRow, BudgetSort } from "../server/requests.ts";
import { commandIds, internalCommandIds } from "../commandIds.ts";
import { exactTokens } from "./numbers.ts";
import { isIncluded, leftOutLabel, rowDescription, rowIcon, rowSentence, rowTooltip } from "./rows.ts";
import type { BudgetSource } from "./source.ts";

/** One line of the Budget view. */
export type BudgetNode =
  | { readonly kind: "row"; readonly row: BudgetRow }
  /** What a folder has that is not counted, collapsed. */
  | {
      readonly kind: "leftOut";
      readonly folder: string;
      readonly rows: readonly BudgetRow[];
      readonly hidden: number;
      readonly reasons: string;
    }
  /** The rest of a long list. */
  | { readonly kind: "more"; readonly list: string; readonly hidden: number }
  /** Tells that the tree is filtered; activating it clears the filter. */
  | { readonly kind: "filter"; readonly filter: string; readonly matches: number }
  | { readonly kind: "problem"; readonly message: string };

/** The same for the same line of the view, also after it was drawn anew. */
export function nodeId(node: BudgetNode): string {
  switch (node.kind) {
    case "row":
      return `${node.row.kind}: ${node.row.path}`;
    case "leftOut":
      return leftOutList(node.folder);
    case "more":
      return `more: ${node.list}`;
    case "filter":
    case "problem":
      return node.kind;
  }
}

/** Rows of one list that are shown before "Show more". */
export const pageSize = 500;

/** Asks the server for one folder at a time, when it is opened; keeps no rows itself. */
export class BudgetTree implements vscode.TreeDataProvider<BudgetNode>, vscode.Disposable {
  private readonly source: BudgetSource;
  private readonly fileUri: (path: string) => vscode.Uri | undefined;
  private readonly changed = new vscode.EventEmitter<undefined>();
  /** Rows shown of lists whose "Show more" was used. */
  private readonly limits = new Map<string, number>();
  private currentSort: BudgetSort = "tokens";
  private currentFilter = "";
  readonly onDidChangeTreeData = this.changed.event;

  /** `fileUri` says where a path of the workspace lies on disk. */
  constructor(source: BudgetSource, fileUri: (path: string) => vscode.Uri | undefined) {
    this.source = source;
    this.fileUri = fileUri;
  }

  get sort(): BudgetSort {
    return this.currentSort;
  }

  set sort(sort: BudgetSort) {
    this.currentSort = sort;
    this.refresh();
  }

  /** Part of a path or a glob; empty: everything. */
  get filter(): string {
    return this.currentFilter;
  }

  set filter(filter: string) {
    this.currentFilter = filter.trim();
    this.limits.clear();
    this.refresh();
  }

  /** Asks again for the folders that are open. */
  refresh(): void {
    this.changed.fire(undefined);
  }

  showMore(list: string): void {
    this.limits.set(list, (this.limits.get(list) ?? pageSize) + pageSize);
    this.refresh();
  }

  async getChildren(node?: BudgetNode): Promise<BudgetNode[]> {
    if (node === undefined) return this.currentFilter === "" ? this.folder("") : this.matches(this.currentFilter);
    if (node.kind === "leftOut") return listed(leftOutList(node.folder), node.rows, node.hidden);
    if (node.kind === "row" && node.row.kind === "folder") return this.folder(node.row.path);
    return [];
  }

  getTreeItem(node: BudgetNode): vscode.TreeItem {
    const item = this.itemOf(node);
    item.id = nodeId(node);
    return item;
  }

  private itemOf(node: BudgetNode): vscode.TreeItem {
    switch (node.kind) {
      case "row":
        return this.rowItem(node.row);
      case "leftOut":
        return leftOutItem(node);
      case "more":
        return moreItem(node.list, node.hidden);
      case "filter":
        return filterItem(node.filter, node.matches);
      case "problem":
        return problemItem(node.message);
    }
  }

  dispose(): void {
    this.changed.dispose();
  }

  private async folder(path: string): Promise<BudgetNode[]> {
    const answer = await this.ask(path);
    if ("problem" in answer) return answer.problem;
    const { rows, hidden, leftOut, leftOutHidden, leftOutReasons } = answer;
    const nodes = listed(path, rows, hidden);
    if (leftOut.length === 0) return nodes;
    return [...nodes, { kind: "leftOut", folder: path, rows: leftOut, hidden: leftOutHidden, reasons: leftOutReasons }];
  }

  private async matches(filter: string): Promise<BudgetNode[]> {
    const answer = await this.ask("", filter);
    if ("problem" in answer) return answer.problem;
    const { rows, hidden } = answer;
    return [{ kind: "filter", filter, matches: rows.length + hidden }, ...listed("", rows, hidden)];
  }

  private async ask(path: string, filter?: string): Promise<BudgetChildren | { problem: BudgetNode[] }> {
    // Nothing to show without a count; the view's welcome text says what is going on.
    const { budget } = this.source;
    if (budget === undefined || budget.state === "failed") return { problem: [] };
    const limits = { limit: this.limitOf(path), leftOutLimit: this.limitOf(leftOutList(path)) };
    try {
      return await this.source.call("longContext/children", {
        ...{ path, sort: this.currentSort, ...limits },
        ...(filter ? { filter } : {}),
      });
    } catch (error) {
      return { problem: [{ kind: "problem", message: plainError(error).message }] };
    }
  }

  private limitOf(list: string): number {
    return this.limits.get(list) ?? pageSize;
  }

  private rowItem(row: BudgetRow): vscode.TreeItem {
    const window = this.source.budget?.window ?? 0;
    const isFolder = row.kind === "folder";
    // A list of matches has no folders around it, so its names are paths.
    const label = this.currentFilter === "" ? row.name : row.path;
    const item = new vscode.TreeItem(
      label,
      isFolder ? vscode.TreeItemCollapsibleState.Collapsed : vscode.TreeItemCollapsibleState.None,
    );
    const sentence = rowSentence(row, window);
    item.description = rowDescription(row, window);
    item.tooltip = rowTooltip(row, window);
    item.iconPath = new vscode.ThemeIcon(rowIcon(row), iconColor(row));
    item.contextValue = row.kind;
    item.accessibilityInformation = { label: sentence };
    if (row.kind !== "excluded") {
      item.checkboxState = {
        state: isIncluded(row) ? vscode.TreeItemCheckboxState.Checked : vscode.TreeItemCheckboxState.Unchecked,
        tooltip: isIncluded(row) ? "Exclude from the pack" : "Include in the pack",
        accessibilityInformation: { label: sentence, role: "checkbox" },
      };
    }
    const uri = row.kind === "folder" ? undefined : this.fileUri(row.path);
    if (uri && !row.path.endsWith("/")) item.command = { command: "vscode.open", title: "Open", arguments: [uri] };
    return item;
  }
}

function leftOutList(folder: string): string {
  return `left out: ${folder}`;
}

function listed(list: string, rows: readonly BudgetRow[], hidden: number): BudgetNode[] {
  const nodes = rows.map((row): BudgetNode => ({ kind: "row", row }));
  return hidden > 0 ? [...nodes, { kind: "more", list, hidden }] : nodes;
}

function leftOutItem({ folder, rows, hidden, reasons }: Extract<BudgetNode, { kind: "leftOut" }>): vscode.TreeItem {
  const label = leftOutLabel(rows.length + hidden);
  const item = new vscode.TreeItem(label, vscode.TreeItemCollapsibleState.Collapsed);
  item.description = reasons;
  item.tooltip = `Not counted here: ${reasons}`;
  item.iconPath = new vscode.ThemeIcon("circle-slash", new vscode.ThemeColor("disabledForeground"));
  item.contextValue = "leftOut";
  item.accessibilityInformation = { label: `${label} of ${folder || "the workspace"}: ${reasons}` };
  return item;
}

function moreItem(list: string, hidden: number): vscode.TreeItem {
  const item = new vscode.TreeItem(`Show more (${exactTokens(hidden)} hidden)`);
  item.iconPath = new vscode.ThemeIcon("ellipsis");
  item.command = { command: internalCommandIds.showMore, title: "Show more", arguments: [list] };
  item.contextValue = "more";
  return item;
}

function filterItem(filter: string, matches: number): vscode.TreeItem {
  const found = matches === 1 ? "1 match" : `${exactTokens(matches)} matches`;
  const item = new vscode.TreeItem(`Filter: ${filter}`);
  item.description = `${found}; activate to clear`;
  item.tooltip = "Only files whose path matches are shown. Activate this row to clear the filter.";
  item.iconPath = new vscode.ThemeIcon("filter-filled");
  item.command = { command: commandIds.clearFilter, title: "Clear filter" };
  item.contextValue = "filter";
  item.accessibilityInformation = { label: `Filtered by ${filter}, ${found}. Activate to clear the filter.` };
  return item;
}

function problemItem(message: string): vscode.TreeItem {
  const item = new vscode.TreeItem("The rows could not be read");
  item.id = "problem";
  item.description = message;
  item.tooltip = message;
  item.iconPath = new vscode.ThemeIcon("warning");
  item.contextValue = "problem";
  return item;
}

function iconColor(row: BudgetRow): vscode.ThemeColor | undefined {
  return row.kind === "excluded" || row.level === "excluded" ? new vscode.ThemeColor("disabledForeground") : undefined;
}
