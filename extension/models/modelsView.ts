import * as vscode from "vscode";
import { internalCommandIds } from "../commandIds.ts";
import { KeyedSelection } from "../keyedSelection.ts";
import { Later } from "../server/later.ts";
import type { ModelList } from "./modelList.ts";
import {
  type ModelFact,
  type ModelRow,
  rowContext,
  rowDescription,
  rowFacts,
  rowIcon,
  rowSentence,
  rowTooltip,
} from "./modelWords.ts";
import { modelsViewId } from "./viewId.ts";

/** What the view says of itself in `when` clauses; its welcome texts depend on it. */
const stateKey = "longContext.modelsState";
/** While a model is downloaded its row is drawn at this pace. */
const redrawMs = 300;

/** One line of the view: a model, or a fact about it. */
type ModelNode = { readonly row: ModelRow; readonly fact?: ModelFact };

/** The tree of models below the Budget. */
export class ModelsView implements vscode.TreeDataProvider<ModelNode>, vscode.Disposable {
  private readonly list: ModelList;
  private readonly report: (what: string, error: unknown) => void;
  private readonly view: vscode.TreeView<ModelNode>;
  private readonly keys: KeyedSelection<ModelNode>;
  private readonly changed = new vscode.EventEmitter<undefined>();
  private readonly all: vscode.Disposable;
  private state = "";
  readonly onDidChangeTreeData = this.changed.event;

  constructor(list: ModelList, report: (what: string, error: unknown) => void) {
    this.list = list;
    this.report = report;
    this.view = vscode.window.createTreeView(modelsViewId, { treeDataProvider: this, showCollapseAll: true });
    this.keys = new KeyedSelection(this.view, nodeId);
    const redraw = new Later(redrawMs, () => this.changed.fire(undefined));
    this.all = vscode.Disposable.from(
      this.view,
      this.keys,
      this.changed,
      redraw,
      list.onDidChange(() => redraw.soon()),
    );
  }

  /** The row that a key or a command without an argument is meant for. */
  get keyed(): ModelRow | undefined {
    return this.keys.keyed[0]?.row;
  }

  get selection(): ModelRow | undefined {
    return this.view.selection[0]?.row;
  }

  async getChildren(node?: ModelNode): Promise<ModelNode[]> {
    if (node?.fact !== undefined) return [];
    if (node !== undefined) return rowFacts(node.row).map((fact) => ({ row: node.row, fact }));
    try {
      const rows = await this.list.rows();
      this.setState("listed");
      return rows.map((row) => ({ row }));
    } catch (error) {
      this.setState("failed");
      this.report("the list of models", error);
      return [];
    }
  }

  getTreeItem(node: ModelNode): vscode.TreeItem {
    const item = node.fact === undefined ? modelItem(node.row) : factItem(node.fact);
    item.id = nodeId(node);
    return item;
  }

  dispose(): void {
    this.all.dispose();
  }

  private setState(state: string): void {
    if (this.state === state) return;
    this.state = state;
    void vscode.commands.executeCommand("setContext", stateKey, state);
  }
}

/** The same for the same line, also after it was drawn anew. */
function nodeId({ row, fact }: ModelNode): string {
  return fact === undefined ? row.path : `${row.path}: ${fact.name}`;
}

function modelItem(row: ModelRow): vscode.TreeItem {
  const item = new vscode.TreeItem(row.label, vscode.TreeItemCollapsibleState.Collapsed);
  item.description = rowDescription(row);
  item.tooltip = rowTooltip(row);
  item.iconPath = new vscode.ThemeIcon(rowIcon(row), iconColor(row));
  item.contextValue = rowContext(row);
  item.accessibilityInformation = { label: rowSentence(row) };
  item.command = { command: internalCommandIds.modelActions, title: "Show what can be done with it", arguments: [row] };
  return item;
}

function factItem({ name, value }: ModelFact): vscode.TreeItem {
  const item = new vscode.TreeItem(name);
  item.description = value;
  item.tooltip = `${name}: ${value}`;
  item.contextValue = "fact";
  item.accessibilityInformation = { label: `${name}: ${value}` };
  return item;
}

function iconColor({ state, engine }: ModelRow): vscode.ThemeColor | undefined {
  if (state.kind === "missing" || state.kind === "unsupported") return new vscode.ThemeColor("list.warningForeground");
  if (engine?.status === "failed") return new vscode.ThemeColor("list.errorForeground");
  return engine?.status === "ready" ? new vscode.ThemeColor("charts.green") : undefined;
}
