import type * as vscode from "vscode";

/**
 * The rows of a tree that a key is meant for: the one the keyboard is on, or all that were selected with it. VS Code tells extensions of
 * the selection but not of the focus, so each keybinding first runs `list.toggleSelection`: the row by which the selection changed is it.
 */
export class KeyedSelection<Node> implements vscode.Disposable {
  private readonly idOf: (node: Node) => string;
  private readonly listening: vscode.Disposable;
  private before: readonly Node[] = [];
  private now: readonly Node[] = [];

  /** `idOf` is the same for the same row, also after it was drawn anew. */
  constructor(view: vscode.TreeView<Node>, idOf: (node: Node) => string) {
    this.idOf = idOf;
    this.listening = view.onDidChangeSelection(({ selection }) => {
      this.before = this.now;
      this.now = selection;
    });
  }

  get keyed(): readonly Node[] {
    const before = new Set(this.before.map(this.idOf));
    const now = new Set(this.now.map(this.idOf));
    const taken = this.before.filter((node) => !now.has(this.idOf(node)));
    const added = this.now.filter((node) => !before.has(this.idOf(node)));
    const [toggled, ...others] = [...taken, ...added];
    if (!toggled || others.length > 0) return this.now;
    return taken.length > 0 && this.before.length > 1 ? this.before : [toggled];
  }

  dispose(): void {
    this.listening.dispose();
  }
}
