import * as vscode from "vscode";
import { formatAttention } from "../../engine/attention/policy.ts";
import { formatKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import type { PanelSettings } from "../../webview/protocol/panel.ts";
import { attentionSetting, backendSetting, kvSetting, onSettingChange, writeAttention, writeBackend } from "../config.ts";

type Stored = Omit<PanelSettings, "backend" | "attention" | "kv">;

const storageKey = "panelSettings";
const defaults: Stored = {
  rope: { kind: "auto" },
  weightFormat: "file",
  products: "exact",
  sampling: { temperature: 0, topP: 1, seed: 0 },
  quote: "constrained",
  maxAnswerTokens: 128,
};

/** What the user chose in the panel: backend, attention and cache formats are VS Code settings, the rest belongs to the workspace. */
export class PanelSettingsStore implements vscode.Disposable {
  private readonly memento: vscode.Memento;
  private readonly backendChanged = new vscode.EventEmitter<void>();
  private readonly attentionChanged = new vscode.EventEmitter<void>();
  private readonly watching: vscode.Disposable;
  /** What the panel knows of, so that its own writing does not come back to it as news. */
  private knownBackend: PanelSettings["backend"] | undefined;
  private knownAttention: string | undefined;
  private writes = 0;
  private lastWrite: Promise<void> = Promise.resolve();
  /** Fires when the backend was changed elsewhere than in the panel. */
  readonly onDidChangeBackend = this.backendChanged.event;
  /** The same for attention or the cache formats; what is there now may not be readable. */
  readonly onDidChangeAttention = this.attentionChanged.event;

  constructor(memento: vscode.Memento) {
    this.memento = memento;
    this.watching = vscode.Disposable.from(
      onSettingChange("backend", () => {
        if (backendSetting() !== this.knownBackend) this.backendChanged.fire();
      }),
      onSettingChange(["attention", "kv"], () => {
        if (this.isNewAttention()) this.attentionChanged.fire();
      }),
    );
  }

  /** Throws `bad-argument` for a setting that makes no sense. */
  read(): PanelSettings {
    const chosen = { backend: backendSetting(), attention: attentionSetting(), kv: kvSetting() };
    return { ...defaults, ...this.memento.get<Partial<Stored>>(storageKey), ...chosen };
  }

  /** The same for the panel, which knows of it from then on. */
  readForPanel(): PanelSettings {
    const settings = this.read();
    this.knownBackend = settings.backend;
    this.knownAttention = textOf(settings);
    return settings;
  }

  /** One after the other: the settings of an earlier choice never overtake a later one. */
  async write(chosen: PanelSettings): Promise<void> {
    this.knownBackend = chosen.backend;
    this.knownAttention = textOf(chosen);
    this.writes++;
    const written = this.lastWrite.then(() => this.store(chosen)).finally(() => this.writes--);
    this.lastWrite = written.catch(() => undefined);
    await written;
  }

  dispose(): void {
    this.watching.dispose();
    this.backendChanged.dispose();
    this.attentionChanged.dispose();
  }

  private async store({ backend, attention, kv, ...stored }: PanelSettings): Promise<void> {
    await writeBackend(backend);
    await writeAttention(attention, kv);
    await this.memento.update(storageKey, stored);
  }

  private isNewAttention(): boolean {
    // Between two of its own writes the settings are neither old nor new.
    if (this.writes > 0) return false;
    try {
      return textOf({ attention: attentionSetting(), kv: kvSetting() }) !== this.knownAttention;
    } catch {
      // Whoever hears of it reads the settings, and says what is wrong with them.
      return true;
    }
  }
}

function textOf({ attention, kv }: Pick<PanelSettings, "attention" | "kv">): string {
  return `${formatAttention(attention)} ${formatKvFormats(kv)}`;
}
