import assert from "node:assert/strict";
import * as vscode from "vscode";
import { commandIds } from "../../extension/commandIds.ts";
import { extensionId } from "../support/extensionState.ts";

describe("activation", () => {
  it("activates in the host that has the files", async () => {
    const extension = vscode.extensions.getExtension(extensionId);
    assert.ok(extension);
    assert.equal(extension.extensionKind, vscode.ExtensionKind.Workspace);
    await extension.activate();
    assert.ok(extension.isActive);
  });

  it("registers every command", async () => {
    const registered = await vscode.commands.getCommands(true);
    const missing = Object.values(commandIds).filter((id) => !registered.includes(id));
    assert.deepEqual(missing, []);
  });
});
