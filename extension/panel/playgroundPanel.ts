import * as vscode from "vscode";
import { EngineError, plainError } from "../../engine/errors.ts";
import { type CallOptions, type Channel, openChannel, type Port } from "../../webview/protocol/channel.ts";
import type { EngineReport, HostTopics, PanelCalls, PanelTopics } from "../../webview/protocol/panel.ts";
import { reportFailure } from "../log.ts";
import { folderOfModel } from "../models/location.ts";
import { type HandlerServices, hostHandlers } from "./handlers.ts";
import { panelHtml } from "./html.ts";
import { type LargeFiles, openLargeFiles } from "./largeFiles.ts";
import { openPrefixPort, type PrefixPort } from "./prefixPort.ts";
import { playgroundViewType } from "./viewType.ts";

type PanelChannel = Channel<PanelCalls, HostTopics, PanelTopics>;

interface OpenPanel {
  readonly panel: vscode.WebviewPanel;
  readonly channel: PanelChannel;
  readonly modelPath: string;
  /** Closed with the page. */
  largeFiles: LargeFiles | undefined;
  prefixPort: PrefixPort | undefined;
  engine: EngineReport;
}

const startingEngine: EngineReport = { status: "starting", device: "", weightFormat: "", message: "" };

/** The one playground: opens, restores and closes its webview, and is the host's end of the channel. */
export class PlaygroundPanel implements vscode.Disposable {
  private readonly extensionUri: vscode.Uri;
  private readonly services: HandlerServices;
  private readonly listeners: vscode.Disposable;
  private current: OpenPanel | undefined;
  private modelRevision = 0;
  private settingsRevision = 0;
  private readonly engineChanged = new vscode.EventEmitter<void>();
  private readonly run = new vscode.EventEmitter<PanelTopics["run"]>();
  /** What a run does that was asked for with `call`. */
  readonly onDidRun = this.run.event;
  /** Fires when the engine of the open playground starts, is ready or fails, and when the playground is closed. */
  readonly onDidChangeEngine = this.engineChanged.event;

  constructor(extensionUri: vscode.Uri, services: HandlerServices) {
    this.extensionUri = extensionUri;
    this.services = services;
    this.listeners = vscode.Disposable.from(
      services.client.onDidChangeBudget((budget) => this.current?.channel.publish("budget", budget)),
      services.model.onDidChange(() => this.onModelChange()),
      // The page reads its settings when it loads.
      services.settings.onDidChangeBackend(() => this.reload()),
      services.settings.onDidChangeAttention(() => this.publishSettings()),
      vscode.window.registerWebviewPanelSerializer(playgroundViewType, {
        deserializeWebviewPanel: async (panel) => this.adopt(panel),
      }),
    );
  }

  get isOpen(): boolean {
    return this.current !== undefined;
  }

  /** What the open playground does with which model; undefined while none is open. */
  get engine(): { modelPath: string; report: EngineReport } | undefined {
    return this.current && { modelPath: this.current.modelPath, report: this.current.engine };
  }

  /** Shows the playground, a new one where none is open. */
  open(): void {
    if (this.current) {
      this.current.panel.reveal();
      return;
    }
    this.create(vscode.ViewColumn.Active);
  }

  /** Opens the playground where none is open, beside what the user works in, which keeps the keyboard. */
  openBeside(): void {
    if (!this.current) this.create({ viewColumn: vscode.ViewColumn.Beside, preserveFocus: true });
  }

  /** Asks the page; waits for it to start. Throws `not-found` where no playground is open. */
  async call<Name extends keyof PanelCalls>(
    name: Name,
    params: PanelCalls[Name]["params"],
    options?: CallOptions,
  ): Promise<PanelCalls[Name]["result"]> {
    if (!this.current) throw new EngineError("not-found", "the playground is not open", 'run "Long Context: Open Playground"');
    return this.current.channel.call(name, params, options);
  }

