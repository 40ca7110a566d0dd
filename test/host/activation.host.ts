import assert from "node:assert/strict";
import * as vscode from "vscode";
describe("trivial", () => {
  it("has a workspace", () => assert.ok(vscode.workspace.workspaceFolders));
});
