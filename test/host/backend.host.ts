import * as vscode from "vscode";
import { commandIds } from "../../extension/commandIds.ts";
import { settingIds } from "../../extension/settings.ts";
import { stateWhere } from "../support/extensionState.ts";

/** Opening a model twice on two busy cores without a GPU; how fast is not this test's subject. */
const slowMs = 150_000;

describe("the backend setting", function () {
  this.timeout(3 * slowMs);

  it("moves an open playground to another backend", async () => {
    const settings = vscode.workspace.getConfiguration();
    await settings.update(settingIds.backend, "ort", vscode.ConfigurationTarget.Global);
    try {
      await vscode.commands.executeCommand(commandIds.openPlayground);
      await stateWhere("WASM", ({ panel }) => panel?.engine === "ready" && panel.backend === "ort", slowMs);
      await settings.update(settingIds.backend, "wgsl", vscode.ConfigurationTarget.Global);
      await stateWhere("WebGPU", ({ panel }) => panel?.engine === "ready" && panel.backend === "wgsl", slowMs);
    } finally {
      await settings.update(settingIds.backend, undefined, vscode.ConfigurationTarget.Global);
      await vscode.commands.executeCommand("workbench.action.closeAllEditors");
    }
  });
});
