import type * as vscode from "vscode";
import { onServerOptionsChange } from "./budget/serverOptions.ts";
import { registerCommands } from "./commands.ts";
import { reportFailure } from "./log.ts";
import { createServices, type Services } from "./services.ts";
import { createStatusBar } from "./statusBar.ts";
import { markDone } from "./walkthrough/steps.ts";

let services: Services | undefined;

/** What other extensions, and the tests inside the host, get of this one: VS Code itself has no call that asks a participant. */
export interface ExtensionApi {
  /** Answers a chat request as `@longcontext` does. */
  readonly answerChat: Services["chat"]["participant"]["handle"];
}

export function activate(context: vscode.ExtensionContext): ExtensionApi {
  const started = createServices(context);
  services = started;
  const { client, model } = started;
  const reconfigure = (): void => {
    configure(started).catch((error: unknown) => reportFailure(started.log, "the settings", error));
  };
  context.subscriptions.push(
    started,
    registerCommands(started),
    createStatusBar(client),
    model.onDidChange(reconfigure),
    model.onDidLearn(reconfigure),
    onServerOptionsChange(reconfigure),
  );
  void client.start();
  markDone("started");
  return { answerChat: started.chat.participant.handle };
}

export async function deactivate(): Promise<void> {
  await services?.client.stop();
}

/** A failed count is shown as the state of the counts; what is thrown here is a setting without sense. */
async function configure(started: Services): Promise<void> {
  await started.client.configure(started.serverOptions());
}
