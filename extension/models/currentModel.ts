import { basename } from "node:path";
import * as vscode from "vscode";
import { modelPathSetting, onSettingChange, writeModelPath } from "../config.ts";
import { plainError } from "../../engine/errors.ts";
import { bundledModelFolders, isGgufPath, type ModelFolder, readModelFolder } from "./location.ts";
import { readModel } from "./modelFacts.ts";

/** What the header of a GGUF file says of the context; a vocabulary comes before it, so that it takes a moment to read. */
type GgufContext = { tokens: number } | { message: string } | "reading";

/** Which model the user works with: that of the setting, else the first of the bundled ones. */
export class CurrentModel implements vscode.Disposable {
  /** Folders of the models that come with the extension, the default first. */
  readonly bundledPaths: readonly [string, ...string[]];
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly watching: vscode.Disposable;
  private gguf: { path: string; context: GgufContext } | undefined;
  private readonly learned = new vscode.EventEmitter<void>();
  /** Fires when another model is meant; it may still turn out to be none. */
  readonly onDidChange = this.changed.event;
  /** Fires when the context of a GGUF file is known. */
  readonly onDidLearn = this.learned.event;

  constructor(packageRoot: string) {
    this.bundledPaths = bundledModelFolders(packageRoot);
    this.watching = onSettingChange("modelPath", () => this.changed.fire());
  }

  /** The folder, or the GGUF file, that is meant, unchecked. */
  get path(): string {
    const setting = modelPathSetting() ?? this.defaultPath;
    return this.bundledPaths.find((path) => basename(path) === setting) ?? setting;
  }

  /** The one that is meant where nothing is set. */
  get defaultPath(): string {
    return this.bundledPaths[0];
  }

  isBundled(path: string): boolean {
    return this.bundledPaths.includes(path);
  }

  /** The model with its files; throws why it is none. */
  locate(): Promise<ModelFolder> {
    return readModelFolder(this.path);
  }

  /** What is known of the context of the GGUF file that is meant; undefined where it is none. */
  get ggufContext(): GgufContext | undefined {
    const { path } = this;
    if (!isGgufPath(path)) return undefined;
    if (this.gguf?.path !== path) this.readGguf(path);
    return this.gguf?.context;
  }

  /** From now on this one is meant. A bundled one is kept by its name, because its folder changes with every version of the extension. */
  async use(path: string): Promise<void> {
    await writeModelPath(path === this.defaultPath ? "" : this.isBundled(path) ? basename(path) : path);
  }

  private readGguf(path: string): void {
    const found = { path, context: "reading" as GgufContext };
    this.gguf = found;
    const tell = (context: GgufContext): void => {
      found.context = context;
      if (this.path === path) this.learned.fire();
    };
    readModel(path).then(
      ({ contextTokens }) => tell({ tokens: contextTokens }),
      (error: unknown) => tell({ message: plainError(error).message }),
    );
  }

  dispose(): void {
    this.watching.dispose();
    this.changed.dispose();
    this.learned.dispose();
  }
}
