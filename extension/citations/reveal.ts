import * as vscode from "vscode";
import { isGitPath, uriOfPath } from "../budget/places.ts";
import { currentRoots } from "../corpus/currentRoots.ts";
import { workspaceFile } from "../corpus/snapshotFile.ts";

/** Opens cited lines in the editor and marks them until the text changes or other lines are revealed. */
export class CitationRevealer implements vscode.Disposable {
  private readonly mark: vscode.TextEditorDecorationType;
  private readonly editing: vscode.Disposable;
  private marked: { document: vscode.TextDocument; range: vscode.Range } | undefined;

  constructor() {
    this.mark = vscode.window.createTextEditorDecorationType({
      isWholeLine: true,
      backgroundColor: new vscode.ThemeColor("editor.findMatchHighlightBackground"),
      overviewRulerColor: new vscode.ThemeColor("editorOverviewRuler.findMatchForeground"),
      overviewRulerLane: vscode.OverviewRulerLane.Full,
    });
    this.editing = vscode.Disposable.from(
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (document === this.marked?.document && contentChanges.length > 0) this.clear();
      }),
      vscode.window.onDidChangeVisibleTextEditors(() => this.paint()),
    );
  }

  /** Lines are 1-based and clamped to the document; returns the line that is shown. Throws `not-found` outside the workspace. */
  async reveal(path: string, startLine: number, endLine: number, panelColumn: vscode.ViewColumn | undefined): Promise<number> {
    const document = await vscode.workspace.openTextDocument(await documentUri(path));
    const start = Math.min(Math.max(startLine, 1), document.lineCount) - 1;
    const end = Math.min(Math.max(endLine, startLine), document.lineCount) - 1;
    const range = new vscode.Range(start, 0, end, document.lineAt(end).text.length);
    const editor = await vscode.window.showTextDocument(document, {
      viewColumn: columnBeside(panelColumn),
      preview: true,
      selection: range,
    });
    editor.revealRange(range, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    this.clear();
    this.marked = { document, range };
    this.paint();
    return start + 1;
  }

  dispose(): void {
    this.clear();
    this.editing.dispose();
    this.mark.dispose();
  }

  private clear(): void {
    this.marked = undefined;
    this.paint();
  }

  private paint(): void {
    for (const editor of vscode.window.visibleTextEditors) {
      editor.setDecorations(this.mark, editor.document === this.marked?.document ? [this.marked.range] : []);
    }
  }
}

/** The document of a path; a file must lie in the workspace, also behind links. */
async function documentUri(path: string): Promise<vscode.Uri> {
  const virtual = path.startsWith("untitled:") || isGitPath(path) ? uriOfPath(path) : undefined;
  return virtual ?? vscode.Uri.file(await workspaceFile(currentRoots(), path));
}

/** A column that already shows text, else a new one: an answer and its source are read side by side. */
function columnBeside(panelColumn: vscode.ViewColumn | undefined): vscode.ViewColumn {
  const columns = vscode.window.visibleTextEditors.map(({ viewColumn }) => viewColumn);
  return columns.find((column) => column !== undefined && column !== panelColumn) ?? vscode.ViewColumn.Beside;
}
