import * as vscode from "vscode";
import { EngineError } from "../../engine/errors.ts";
import { columnBeside } from "./reveal.ts";

/** Where the user worked last, which a panel in front of it does not change. */
interface Place {
  document: vscode.TextDocument;
  cursor: vscode.Position;
}

/** Inserts texts at the cursor of the editor that was worked in last. */
export class CursorInserter implements vscode.Disposable {
  private readonly isUntouched: (editor: vscode.TextEditor) => boolean;
  private readonly following: vscode.Disposable;
  private place: Place | undefined;

  /** `isUntouched` tells editors that were only opened to show something: the user has not worked in them. */
  constructor(isUntouched: (editor: vscode.TextEditor) => boolean) {
    this.isUntouched = isUntouched;
    const follow = (editor: vscode.TextEditor | undefined): void => {
      if (!editor || !isFile(editor.document) || isUntouched(editor)) return;
      this.place = { document: editor.document, cursor: editor.selection.active };
    };
    follow(vscode.window.activeTextEditor);
    this.following = vscode.Disposable.from(
      vscode.window.onDidChangeActiveTextEditor(follow),
      vscode.window.onDidChangeTextEditorSelection(({ textEditor }) => follow(textEditor)),
      vscode.workspace.onDidCloseTextDocument((document) => {
        if (this.place?.document === document) this.place = undefined;
      }),
    );
  }

  /**
   * Shows the editor and inserts the text at its cursor, as one step of undo; returns the path and the 1-based line. What is selected there
   * is not replaced. Throws `not-found` where no editor was worked in, and `bad-argument` where it is read-only.
   */
  async insert(text: string, panelColumn: vscode.ViewColumn | undefined): Promise<{ path: string; line: number }> {
    if (!this.place)
      throw new EngineError(
        "not-found",
        "there is no text editor to insert into",
        "click into the file where the text should go, then insert again",
      );
    const { document, cursor } = this.place;
    const path = vscode.workspace.asRelativePath(document.uri);
    const shown = vscode.window.visibleTextEditors.find((editor) => editor.document === document);
    const at = shown && !this.isUntouched(shown) ? shown.selection.active : document.validatePosition(cursor);
    const editor = await vscode.window.showTextDocument(document, {
      viewColumn: shown?.viewColumn ?? columnBeside(panelColumn),
      preview: false,
      selection: new vscode.Range(at, at),
    });
    const before = document.version;
    const accepted = await editor.edit((edit) => edit.insert(at, text));
    // A read-only editor says that it took the text, and leaves the document as it is.
    if (!accepted || document.version === before)
      throw new EngineError(
        "bad-argument",
        `the editor of ${path} is read-only`,
        "click into a file that can be written, then insert again, or copy the answer",
        { path },
      );
    return { path, line: at.line + 1 };
  }

  dispose(): void {
    this.following.dispose();
  }
}

/** Output, chat and commit boxes are text editors too. */
function isFile({ uri }: vscode.TextDocument): boolean {
  return uri.scheme === "untitled" || vscode.workspace.fs.isWritableFileSystem(uri.scheme) !== undefined;
}
