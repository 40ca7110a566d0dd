import * as vscode from "vscode";
import { EngineError } from "../engine/errors.ts";
import { copyPack, exportPack } from "./budget/exportFlow.ts";
import { openContextSet, saveContextSet } from "./budget/contextSets.ts";
import { fitToWindow, undoLevels } from "./budget/fit.ts";
import { resetLevels, setLevel, showWhy, toggleIncluded } from "./budget/levels.ts";
import { speakBudget } from "./budget/speak.ts";
import { targetPaths } from "./budget/targets.ts";
import type { Level, LevelMap } from "../engine/pack/levels.ts";
import type { AskResult } from "../engine/generate/api.ts";
import type { PanelState, SavedRun } from "../webview/protocol/panel.ts";
import { participantName } from "./chat/names.ts";
import { commandIds } from "./commandIds.ts";
import { bytesText } from "./hub/words.ts";
import { reportFailure } from "./log.ts";
import { pageSize } from "./budget/tree.ts";
import type { PrefixFolder } from "./prefixes/prefixFolder.ts";
import type { BudgetChildren, BudgetRow, BudgetSort, Finding, SymbolTokens } from "./server/requests.ts";
import type { Services } from "./services.ts";
import { askExample, inspectAttention, openWalkthrough } from "./walkthrough/steps.ts";

type Run = (argument: unknown, selected: unknown) => unknown;

/** What `showRow` returns. */
export interface ServedRow {
  row: BudgetRow | undefined;
  children: BudgetChildren;
  why: string[];
  levels: LevelMap;
  findings: Finding[];
  symbols: SymbolTokens[];
}

/**
 * What each command does; the id of a row is `commandIds[row]`. The arguments are the row and the selected rows where a menu runs it,
 * else they are for keybindings and tests.
 */
function commandTable(services: Services): Record<keyof typeof commandIds, Run> {
  const { panel, client, log } = services;
  return {
    ...budgetCommands(services),
    ...modelCommands(services),
    openPlayground: () => panel.open(),
    askQuestion: async (argument) => {
      const question = typeof argument === "string" ? argument : await inputQuestion();
      if (!question) return undefined;
      panel.open();
      return panel.call("panel/ask", { question });
    },
    askExample: () => askExample(client, panel),
    inspectAttention: () => inspectAttention(panel),
    openWalkthrough: () => openWalkthrough(services.extensionId),
    // In ask mode: in agent mode VS Code offers only models that call tools, and without any it refuses to ask a participant.
    askInChat: () =>
      vscode.commands.executeCommand("workbench.action.chat.open", {
        mode: "ask",
        query: `@${participantName} `,
        isPartialQuery: true,
      }),
    nextCitation: () => panel.call("panel/citation", { step: 1 }),
    previousCitation: () => panel.call("panel/citation", { step: -1 }),
    clearPrefixCache: () => clearPrefixCache(services.prefixes),
    recount: () => client.configure(services.serverOptions()),
    showLog: () => log.show(),
    loseDevice: () => panel.call("panel/loseDevice", {}),
    showState: async () => {
      const [lastRun] = await services.runs.list();
      const state = { budget: client.budget, panel: await panelState(services), lastRun: lastRun && answerOf(lastRun) };
      log.info(`state: ${JSON.stringify(state)}`);
      return state;
    },
    showRow: (path, ask) => rowAsServed(services, path, ask),
  };
}

function modelCommands({ models, log }: Services) {
  return {
    chooseModel: (argument) => models.choose(argument),
    addModel: (argument) => models.add(argument),
    useModel: (argument) => models.use(argument),
    preflightModel: (argument) => models.preflight(argument),
    resumeDownload: (argument) => models.resume(argument),
    stopDownload: (argument) => models.stop(argument),
    revealModel: (argument) => models.reveal(argument),
    copyModelPath: (argument) => models.copyPath(argument),
    removeModel: (argument) => models.remove(argument),
    refreshModels: () => models.list.refresh(),
    setHubToken: (argument) => models.setToken(argument),
    showModels: async () => {
      const rows = await models.list.rows();
      log.info(`models: ${JSON.stringify(rows)}`);
      return rows;
    },
  } satisfies Partial<Record<keyof typeof commandIds, Run>>;
}

