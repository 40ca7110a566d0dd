import * as vscode from "vscode";
import { EngineError, plainError } from "../../engine/errors.ts";
import type { VirtualDocuments } from "../budget/virtualDocuments.ts";
import { internalCommandIds } from "../commandIds.ts";
import { reportFailure } from "../log.ts";
import type { PlaygroundPanel } from "../panel/playgroundPanel.ts";
import { addModel } from "./addModel.ts";
import type { CurrentModel } from "./currentModel.ts";
import { Downloads } from "./downloads.ts";
import { readHub, setHubToken } from "./hubAccess.ts";
import { type KnownModel, KnownModels, type Repair } from "./knownModels.ts";
import type { ReadModel } from "./modelFacts.ts";
import { ModelList } from "./modelList.ts";
import { actionsOf, pickRow, rowItem } from "./modelPicks.ts";
import { modelLabel } from "./location.ts";
import { type ModelRow, rowDescription } from "./modelWords.ts";
import { ModelsView } from "./modelsView.ts";
import { preflightDocument, preflightOf } from "./preflightView.ts";
import { confirmRemoval } from "./removal.ts";

export interface ModelServices {
  model: CurrentModel;
  panel: PlaygroundPanel;
  documents: Pick<VirtualDocuments, "show">;
  secrets: vscode.SecretStorage;
  /** Folder of the extension's own for all workspaces. */
  storage: string;
  log: vscode.LogOutputChannel;
}

/** What the commands about models do; each takes the row it was run on, else the selected one, else asks. */
export class ModelFeatures implements vscode.Disposable {
  readonly list: ModelList;
  private readonly services: ModelServices;
  private readonly known: KnownModels;
  private readonly downloads: Downloads;
  private readonly view: ModelsView;
  private readonly all: vscode.Disposable;

  constructor(services: ModelServices) {
    this.services = services;
    const { model, panel, storage, log, secrets } = services;
    this.known = new KnownModels(storage, (repair) => this.tellRepair(repair));
    this.downloads = new Downloads(this.known, () => readHub(secrets));
    this.list = new ModelList({ known: this.known, model, downloads: this.downloads, panel });
    this.view = new ModelsView(this.list, (what, error) => log.error(`models: ${what}: ${plainError(error).message}`));
    this.all = vscode.Disposable.from(
      this.view,
      this.list,
      this.downloads,
      vscode.commands.registerCommand(internalCommandIds.modelActions, (row: ModelRow) => {
        this.offerActions(row).catch((error: unknown) => reportFailure(log, "the model", error));
      }),
    );
  }

  /** Adds a model and offers to use it; undefined where the user changed his mind. */
  async add(argument: unknown): Promise<KnownModel | undefined> {
    const added = await this.addOnly(argument);
    if (added === undefined) return undefined;
    const row = await this.list.rowOf(added.path);
    // Waiting for the message would hold the command until it is closed.
    if (row !== undefined)
      this.offerUse(row).catch((error: unknown) => reportFailure(this.services.log, "the added model", error));
    return added;
  }

  /** Lets the user pick one of the models, or add one; false where he did not. A path as argument is not asked for. */
  async choose(argument?: unknown): Promise<boolean> {
    const path = typeof argument === "string" ? argument : await this.pickOrAdd();
    if (path === undefined) return false;
    await this.services.model.use(path);
    return true;
  }

  async use(argument: unknown): Promise<boolean> {
    const row = await this.target(argument, ({ state }) => state.kind === "ready");
    if (row === undefined) return false;
    await this.services.model.use(this.usable(row));
    return true;
  }

  /** Shows what of a model fits this machine; resolves to the sentences. */
  async preflight(argument: unknown): Promise<string[]> {
    const row = await this.target(argument, ({ state }) => state.kind === "ready");
    if (row === undefined) return [];
    const { state } = row;
    if (state.kind === "ready") return this.showFits(row.label, state);
    throw unusable(row);
  }

  async resume(argument: unknown): Promise<boolean> {
    const row = await this.target(argument, ({ state }) => state.kind === "incomplete");
    if (row?.source === undefined) return false;
    await this.downloads.start({ path: row.path, source: row.source });
    return true;
  }

  async stop(argument: unknown): Promise<void> {
    const row = await this.target(argument, ({ state }) => state.kind === "downloading");
    if (row !== undefined) await this.downloads.stop(row.path);
  }

  async reveal(argument: unknown): Promise<void> {
    const row = await this.target(argument, () => true);
    if (row !== undefined) await revealInSystem(row.path);
  }

  async copyPath(argument: unknown): Promise<void> {
    const row = await this.target(argument, () => true);
    if (row !== undefined) await vscode.env.clipboard.writeText(row.path);
  }

  /** Forgets a model; deletes its files where they were downloaded. Asks first. */
  async remove(argument: unknown): Promise<boolean> {
    const row = await this.target(argument, ({ origin }) => origin !== "bundled");
    if (row === undefined) return false;
    if (row.origin === "bundled")
      throw new EngineError("bad-argument", `${row.label} belongs to the extension`, "choose another model to remove");
    if (!(await confirmRemoval(row))) return false;
    await this.downloads.stop(row.path);
    if (row.chosen) await this.services.model.use(this.services.model.defaultPath);
    await this.known.remove(row.path);
    this.list.refresh();
    return true;
  }

  setToken(argument: unknown): Promise<boolean> {
    return setHubToken(this.services.secrets, argument);
  }

