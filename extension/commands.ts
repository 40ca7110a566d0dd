import * as vscode from "vscode";
import { EngineError, plainError } from "../engine/errors.ts";
import type { PanelState } from "../webview/protocol/panel.ts";
import { commandIds } from "./commandIds.ts";
import type { Services } from "./services.ts";

/** What each command does; the id of a row is `commandIds[row]`. The optional argument is for keybindings and tests. */
function commandTable(services: Services): Record<keyof typeof commandIds, (argument: unknown) => unknown> {
  const { panel, model, client, log } = services;
  return {
    openPlayground: () => panel.open(),
    askQuestion: async (argument) => {
      const question = typeof argument === "string" ? argument : await inputQuestion();
      if (!question) return undefined;
      panel.open();
      return panel.call("panel/ask", { question });
    },
    chooseModel: () => model.choose(),
    recount: () => client.configure(model.folder),
    showLog: () => log.show(),
    loseDevice: () => panel.call("panel/loseDevice", {}),
    showState: async () => {
      const state = { budget: client.budget, panel: await panelState(services) };
      log.info(`state: ${JSON.stringify(state)}`);
      return state;
    },
  };
}

/** Registers every row; an error is logged and shown with its remedy, once. */
export function registerCommands(services: Services): vscode.Disposable {
  const rows = Object.entries(commandTable(services));
  return vscode.Disposable.from(
    ...rows.map(([name, run]) =>
      vscode.commands.registerCommand(commandIds[name as keyof typeof commandIds], async (argument: unknown) => {
        try {
          return await run(argument);
        } catch (error) {
          const { code, message, remedy } = plainError(error);
          services.log.error(`${name}: ${code}: ${message}`);
          void vscode.window.showErrorMessage(`Long Context: ${message}. To do: ${remedy}.`);
          return undefined;
        }
      }),
    ),
  );
}

/** Undefined where no playground is open, or where it was closed or loaded again while it was asked. */
async function panelState({ panel }: Services): Promise<PanelState | undefined> {
  if (!panel.isOpen) return undefined;
  try {
    return await panel.call("panel/state", {});
  } catch (error) {
    if (EngineError.is(error, "aborted")) return undefined;
    throw error;
  }
}

function inputQuestion(): Thenable<string | undefined> {
  return vscode.window.showInputBox({
    title: "Long Context: Ask the Workspace",
    prompt: "The bundled model answers where something is defined, its value, what it returns, who imports it.",
    placeHolder: "Where is … defined?",
  });
}
