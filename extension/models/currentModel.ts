import * as vscode from "vscode";
import { plainError } from "../../engine/errors.ts";
import { modelPathSetting, onSettingChange, writeModelPath } from "../config.ts";
import { bundledModelFolder, type ModelFolder, readModelFolder } from "./location.ts";

/** Which model the user works with: the folder of the setting, else the bundled one. */
export class CurrentModel implements vscode.Disposable {
  private readonly packageRoot: string;
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly watching: vscode.Disposable;
  /** Fires when another folder is meant; the folder may still turn out to be no model. */
  readonly onDidChange = this.changed.event;

  constructor(packageRoot: string) {
    this.packageRoot = packageRoot;
    this.watching = onSettingChange("modelPath", () => this.changed.fire());
  }

  /** The folder, or the GGUF file, that is meant, unchecked. */
  get path(): string {
    return modelPathSetting() ?? bundledModelFolder(this.packageRoot);
  }

  /** The folder with its files; throws why it is no model. */
  locate(): Promise<ModelFolder> {
    return readModelFolder(this.path);
  }

  /** Lets the user pick a folder, or go back to the bundled model; false where he did not. */
  async choose(): Promise<boolean> {
    const bundled = { label: "$(package) Bundled model", description: "keyshift-4m", folder: "" };
    const other = {
      label: "$(folder-opened) Choose a model folder…",
      description: "config.json, tokenizer.json, *.safetensors",
      folder: undefined,
    };
    const picked = await vscode.window.showQuickPick([bundled, other], {
      title: "Long Context: Choose Model",
      placeHolder: this.path,
    });
    if (!picked) return false;
    const folder = picked.folder ?? (await pickFolder());
    if (folder === undefined) return false;
    if (folder !== "") {
      try {
        await readModelFolder(folder);
      } catch (error) {
        const { message, remedy } = plainError(error);
        void vscode.window.showErrorMessage(`Long Context: ${message}. To do: ${remedy}.`);
        return false;
      }
    }
    await writeModelPath(folder);
    return true;
  }

  dispose(): void {
    this.watching.dispose();
    this.changed.dispose();
  }
}

async function pickFolder(): Promise<string | undefined> {
  const options = { canSelectFolders: true, canSelectFiles: false, canSelectMany: false, openLabel: "Use this model" };
  return (await vscode.window.showOpenDialog(options))?.[0]?.fsPath;
}
