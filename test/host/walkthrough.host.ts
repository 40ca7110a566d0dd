import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import { commandIds } from "../../extension/commandIds.ts";
import type { AskedExample } from "../../extension/walkthrough/steps.ts";
import { extensionId, stateWhere, workspaceFolder } from "../support/extensionState.ts";
import { until } from "../support/until.ts";

/** Loading and answering on two busy cores without a GPU; how fast is not this test's subject. */
const slowMs = 150_000;

interface Walkthrough {
  title: string;
  steps: { id: string; description: string }[];
}

describe("the walkthrough", function () {
  this.timeout(2 * slowMs);

  after(async () => {
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  });

  it("is there with its steps, and every command they link exists", async () => {
    await stateWhere("the counts", ({ budget }) => budget?.state === "ready");
    const [walkthrough] = contributed();
    assert.deepEqual(
      walkthrough?.steps.map(({ id }) => id),
      ["count", "fit", "ask", "citation", "inspect", "chat", "model"],
    );
    const known = new Set(await vscode.commands.getCommands(true));
    const links = walkthrough.steps.flatMap(({ description }) => [...description.matchAll(/\(command:([\w.]+)\)/g)]);
    assert.ok(links.length >= 7);
    for (const [, command = ""] of links) assert.ok(known.has(command), command);
  });

  // Which walkthrough the page shows is seen in its window only: test/e2e/walkthrough.e2e.ts.
  it("opens a tab by its command, and none by itself", async () => {
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
    await until("no tab", 30_000, async () => labels().length === 0 || undefined);
    await vscode.commands.executeCommand(commandIds.openWalkthrough);
    await until("a tab", 30_000, async () => labels()[0]);
    assert.equal(labels().length, 1);
  });

  it("asks an example about a symbol of the workspace, which is answered with the line that defines it", async () => {
    await stateWhere("the counts", ({ budget }) => budget?.state === "ready");
    const asked = await vscode.commands.executeCommand<AskedExample>(commandIds.askExample);
    const { expected } = asked;
    assert.ok(expected && asked.accepted);
    const line = readFileSync(join(workspaceFolder(), expected.path), "utf8").split("\n")[expected.line - 1] ?? "";
    assert.match(line, new RegExp(`\\b${expected.name}\\b`));
    const { lastRun } = await stateWhere("the answer", (state) => state.lastRun?.question === asked.question, slowMs);
    assert.equal(lastRun?.answer.trim(), line.trim());
    const [citation] = lastRun.citations;
    assert.deepEqual([citation?.path, citation?.startLine, citation?.verified], [expected.path, expected.line, true]);
  });
});

function contributed(): Walkthrough[] {
  const { contributes } = vscode.extensions.getExtension(extensionId)?.packageJSON as {
    contributes: { walkthroughs: Walkthrough[] };
  };
  return contributes.walkthroughs;
}

function labels(): string[] {
  return vscode.window.tabGroups.all.flatMap((group) => group.tabs).map(({ label }) => label);
}
