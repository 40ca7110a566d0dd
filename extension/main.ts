import type * as vscode from "vscode";
import { registerCommands } from "./commands.ts";
import { createServices, type Services } from "./services.ts";
import { createStatusBar } from "./statusBar.ts";

let services: Services | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const started = createServices(context);
  services = started;
  const { client, model, log } = started;
  const reconfigure = model.onDidChange(() => {
    client
      .configure(model.folder)
      .catch((error: unknown) => log.error(`the token server did not take the model: ${String(error)}`));
  });
  context.subscriptions.push(started, registerCommands(started), createStatusBar(client), reconfigure);
  void client.start();
}

export async function deactivate(): Promise<void> {
  await services?.client.stop();
}
