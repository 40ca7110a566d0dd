import assert from "node:assert/strict";
import * as vscode from "vscode";
import { CitationRevealer } from "../../extension/citations/reveal.ts";

describe("revealing a citation", () => {
  it("opens the file beside the panel and selects the cited lines", async () => {
    const revealer = new CitationRevealer();
    try {
      assert.equal(await revealer.reveal("src/net/backoff.ts", 4, 5, vscode.ViewColumn.One), 4);
      const editor = vscode.window.activeTextEditor;
      assert.ok(editor);
      assert.ok(editor.document.uri.path.endsWith("/src/net/backoff.ts"));
      assert.equal(editor.selection.start.line, 3);
      assert.equal(editor.document.getText(editor.selection).split("\n")[1], "export const retryCeiling = 45731;");
    } finally {
      revealer.dispose();
    }
  });

  it("stays within the document and within the workspace", async () => {
    const revealer = new CitationRevealer();
    try {
      const last = await revealer.reveal("src/net/backoff.ts", 900, 901, undefined);
      assert.equal(last, vscode.window.activeTextEditor?.document.lineCount);
      await assert.rejects(revealer.reveal("../outside.ts", 1, 1, undefined), { code: "not-found" });
    } finally {
      revealer.dispose();
    }
  });
});
