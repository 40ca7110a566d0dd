import * as vscode from "vscode";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import type { BudgetSort } from "../server/requests.ts";
import { internalCommandIds } from "../commandIds.ts";
import { KeyedSelection } from "../keyedSelection.ts";
import { Later } from "../server/later.ts";
import { meterText } from "./meter.ts";
import { budgetViewId } from "./names.ts";
import { uriOfPath } from "./places.ts";
import type { BudgetSource } from "./source.ts";
import { type BudgetNode, BudgetTree, nodeId } from "./tree.ts";

/** What the view says of itself in `when` clauses. */
const contextKeys = { state: "longContext.budgetState", filtered: "longContext.budgetFiltered", sort: "longContext.budgetSort" };
const sortKey = "budgetSort";
/** While counting, states arrive many times a second; the tree follows at this pace. */
const redrawMs = 400;
const sortNames: Readonly<Record<BudgetSort, string>> = { tokens: "by tokens", path: "by path", changed: "by last change" };

export interface BudgetViewServices {
  source: BudgetSource;
  memento: vscode.Memento;
  /** A line about the price of the pack; undefined where no price is known. */
  costLine: (budget: BudgetSnapshot) => string | undefined;
  report: (what: string, error: unknown) => void;
}

/** The tree in the activity bar: check boxes set levels, the message above the rows is the meter. */
export class BudgetView implements vscode.Disposable {
  readonly tree: BudgetTree;
  private readonly services: BudgetViewServices;
  private readonly view: vscode.TreeView<BudgetNode>;
  private readonly redraw: Later;
  /** Values of `when` clauses as VS Code knows them, so that a burst of states does not repeat them. */
  private readonly contexts = new Map<string, unknown>();
  private readonly keys: KeyedSelection<BudgetNode>;
  private readonly all: vscode.Disposable;

  constructor(services: BudgetViewServices) {
    this.services = services;
    const { source, memento, report } = services;
    this.tree = new BudgetTree(source, uriOfPath);
    this.redraw = new Later(redrawMs, () => this.tree.refresh());
    this.view = vscode.window.createTreeView(budgetViewId, {
      treeDataProvider: this.tree,
      canSelectMany: true,
      showCollapseAll: true,
      // A folder's box follows its files by what the server says, not by what is expanded.
      manageCheckboxStateManually: true,
    });
    this.keys = new KeyedSelection(this.view, nodeId);
    this.all = vscode.Disposable.from(
      this.tree,
      this.view,
      this.redraw,
      this.keys,
      this.view.onDidChangeCheckboxState(({ items }) => {
        this.setChecked(items).catch((error: unknown) => {
          this.tree.refresh();
          report("the check box", error);
        });
      }),
      source.onDidChangeBudget((budget) => this.show(budget)),
      vscode.commands.registerCommand(internalCommandIds.showMore, (list: string) => this.tree.showMore(list)),
    );
    this.applySort(storedSort(memento));
    this.setContext(contextKeys.filtered, false);
    if (source.budget) this.show(source.budget);
    else this.setContext(contextKeys.state, "counting");
  }

  /** The rows that a command without an argument means. */
  get selection(): readonly BudgetNode[] {
    return this.view.selection;
  }

  /** The rows that a key is meant for. */
  get keyed(): readonly BudgetNode[] {
    return this.keys.keyed;
  }

  async sortBy(sort: BudgetSort): Promise<void> {
    this.applySort(sort);
    await this.services.memento.update(sortKey, sort);
  }

  filterBy(filter: string): void {
    this.tree.filter = filter;
    this.setContext(contextKeys.filtered, this.tree.filter !== "");
    if (this.services.source.budget) this.show(this.services.source.budget);
  }

  /** Draws the message above the rows again: a price changed. */
  refreshMessage(): void {
    if (this.services.source.budget) this.drawMessage(this.services.source.budget);
  }

  dispose(): void {
    this.all.dispose();
  }

  private applySort(sort: BudgetSort): void {
    this.tree.sort = sort;
    this.setContext(contextKeys.sort, sort);
    this.view.description = sortNames[sort];
  }

  private show(budget: BudgetSnapshot): void {
    this.setContext(contextKeys.state, budget.state === "ready" && budget.totalFiles === 0 ? "empty" : budget.state);
    this.drawMessage(budget);
    if (budget.state === "counting") this.redraw.soon();
    else this.redraw.now();
  }

  private drawMessage(budget: BudgetSnapshot): void {
    const failed = budget.state === "failed";
    // A view with a message shows no welcome text, and that is what explains an empty tree and offers what to do.
    this.view.message = failed || budget.totalFiles === 0 ? undefined : viewMessage(budget, this.services.costLine(budget));
    this.view.description = failed ? budget.error?.message : sortNames[this.tree.sort];
  }

  private async setChecked(items: readonly [BudgetNode, vscode.TreeItemCheckboxState][]): Promise<void> {
    const pathsAt = (wanted: vscode.TreeItemCheckboxState): string[] =>
      items.flatMap(([node, state]) => (node.kind === "row" && state === wanted ? [node.row.path] : []));
    const takenIn = pathsAt(vscode.TreeItemCheckboxState.Checked);
    const leftOut = pathsAt(vscode.TreeItemCheckboxState.Unchecked);
    if (takenIn.length + leftOut.length > 0) await this.services.source.call("longContext/checkRows", { takenIn, leftOut });
  }

  private setContext(key: string, value: unknown): void {
    if (this.contexts.get(key) === value) return;
    this.contexts.set(key, value);
    void vscode.commands.executeCommand("setContext", key, value);
  }
}

function viewMessage(budget: BudgetSnapshot, cost: string | undefined): string {
  const { text } = meterText(budget);
  return cost === undefined ? text : `${text}\n${cost}`;
}

/** What was chosen last in this workspace; the heaviest first where nothing was. */
function storedSort(memento: vscode.Memento): BudgetSort {
  const stored = memento.get<unknown>(sortKey);
  return stored === "path" || stored === "changed" ? stored : "tokens";
}