  /** Settles once the page answers. Throws `aborted` where it is closed before, and `internal` where it does not start. */
  async started(): Promise<void> {
    if (!this.current) throw new EngineError("not-found", "the playground is not open", 'run "Long Context: Open Playground"');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(notStarted()), startLimitMs);
    });
    await Promise.race([this.current.channel.ready, late]).finally(() => clearTimeout(timer));
  }

  dispose(): void {
    this.listeners.dispose();
    this.current?.panel.dispose();
    this.engineChanged.dispose();
    this.run.dispose();
  }

  private create(place: Parameters<typeof vscode.window.createWebviewPanel>[2]): void {
    const options = { retainContextWhenHidden: true };
    this.adopt(vscode.window.createWebviewPanel(playgroundViewType, "Long-Context Playground", place, options));
  }

  private adopt(panel: vscode.WebviewPanel): void {
    if (this.current) {
      panel.dispose();
      return;
    }
    panel.iconPath = { light: this.uri("media", "icon-light.svg"), dark: this.uri("media", "icon-dark.svg") };
    panel.onDidDispose(() => this.leave("the playground was closed"));
    this.load(panel);
  }

  /** Ends what belongs to the page that is open. */
  private leave(because: string): void {
    this.current?.channel.close(because);
    this.current?.largeFiles?.dispose();
    this.current?.prefixPort?.dispose();
    this.current = undefined;
    this.engineChanged.fire();
  }

  /** Starts the page (again): the folders and addresses it may read are fixed when it loads. */
  private load(panel: vscode.WebviewPanel): void {
    this.leave("the playground is loaded again");
    const { webview } = panel;
    // Else the page that was here would answer the new channel until its own page is there.
    webview.html = "";
    const modelPath = this.services.model.path;
    webview.options = {
      enableScripts: true,
      localResourceRoots: [this.uri("dist"), this.uri("media"), vscode.Uri.file(folderOfModel(modelPath))],
    };
    const handlers = hostHandlers(panel, this.services, {
      largeFiles: () => opened.largeFiles,
      prefixPort: () => opened.prefixPort,
      reportEngine: (report) => {
        opened.engine = report;
        this.engineChanged.fire();
      },
    });
    const channel: PanelChannel = openChannel(portOf(webview), handlers, { name: "host" });
    const opened: OpenPanel = { panel, channel, modelPath, largeFiles: undefined, prefixPort: undefined, engine: startingEngine };
    this.current = opened;
    channel.subscribe("run", (run) => this.run.fire(run));
    this.engineChanged.fire();
    if (this.services.client.budget) channel.publish("budget", this.services.client.budget);
    void this.show(opened);
  }

  private async show(opened: OpenPanel): Promise<void> {
    const { webview } = opened.panel;
    const [largeFiles, prefixPort] = await Promise.all([this.openLargeFiles(), this.openPrefixPort()]);
    if (this.current !== opened) {
      largeFiles?.dispose();
      prefixPort?.dispose();
      return;
    }
    opened.largeFiles = largeFiles;
    opened.prefixPort = prefixPort;
    webview.html = panelHtml({
      cspSource: webview.cspSource,
      script: this.webviewUri(webview, "dist", "panel.js"),
      worker: this.webviewUri(webview, "dist", "worker.js"),
      ortWasm: this.webviewUri(webview, "dist", "ort", "ort-wasm-simd-threaded.wasm"),
      ports: [largeFiles, prefixPort].flatMap((port) => (port === undefined ? [] : [port.source])),
    });
  }

  /** Without them everything goes through webview resources, only slower; what is wrong with a model is told when it is located. */
  private async openLargeFiles(): Promise<LargeFiles | undefined> {
    try {
      return await openLargeFiles(await this.services.model.locate());
    } catch (error) {
      this.services.log.warn(`panel: no port for large files: ${plainError(error).message}`);
      return undefined;
    }
  }

  /** Without it the panel keeps no prefixes beyond a reload. */
  private async openPrefixPort(): Promise<PrefixPort | undefined> {
    const { prefixes, log } = this.services;
    try {
      return await openPrefixPort(prefixes, (message) => log.warn(message));
    } catch (error) {
      log.warn(`panel: no port for kept prefixes: ${plainError(error).message}`);
      return undefined;
    }
  }

  private onModelChange(): void {
    if (this.current?.modelPath !== this.services.model.path) this.reload();
    else this.current.channel.publish("model", { revision: ++this.modelRevision });
  }

  /** What cannot be read is told, and the page keeps what it has. */
  private publishSettings(): void {
    const { settings, log } = this.services;
    try {
      this.current?.channel.publish("settings", { revision: ++this.settingsRevision, settings: settings.readForPanel() });
    } catch (error) {
      reportFailure(log, "the settings", error);
    }
  }

  private reload(): void {
    if (this.current) this.load(this.current.panel);
  }

  private webviewUri(webview: vscode.Webview, ...path: string[]): string {
    return webview.asWebviewUri(this.uri(...path)).toString();
  }

  private uri(...path: string[]): vscode.Uri {
    return vscode.Uri.joinPath(this.extensionUri, ...path);
  }
}

/** A page that says nothing for so long never will: its tab may lie in a window that VS Code does not draw. */
const startLimitMs = 120_000;

function notStarted(): EngineError {
  return new EngineError(
    "internal",
    "the playground did not start",
    'bring its tab to the front, or close it and run "Long Context: Open Playground"',
  );
}

/** VS Code copies buffers between the processes, so there is nothing to transfer. A closed webview drops messages; the channel is closed too. */
function portOf(webview: vscode.Webview): Port {
  return {
    post: (message) => void webview.postMessage(message),
    listen: (handler) => {
      const listening = webview.onDidReceiveMessage(handler);
      return () => void listening.dispose();
    },
  };
}
