import * as vscode from "vscode";
import { internalCommandIds } from "../commandIds.ts";
import { KeyedSelection } from "../keyedSelection.ts";
import { Later } from "../server/later.ts";
import type { ModelList } from "./modelList.ts";
import { type ModelRow, rowContext, rowDescription, rowIcon, rowSentence, rowTooltip } from "./modelWords.ts";
import { modelsViewId } from "./viewId.ts";

/** What the view says of itself in `when` clauses; its welcome texts depend on it. */
const stateKey = "longContext.modelsState";
/** While a model is downloaded its row is drawn at this pace. */
const redrawMs = 300;

/** The tree of models below the Budget. */
export class ModelsView implements vscode.TreeDataProvider<ModelRow>, vscode.Disposable {
  private readonly list: ModelList;
  private readonly report: (what: string, error: unknown) => void;
  private readonly view: vscode.TreeView<ModelRow>;
  private readonly keys: KeyedSelection<ModelRow>;
  private readonly changed = new vscode.EventEmitter<undefined>();
  private readonly all: vscode.Disposable;
  private state = "";
  readonly onDidChangeTreeData = this.changed.event;

  constructor(list: ModelList, report: (what: string, error: unknown) => void) {
    this.list = list;
    this.report = report;
    this.view = vscode.window.createTreeView(modelsViewId, { treeDataProvider: this });
    this.keys = new KeyedSelection(this.view, ({ path }) => path);
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
    return this.keys.keyed[0];
  }

  get selection(): ModelRow | undefined {
    return this.view.selection[0];
  }

  async getChildren(row?: ModelRow): Promise<ModelRow[]> {
    if (row !== undefined) return [];
    try {
      const rows = await this.list.rows();
      const onlyBundled = rows.length === 1;
      this.setState(onlyBundled ? "only-bundled" : "listed");
      // With nothing but the bundled model the welcome text tells more than its row would.
      return onlyBundled ? [] : rows;
    } catch (error) {
      this.setState("failed");
      this.report("the list of models", error);
      return [];
    }
  }

  getTreeItem(row: ModelRow): vscode.TreeItem {
    const item = new vscode.TreeItem(row.label);
    item.id = row.path;
    item.description = rowDescription(row);
    item.tooltip = rowTooltip(row);
    item.iconPath = new vscode.ThemeIcon(rowIcon(row), iconColor(row));
    item.contextValue = rowContext(row);
    item.accessibilityInformation = { label: rowSentence(row) };
    item.command = { command: internalCommandIds.modelActions, title: "Show what can be done with it", arguments: [row] };
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

function iconColor({ state, engine }: ModelRow): vscode.ThemeColor | undefined {
  if (state.kind === "missing" || state.kind === "unsupported") return new vscode.ThemeColor("list.warningForeground");
  if (engine?.status === "failed") return new vscode.ThemeColor("list.errorForeground");
  return engine?.status === "ready" ? new vscode.ThemeColor("charts.green") : undefined;
}
