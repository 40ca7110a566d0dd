import * as vscode from "vscode";
import { plainError } from "../../engine/errors.ts";
import type { CitedLines, HostCalls } from "../../webview/protocol/panel.ts";
import { isGitPath, uriOfPath } from "../budget/places.ts";
import { currentRoots } from "../corpus/currentRoots.ts";
import { workspaceFile } from "../corpus/snapshotFile.ts";

/** Opens cited lines in the editor and marks them until the text changes or other lines are revealed. */
export class CitationRevealer implements vscode.Disposable {
  private readonly mark: vscode.TextEditorDecorationType;
  private readonly editing: vscode.Disposable;
  private readonly marked = new Map<vscode.TextDocument, readonly vscode.Range[]>();
  private revealing: vscode.TextDocument | undefined;

  constructor() {
    this.mark = vscode.window.createTextEditorDecorationType({
      isWholeLine: true,
      backgroundColor: new vscode.ThemeColor("editor.findMatchHighlightBackground"),
      overviewRulerColor: new vscode.ThemeColor("editorOverviewRuler.findMatchForeground"),
      overviewRulerLane: vscode.OverviewRulerLane.Full,
    });
    this.editing = vscode.Disposable.from(
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length > 0 && this.marked.delete(document)) this.paint();
      }),
      vscode.window.onDidChangeVisibleTextEditors(() => this.paint()),
    );
  }

  /** Lines are 1-based and clamped to the document; returns the line that is shown. Throws `not-found` outside the workspace. */
  async reveal(path: string, startLine: number, endLine: number, panelColumn: vscode.ViewColumn | undefined): Promise<number> {
    const document = await vscode.workspace.openTextDocument(await documentUri(path));
    this.marked.clear();
    return this.show(document, [{ startLine, endLine }], { viewColumn: columnBeside(panelColumn), preview: true });
  }

  /** Each file in a tab of its own that stays, with all its cited lines selected; the first file ends in front. */
  async revealAll(
    files: HostCalls["citation/revealAll"]["params"]["files"],
    panelColumn: vscode.ViewColumn | undefined,
  ): Promise<HostCalls["citation/revealAll"]["result"]> {
    const opened: string[] = [];
    const failed: { path: string; message: string }[] = [];
    this.marked.clear();
    // Those shown later lie in front.
    for (const { path, lines } of [...files].reverse()) {
      try {
        const document = await vscode.workspace.openTextDocument(await documentUri(path));
        // The first one may open a new column, which the others go to.
        await this.show(document, lines, { viewColumn: columnBeside(panelColumn), preview: false });
        opened.unshift(path);
      } catch (error) {
        failed.unshift({ path, message: plainError(error).message });
      }
    }
    return { opened, failed };
  }

  /** Whether an editor shows cited lines as they were revealed: nobody has worked in it since. */
  isUntouched({ document, selection }: vscode.TextEditor): boolean {
    if (document === this.revealing) return true;
    return this.marked.get(document)?.some((range) => range.isEqual(selection)) ?? false;
  }

  dispose(): void {
    this.marked.clear();
    this.paint();
    this.editing.dispose();
    this.mark.dispose();
  }

  private async show(
    document: vscode.TextDocument,
    lines: readonly CitedLines[],
    options: vscode.TextDocumentShowOptions,
  ): Promise<number> {
    const ranges = lines.map((cited) => rangeOf(document, cited));
    const [first = new vscode.Range(0, 0, 0, 0)] = ranges;
    // Whoever hears of the editor before its lines are selected asks whether it is only revealed.
    this.revealing = document;
    this.marked.set(document, ranges);
    const editor = await Promise.resolve(vscode.window.showTextDocument(document, { ...options, selection: first })).finally(
      () => {
        this.revealing = undefined;
      },
    );
    if (ranges.length > 1) editor.selections = ranges.map(({ start, end }) => new vscode.Selection(start, end));
    editor.revealRange(first, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    this.paint();
    return first.start.line + 1;
  }

  private paint(): void {
    for (const editor of vscode.window.visibleTextEditors)
      editor.setDecorations(this.mark, this.marked.get(editor.document) ?? []);
  }
}

/** A column that already shows text, else a new one: an answer and its source are read side by side. */
export function columnBeside(panelColumn: vscode.ViewColumn | undefined): vscode.ViewColumn {
  const columns = vscode.window.visibleTextEditors.map(({ viewColumn }) => viewColumn);
  return columns.find((column) => column !== undefined && column !== panelColumn) ?? vscode.ViewColumn.Beside;
}

function rangeOf(document: vscode.TextDocument, { startLine, endLine }: CitedLines): vscode.Range {
  const start = Math.min(Math.max(startLine, 1), document.lineCount) - 1;
  const end = Math.min(Math.max(endLine, startLine), document.lineCount) - 1;
  return new vscode.Range(start, 0, end, document.lineAt(end).text.length);
}

/** The document of a path; a file must lie in the workspace, also behind links. */
async function documentUri(path: string): Promise<vscode.Uri> {
  const virtual = path.startsWith("untitled:") || isGitPath(path) ? uriOfPath(path) : undefined;
  return virtual ?? vscode.Uri.file(await workspaceFile(currentRoots(), path));
}