  dispose(): void {
    this.all.dispose();
  }

  /** Adds a model; the view follows, also where its download stops half-way. */
  private async addOnly(argument: unknown): Promise<KnownModel | undefined> {
    const services = {
      known: this.known,
      downloads: this.downloads,
      hub: () => readHub(this.services.secrets),
      showFits: async (label: string, read: ReadModel) => {
        await this.showFits(label, read);
      },
    };
    try {
      return await addModel(services, argument);
    } finally {
      this.list.refresh();
    }
  }

  /** The path of a model that can be opened; throws why this one cannot. */
  private usable(row: ModelRow): string {
    if (row.state.kind === "ready") return row.path;
    throw unusable(row);
  }

  private async showFits(label: string, read: ReadModel): Promise<string[]> {
    const sentences = await preflightOf(read, this.services.panel);
    await this.services.documents.show(`What fits ${label.replaceAll("/", " ")}.md`, preflightDocument(label, sentences));
    return sentences.map(({ text }) => text);
  }

  /** The row of a menu, a path (for keybindings and tests), the row a key is meant for, the selected one, or what the user picks. */
  private async target(argument: unknown, fits: (row: ModelRow) => boolean): Promise<ModelRow | undefined> {
    if (typeof argument === "string") {
      const row = await this.list.rowOf(argument);
      if (row !== undefined) return row;
      throw new EngineError("not-found", `no model of the list lies at ${argument}`, 'add it with "Long Context: Add Model…"', {
        path: argument,
      });
    }
    const row = rowIn(argument);
    if (row !== undefined) return this.list.rowOf(row.path);
    if (isFocusArgument(argument)) return this.view.keyed && this.list.rowOf(this.view.keyed.path);
    return pickRow((await this.list.rows()).filter(fits), this.view.selection?.path);
  }

  private async offerUse(row: ModelRow): Promise<void> {
    const { state, label } = row;
    if (state.kind !== "ready") {
      const { message, remedy } = unusable(row);
      await vscode.window.showWarningMessage(`Long Context: ${label} is added, but ${message}. To do: ${remedy}.`);
      return;
    }
    const [use, fits] = ["Use It", "What Fits?"];
    const buttons = row.chosen ? [fits] : [use, fits];
    const answer = await vscode.window.showInformationMessage(`Long Context: ${label} is added.`, ...buttons);
    if (answer === use) await this.services.model.use(row.path);
    if (answer === fits) await this.showFits(label, state);
  }

  private async pickOrAdd(): Promise<string | undefined> {
    const items = (await this.list.rows()).map(rowItem);
    const add: vscode.QuickPickItem = {
      label: "$(add) Add Model…",
      detail: "a folder, a GGUF file or a Hugging Face repository",
    };
    const separator = { label: "", kind: vscode.QuickPickItemKind.Separator };
    const picked = await vscode.window.showQuickPick<vscode.QuickPickItem & { row?: ModelRow }>([...items, separator, add], {
      title: "Long Context: Choose Model",
      placeHolder: `In use: ${modelLabel(this.services.model.path)}`,
      matchOnDescription: true,
    });
    if (picked === add) return (await this.addOnly(undefined))?.path;
    return picked?.row && this.usable(picked.row);
  }

  private async offerActions(row: ModelRow): Promise<void> {
    const now = (await this.list.rowOf(row.path)) ?? row;
    const options = { title: `Long Context: ${now.label}`, placeHolder: rowDescription(now) };
    const picked = await vscode.window.showQuickPick(actionsOf(now), options);
    if (picked !== undefined && picked.command !== "") await vscode.commands.executeCommand(picked.command, now);
  }

  private tellRepair({ backup, kept }: Repair): void {
    this.services.log.error(`models: the list was damaged; it is kept as ${backup}, ${kept} models were saved`);
    const saved = kept === 1 ? "1 model was saved" : `${kept} models were saved`;
    void vscode.window.showErrorMessage(
      `Long Context: the list of models was damaged; ${saved}, and the old list is kept as ${backup}. To do: add folders and files that are missing again.`,
    );
  }
}

function unusable({ state, label, path }: ModelRow): EngineError {
  if ("problem" in state) return new EngineError("unsupported-model", state.problem.message, state.problem.remedy, { path });
  return new EngineError("weights-missing", `${label} is not downloaded yet`, 'run "Long Context: Resume Download"', { path });
}

/** Windows on another machine have no such command; there the path helps more than nothing. */
async function revealInSystem(path: string): Promise<void> {
  const reveal = "revealFileInOS";
  if ((await vscode.commands.getCommands()).includes(reveal)) {
    await vscode.commands.executeCommand(reveal, vscode.Uri.file(path));
    return;
  }
  await vscode.env.clipboard.writeText(path);
  void vscode.window.showInformationMessage(
    `Long Context: this window cannot open folders of its machine; the path is copied: ${path}`,
  );
}

/** The row itself, or the one a line of the view is about. */
function rowIn(value: unknown): ModelRow | undefined {
  if (isRow(value)) return value;
  return typeof value === "object" && value !== null && "row" in value && isRow(value.row) ? value.row : undefined;
}

function isRow(value: unknown): value is ModelRow {
  return typeof value === "object" && value !== null && "path" in value && "origin" in value && typeof value.path === "string";
}

/** What the keybindings of the view give: the row is the one the keyboard is on. */
function isFocusArgument(value: unknown): boolean {
  return typeof value === "object" && value !== null && "focus" in value && value.focus === true;
}
