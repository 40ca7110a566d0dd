import * as vscode from "vscode";
import type { PlaygroundPanel } from "../panel/playgroundPanel.ts";
import type { CurrentModel } from "./currentModel.ts";
import type { Downloads } from "./downloads.ts";
import type { KnownModel, KnownModels } from "./knownModels.ts";
import { modelLabel } from "./location.ts";
import { ModelReader } from "./modelFacts.ts";
import type { ModelRow } from "./modelWords.ts";

/** Every model there is, with what is known of it now: the list, the disk, downloads and the open playground put together. */
export class ModelList implements vscode.Disposable {
  private readonly known: KnownModels;
  private readonly model: CurrentModel;
  private readonly downloads: Downloads;
  private readonly panel: Pick<PlaygroundPanel, "engine">;
  private readonly reader: ModelReader;
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly listening: vscode.Disposable;
  /** Fires when rows may read otherwise. */
  readonly onDidChange = this.changed.event;

  constructor(parts: {
    known: KnownModels;
    model: CurrentModel;
    downloads: Downloads;
    panel: Pick<PlaygroundPanel, "engine" | "onDidChangeEngine">;
  }) {
    const { known, model, downloads, panel } = parts;
    this.known = known;
    this.model = model;
    this.downloads = downloads;
    this.panel = panel;
    this.reader = new ModelReader((source) => known.folderOf(source));
    const fire = (): void => this.changed.fire();
    this.listening = vscode.Disposable.from(
      model.onDidChange(fire),
      downloads.onDidChange(fire),
      panel.onDidChangeEngine(fire),
      watchFile(known.list, fire),
    );
  }

  /** The bundled models first, then the others as they were added; the chosen one also where it is not on the list. */
  async rows(): Promise<ModelRow[]> {
    const known = await this.known.all();
    const bundled = this.model.bundledPaths.map((path): KnownModel => ({ path, source: { kind: "disk" } }));
    const all = [...bundled, ...known.filter(({ path }) => !this.model.isBundled(path))];
    const { path: chosen } = this.model;
    if (!all.some(({ path }) => path === chosen)) all.push({ path: chosen, source: { kind: "disk" } });
    return Promise.all(all.map((model) => this.row(model)));
  }

  async rowOf(path: string): Promise<ModelRow | undefined> {
    return (await this.rows()).find((row) => row.path === path);
  }

  /** Something was added or removed by this window; others find out by their watcher. */
  refresh(): void {
    this.changed.fire();
  }

  dispose(): void {
    this.listening.dispose();
    this.changed.dispose();
  }

  private async row(model: KnownModel): Promise<ModelRow> {
    const { path, source } = model;
    const chosen = path === this.model.path;
    const { engine } = this.panel;
    return {
      path,
      label: modelLabel(path),
      origin: this.model.isBundled(path) ? "bundled" : source.kind,
      source: source.kind === "hub" ? source : undefined,
      state: this.downloads.isRunning(path)
        ? { kind: "downloading", progress: this.downloads.progressOf(path) }
        : await this.reader.stateOf(model),
      chosen,
      engine: chosen && engine?.modelPath === path ? engine.report : undefined,
    };
  }
}

/** Other windows write the same list. */
function watchFile(file: string, changed: () => void): vscode.Disposable {
  const uri = vscode.Uri.file(file);
  const pattern = new vscode.RelativePattern(vscode.Uri.joinPath(uri, ".."), uri.path.split("/").at(-1) ?? "");
  const watcher = vscode.workspace.createFileSystemWatcher(pattern);
  return vscode.Disposable.from(
    watcher,
    watcher.onDidChange(changed),
    watcher.onDidCreate(changed),
    watcher.onDidDelete(changed),
  );
}
