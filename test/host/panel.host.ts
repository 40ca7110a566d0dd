import assert from "node:assert/strict";
import * as vscode from "vscode";
import { commandIds } from "../../extension/commandIds.ts";
import { settingIds } from "../../extension/settings.ts";
import { stateWhere } from "../support/extensionState.ts";

/** Loading and answering on two busy cores without a GPU; how fast is not this test's subject. */
const slowMs = 150_000;

describe("the playground", function () {
  this.timeout(2 * slowMs);
  /** Other tests of this host have asked too. */
  let runsBefore = 0;

  it("opens once and makes its engine ready", async () => {
    await vscode.commands.executeCommand(commandIds.openPlayground);
    await vscode.commands.executeCommand(commandIds.openPlayground);
    const { panel } = await engineReady();
    assert.equal(playgroundTabs().length, 1);
    assert.equal(panel?.run, "idle");
    runsBefore = panel.runs;
  });

  it("keeps a finished run when it is closed and opened again", async () => {
    const accepted = await vscode.commands.executeCommand(commandIds.askQuestion, "Where is retryCeiling defined?");
    assert.deepEqual(accepted, { accepted: true });
    await stateWhere("a finished run", ({ panel }) => panel?.run === "idle" && panel.runs === runsBefore + 1, slowMs);
    await vscode.window.tabGroups.close(playgroundTabs());
    await stateWhere("no panel", ({ panel }) => panel === undefined);
    await vscode.commands.executeCommand(commandIds.openPlayground);
    const { panel } = await engineReady();
    assert.deepEqual({ run: panel?.run, runs: panel?.runs }, { run: "idle", runs: runsBefore + 1 });
  });

  it("says that a model path is wrong, and recovers when it is corrected", async () => {
    const settings = vscode.workspace.getConfiguration();
    await settings.update(settingIds.modelPath, "/no/such/model", vscode.ConfigurationTarget.Global);
    try {
      const { budget } = await stateWhere(
        "two failures",
        (state) => state.budget?.state === "failed" && state.panel?.engine === "failed",
        slowMs,
      );
      assert.match(budget?.error?.message ?? "", /\/no\/such\/model/);
      assert.notEqual(budget?.error?.remedy ?? "", "");
    } finally {
      await settings.update(settingIds.modelPath, undefined, vscode.ConfigurationTarget.Global);
    }
    await engineReady();
    await stateWhere("the count", ({ budget }) => budget?.state === "ready");
  });

  after(async () => {
    await vscode.window.tabGroups.close(playgroundTabs());
  });
});

function engineReady(): ReturnType<typeof stateWhere> {
  return stateWhere("the engine", ({ panel }) => panel?.engine === "ready", slowMs);
}

function playgroundTabs(): vscode.Tab[] {
  return vscode.window.tabGroups.all
    .flatMap((group) => group.tabs)
    .filter((tab) => tab.input instanceof vscode.TabInputWebview && tab.input.viewType.endsWith("longContext.playground"));
}
