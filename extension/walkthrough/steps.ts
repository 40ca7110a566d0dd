import * as vscode from "vscode";
import type { TokenClient } from "../client.ts";
import type { PlaygroundPanel } from "../panel/playgroundPanel.ts";
import type { ExampleQuestion } from "../server/requests.ts";
import { walkthroughId, walkthroughKeys } from "./names.ts";

/** Tells VS Code that a step's work was done; a step that was is never undone. */
export function markDone(step: keyof typeof walkthroughKeys): void {
  void vscode.commands.executeCommand("setContext", walkthroughKeys[step], true);
}

export function openWalkthrough(extensionId: string): Thenable<unknown> {
  return vscode.commands.executeCommand("workbench.action.openWalkthrough", `${extensionId}#${walkthroughId}`, false);
}

/** Asked where no file of the workspace defines a name that another one uses. */
const plainExample = "Where is `main` defined?";

export interface AskedExample {
  question: string;
  accepted: boolean;
  /** Where the answer stands; undefined for the plain example. */
  expected: ExampleQuestion | undefined;
}

/** Opens the playground and asks it something that the open workspace answers. Throws why counting failed. */
export async function askExample(client: TokenClient, panel: PlaygroundPanel): Promise<AskedExample> {
  const { example } = await client.call("longContext/example", {});
  const question = example?.question ?? plainExample;
  panel.open();
  const { accepted } = await panel.call("panel/ask", { question });
  return { question, accepted, expected: example };
}

/** Opens the playground where the attention of the last answer is shown. */
export async function inspectAttention(panel: PlaygroundPanel): Promise<void> {
  panel.open();
  await panel.call("panel/select", { tab: "inspect" });
}
