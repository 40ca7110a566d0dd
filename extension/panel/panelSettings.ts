import * as vscode from "vscode";
import type { PanelSettings } from "../../webview/protocol/panel.ts";
import { backendSetting, onSettingChange, writeBackend } from "../config.ts";

type Stored = Omit<PanelSettings, "backend">;

const storageKey = "panelSettings";
const defaults: Stored = {
  rope: { kind: "auto" },
  attention: { policy: { kind: "flash" } },
  kv: { keys: "f32", values: "f32" },
  weightFormat: "file",
  products: "exact",
  sampling: { temperature: 0, topP: 1, seed: 0 },
  quote: "constrained",
  maxAnswerTokens: 128,
};

/** What the user chose in the panel: the backend is a VS Code setting, the rest belongs to the workspace. */
export class PanelSettingsStore implements vscode.Disposable {
  private readonly memento: vscode.Memento;
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly watching: vscode.Disposable;
  /** The backend the panel knows of, so that its own write does not come back to it as news. */
  private knownBackend: PanelSettings["backend"] | undefined;
  /** Fires when the backend was changed elsewhere than in the panel. */
  readonly onDidChangeBackend = this.changed.event;

  constructor(memento: vscode.Memento) {
    this.memento = memento;
    this.watching = onSettingChange("backend", () => {
      if (backendSetting() !== this.knownBackend) this.changed.fire();
    });
  }

  read(): PanelSettings {
    this.knownBackend = backendSetting();
    return { ...defaults, ...this.memento.get<Partial<Stored>>(storageKey), backend: this.knownBackend };
  }

  async write({ backend, ...stored }: PanelSettings): Promise<void> {
    this.knownBackend = backend;
    await writeBackend(backend);
    await this.memento.update(storageKey, stored);
  }

  dispose(): void {
    this.watching.dispose();
    this.changed.dispose();
  }
}
