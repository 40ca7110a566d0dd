import * as vscode from "vscode";
import { EngineError } from "../../engine/errors.ts";
import { type Channel, openChannel, type Port } from "../../webview/protocol/channel.ts";
import type { HostTopics, PanelCalls, PanelTopics } from "../../webview/protocol/panel.ts";
import { type HandlerServices, hostHandlers } from "./handlers.ts";
import { panelHtml } from "./html.ts";
import { playgroundViewType } from "./viewType.ts";

type PanelChannel = Channel<PanelCalls, HostTopics, PanelTopics>;

/** The one playground: opens, restores and closes its webview, and is the host's end of the channel. */
export class PlaygroundPanel implements vscode.Disposable {
  private readonly extensionUri: vscode.Uri;
  private readonly services: HandlerServices;
  private readonly listeners: vscode.Disposable;
  private current: { panel: vscode.WebviewPanel; channel: PanelChannel; modelFolder: string } | undefined;
  private modelRevision = 0;

  constructor(extensionUri: vscode.Uri, services: HandlerServices) {
    this.extensionUri = extensionUri;
    this.services = services;
    this.listeners = vscode.Disposable.from(
      services.client.onDidChangeBudget((budget) => this.current?.channel.publish("budget", budget)),
      services.model.onDidChange(() => this.onModelChange()),
      // The page reads its settings when it loads.
      services.settings.onDidChangeBackend(() => this.reload()),
      vscode.window.registerWebviewPanelSerializer(playgroundViewType, {
        deserializeWebviewPanel: async (panel) => this.adopt(panel),
      }),
    );
  }

  get isOpen(): boolean {
    return this.current !== undefined;
  }

  /** Shows the playground, a new one where none is open. */
  open(): void {
    if (this.current) {
      this.current.panel.reveal();
      return;
    }
    this.adopt(
      vscode.window.createWebviewPanel(playgroundViewType, "Long-Context Playground", vscode.ViewColumn.Active, {
        retainContextWhenHidden: true,
      }),
    );
  }

  /** Asks the page; waits for it to start. Throws `not-found` where no playground is open. */
  async call<Name extends keyof PanelCalls>(name: Name, params: PanelCalls[Name]["params"]): Promise<PanelCalls[Name]["result"]> {
    if (!this.current) throw new EngineError("not-found", "the playground is not open", 'run "Long Context: Open Playground"');
    return this.current.channel.call(name, params);
  }

  dispose(): void {
    this.listeners.dispose();
    this.current?.panel.dispose();
  }

  private adopt(panel: vscode.WebviewPanel): void {
    if (this.current) {
      panel.dispose();
      return;
    }
    panel.iconPath = { light: this.uri("media", "icon-light.svg"), dark: this.uri("media", "icon-dark.svg") };
    panel.onDidDispose(() => {
      this.current?.channel.close("the playground was closed");
      this.current = undefined;
    });
    this.load(panel);
  }

  /** Starts the page (again): the folders it may read are fixed when it loads. */
  private load(panel: vscode.WebviewPanel): void {
    this.current?.channel.close("the playground is loaded again");
    const { webview } = panel;
    const modelFolder = this.services.model.folder;
    webview.options = {
      enableScripts: true,
      localResourceRoots: [this.uri("dist"), this.uri("media"), vscode.Uri.file(modelFolder)],
    };
    const channel: PanelChannel = openChannel(portOf(webview), hostHandlers(panel, this.services), { name: "host" });
    this.current = { panel, channel, modelFolder };
    webview.html = panelHtml({
      cspSource: webview.cspSource,
      script: this.webviewUri(webview, "dist", "panel.js"),
      worker: this.webviewUri(webview, "dist", "worker.js"),
      ortWasm: this.webviewUri(webview, "dist", "ort", "ort-wasm-simd-threaded.wasm"),
    });
    if (this.services.client.budget) channel.publish("budget", this.services.client.budget);
  }

  private onModelChange(): void {
    if (this.current?.modelFolder !== this.services.model.folder) this.reload();
    else this.current.channel.publish("model", { revision: ++this.modelRevision });
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
