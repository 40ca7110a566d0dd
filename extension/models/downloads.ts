import * as vscode from "vscode";
import { EngineError } from "../../engine/errors.ts";
import { type DownloadProgress, downloadModel } from "../hub/downloadModel.ts";
import type { Hub } from "../hub/hub.ts";
import type { HubSource, KnownModel, KnownModels } from "./knownModels.ts";
import { modelLabel } from "./location.ts";
import { progressText } from "./modelWords.ts";

interface Running {
  readonly stop: AbortController;
  readonly done: Promise<void>;
  progress: DownloadProgress | undefined;
}

/** Downloads of this window; each is shown as a notification that can stop it. */
export class Downloads implements vscode.Disposable {
  private readonly known: KnownModels;
  private readonly hub: () => Promise<Hub>;
  private readonly running = new Map<string, Running>();
  private readonly changed = new vscode.EventEmitter<void>();
  /** Fires when one begins, ends, or has come further. */
  readonly onDidChange = this.changed.event;

  constructor(known: KnownModels, hub: () => Promise<Hub>) {
    this.known = known;
    this.hub = hub;
  }

  isRunning(path: string): boolean {
    return this.running.has(path);
  }

  progressOf(path: string): DownloadProgress | undefined {
    return this.running.get(path)?.progress;
  }

  /** Downloads what is missing of a model; joins a download of it that is under way. Throws what `downloadModel` throws. */
  start({ path, source }: KnownModel): Promise<void> {
    if (source.kind !== "hub")
      throw new EngineError("bad-argument", `${path} was not downloaded`, "choose a model of a hub", { path });
    const before = this.running.get(path);
    if (before) return before.done;
    const stop = new AbortController();
    const running: Running = { stop, progress: undefined, done: Promise.resolve(this.show(path, source, stop)) };
    this.running.set(path, running);
    this.changed.fire();
    return running.done;
  }

  /** Stops it and waits until it has stopped; what was downloaded stays. */
  async stop(path: string): Promise<void> {
    const running = this.running.get(path);
    if (!running) return;
    running.stop.abort();
    await running.done.catch(() => undefined);
  }

  dispose(): void {
    for (const { stop } of this.running.values()) stop.abort();
    this.changed.dispose();
  }

  private async show(path: string, source: HubSource, stop: AbortController): Promise<void> {
    try {
      await vscode.window.withProgress(
        { location: vscode.ProgressLocation.Notification, title: `Downloading ${modelLabel(path)}`, cancellable: true },
        async (notification, token) => {
          token.onCancellationRequested(() => stop.abort());
          await this.download(path, source, stop.signal, notification);
        },
      );
    } finally {
      this.running.delete(path);
      this.changed.fire();
    }
  }

  private async download(
    path: string,
    source: HubSource,
    signal: AbortSignal,
    notification: vscode.Progress<{ message?: string; increment?: number }>,
  ): Promise<void> {
    const hub = await this.hub();
    if (hub.url !== source.hub) {
      throw new EngineError(
        "hub-refused",
        `${source.repository} comes from ${source.hub}, and longContext.hub.url is ${hub.url}`,
        "set longContext.hub.url back, or add the model again from the other hub",
      );
    }
    let told = 0;
    const { repository, commit, files } = source;
    await downloadModel(
      hub,
      { repository, commit, files, folder: this.known.folderOf(source) },
      {
        signal,
        onProgress: (progress) => {
          const percent = progress.totalBytes === 0 ? 100 : (100 * progress.doneBytes) / progress.totalBytes;
          notification.report({ message: progressText(progress), increment: percent - told });
          told = percent;
          const running = this.running.get(path);
          if (running) running.progress = progress;
          this.changed.fire();
        },
      },
    );
  }
}