function budgetCommands({ client, budget }: Services) {
  const targets = (argument: unknown, selected: unknown) => targetPaths(argument, selected, budget.view);
  const at =
    (level: Level): Run =>
    async (argument, selected) =>
      setLevel(client, await targets(argument, selected), level);
  return {
    fit: (argument) => fitToWindow(budget, argument),
    undoLevels: () => undoLevels(client),
    include: at("full"),
    outlineOnly: at("outline"),
    nameOnly: at("name"),
    exclude: at("excluded"),
    toggleIncluded: async (argument, selected) => toggleIncluded(client, await targets(argument, selected)),
    resetLevel: async (argument, selected) => resetLevels(client, await targets(argument, selected)),
    why: async (argument, selected) => {
      const [path] = await targets(argument, selected);
      return path === undefined ? undefined : showWhy(client, path);
    },
    filterBudget: async (argument) => {
      const filter = typeof argument === "string" ? argument : await inputFilter(budget.view.tree.filter);
      if (filter !== undefined) budget.view.filterBy(filter);
    },
    clearFilter: () => budget.view.filterBy(""),
    sortByTokens: () => budget.view.sortBy("tokens"),
    sortByPath: () => budget.view.sortBy("path"),
    sortByChange: () => budget.view.sortBy("changed"),
    copyPack: (argument) => copyPack(budget, argument),
    exportPack: (argument) => exportPack(budget, argument),
    saveContextSet: (argument) => saveContextSet(client, argument),
    openContextSet: (argument) => openContextSet(client, argument),
    speakBudget: () => speakBudget(client, budget.view),
  } satisfies Partial<Record<keyof typeof commandIds, Run>>;
}

/** Registers every row; an error is logged and shown with its remedy, once. */
export function registerCommands(services: Services): vscode.Disposable {
  const rows = Object.entries(commandTable(services));
  return vscode.Disposable.from(
    ...rows.map(([name, run]) =>
      vscode.commands.registerCommand(
        commandIds[name as keyof typeof commandIds],
        async (argument: unknown, selected: unknown) => {
          try {
            return await run(argument, selected);
          } catch (error) {
            reportFailure(services.log, name, error);
            return undefined;
          }
        },
      ),
    ),
  );
}

/** Deletes what was kept of all models; prompts in an open playground stay in its memory. */
async function clearPrefixCache(prefixes: PrefixFolder): Promise<{ freedBytes: number }> {
  const { freedBytes } = await prefixes.clear();
  const what =
    freedBytes === 0 ? "Nothing was kept in the prefix cache." : `${bytesText(freedBytes)} of kept prefixes were deleted.`;
  void vscode.window.showInformationMessage(`Long Context: ${what}`);
  return { freedBytes };
}

/** Of a run what was answered: the whole of it would fill the log. */
function answerOf({ result: { question, answer, citations } }: SavedRun): Pick<AskResult, "question" | "answer" | "citations"> {
  return { question, answer, citations };
}

/** Debug: all that the server says about one path ("" is the workspace). */
async function rowAsServed({ client, log }: Services, argument: unknown, ask: unknown): Promise<ServedRow> {
  const path = typeof argument === "string" ? argument : "";
  const isFile = path !== "" && !path.endsWith("/") && !path.startsWith("git:");
  const { filter, sort } = isChildrenAsk(ask) ? ask : { filter: undefined, sort: "path" as const };
  const limits = { limit: pageSize, leftOutLimit: pageSize };
  const [{ row }, { sentences }, { levels }, { findings }, children, symbols] = await Promise.all([
    client.call("longContext/row", { path }),
    client.call("longContext/why", { path }),
    client.call("longContext/levels", {}),
    client.call("longContext/findings", {}),
    client.call("longContext/children", { path, sort, ...limits, ...(filter ? { filter } : {}) }),
    isFile ? client.call("longContext/symbols", { path }) : { symbols: [] },
  ]);
  const served = { row, children, why: sentences, levels, findings, symbols: symbols.symbols };
  log.info(`row: ${JSON.stringify(served)}`);
  return served;
}

function isChildrenAsk(value: unknown): value is { filter?: string; sort: BudgetSort } {
  return typeof value === "object" && value !== null && "sort" in value;
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

function inputFilter(current: string): Thenable<string | undefined> {
  return vscode.window.showInputBox({
    title: "Long Context: Filter the Budget",
    prompt: "Part of a path, or a glob such as src/**/*.ts; empty shows everything",
    value: current,
  });
}
