import { createHash } from "node:crypto";
import * as vscode from "vscode";
import type { ModelSpec } from "../../engine/api.ts";
import { EngineError, plainError } from "../../engine/errors.ts";
import type { ConversationFrame } from "../../engine/pack/conversation.ts";
import type { ModelList } from "../models/modelList.ts";
import { type ModelRow, rowDescription, rowTooltip } from "../models/modelWords.ts";
import type { PanelSettingsStore } from "../panel/panelSettings.ts";
import type { ChatEngine } from "./chatEngine.ts";
import { failureText, isAborted } from "./failures.ts";
import { chatMessage } from "./messageText.ts";
import { modelLimits, windowOf } from "./modelLimits.ts";
import type { ModelTokens } from "./modelTokens.ts";
import { modelVendor } from "./names.ts";
import { replyOptions } from "./replyOptions.ts";

/** A model as VS Code lists it, with where it lies. */
export interface ListedModel extends vscode.LanguageModelChatInformation {
  readonly path: string;
}

export interface LanguageModelServices {
  list: ModelList;
  engine: ChatEngine;
  tokens: ModelTokens;
  settings: PanelSettingsStore;
  log: vscode.LogOutputChannel;
}

/** Every model that can be opened, for VS Code's model picker and for other extensions. */
export class LanguageModels implements vscode.LanguageModelChatProvider<ListedModel>, vscode.Disposable {
  private readonly services: LanguageModelServices;
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly all: vscode.Disposable;
  /** What VS Code was told last, so that it is not told the same again; undefined before it asked. */
  private told: string | undefined;
  /** What templates write, by model: finding it out reads a whole vocabulary. */
  private readonly frames = new Map<string, ConversationFrame>();
  readonly onDidChangeLanguageModelChatInformation = this.changed.event;

  constructor(services: LanguageModelServices) {
    this.services = services;
    const tell = (): void => {
      this.tellChange().catch((error: unknown) => this.logFailure(error));
    };
    this.all = vscode.Disposable.from(
      this.changed,
      services.list.onDidChange(tell),
      services.settings.onDidChangeAttention(tell),
      vscode.lm.registerLanguageModelChatProvider(modelVendor, this),
    );
  }

  /**
   * Has VS Code ask for the models now. By itself it asks when a picker is opened, and until then the chat has no model to hand to
   * `@longcontext` and refuses the question.
   */
  announce(): void {
    vscode.lm.selectChatModels({ vendor: modelVendor }).then(undefined, (error: unknown) => this.logFailure(error));
  }

  /** A model that cannot be described is told in the log and left out; the others are there. */
  async provideLanguageModelChatInformation(): Promise<ListedModel[]> {
    const models = await this.models();
    this.told = JSON.stringify(models);
    return models;
  }

  async provideLanguageModelChatResponse(
    model: ListedModel,
    messages: readonly vscode.LanguageModelChatRequestMessage[],
    options: vscode.ProvideLanguageModelChatResponseOptions,
    progress: vscode.Progress<vscode.LanguageModelResponsePart>,
    token: vscode.CancellationToken,
  ): Promise<void> {
    let given = "";
    const give = (text: string): void => {
      if (text === "" || token.isCancellationRequested) return;
      given += text;
      progress.report(new vscode.LanguageModelTextPart(text));
    };
    try {
      if (options.toolMode === vscode.LanguageModelChatToolMode.Required && options.tools?.length) throw noTools(model.name);
      const { unused, ...asked } = replyOptions(options.modelOptions, model.maxOutputTokens);
      if (unused.length > 0) this.services.log.info(`language models: no use for the option ${unused.join(", ")}`);
      const { path } = await this.known(model.id);
      const request = { messages: messages.map(chatMessage), ...asked };
      const reply = await this.services.engine.reply(path, request, token, (event) => {
        if (event.type === "token") give(event.text);
        // What was said cannot be taken back.
        else if (event.type === "recovered" && given !== "") give(`\n\n(${event.because})\n\n`);
      });
      // A line that won against others is only known at the end.
      if (given === "") give(reply.text);
    } catch (error) {
      if (token.isCancellationRequested && isAborted(error)) return;
      this.logFailure(error);
      throw new Error(failureText(error), { cause: error });
    }
  }

  /** Of a text its own tokens; of a message what it adds to the prompt. */
  async provideTokenCount(model: ListedModel, text: string | vscode.LanguageModelChatRequestMessage): Promise<number> {
    const { tokens } = this.services;
    const { path } = model;
    try {
      return await (typeof text === "string"
        ? tokens.call("text", path, { text })
        : tokens.call("message", path, { message: chatMessage(text) }));
    } catch (error) {
      this.logFailure(error);
      throw new Error(failureText(error), { cause: error });
    }
  }

  /** Where the model lies that the chat's picker shows; undefined where it is none of ours, or gone. */
  async pathOf(picked: vscode.LanguageModelChat | undefined): Promise<string | undefined> {
    if (picked?.vendor !== modelVendor) return undefined;
    const rows = await this.services.list.rows();
    return rows[idsOf(rows).indexOf(picked.id)]?.path;
  }

  /** What is known of the model at a path; undefined where it cannot be opened. */
  async specOf(path: string): Promise<ModelSpec | undefined> {
    const row = await this.services.list.rowOf(path);
    return row?.state.kind === "ready" ? row.state.spec : undefined;
  }

  /** Tokens that prompt and answer may have together. */
  windowOf(spec: ModelSpec): number {
    return windowOf(spec, this.services.settings.read());
  }

  dispose(): void {
    this.all.dispose();
  }

  private async models(): Promise<ListedModel[]> {
    const rows = await this.services.list.rows();
    const ids = idsOf(rows);
    const described = await Promise.all(
      rows.map(async (row, i) => {
        try {
          return await this.describe(row, ids[i] ?? row.path);
        } catch (error) {
          this.logFailure(error);
          return undefined;
        }
      }),
    );
    const inUse = rows.find(({ chosen }) => chosen)?.path;
    // The first one is what a picker shows before anybody picked.
    return described.filter((model) => model !== undefined).sort((a, b) => Number(b.path === inUse) - Number(a.path === inUse));
  }

  private async describe(row: ModelRow, id: string): Promise<ListedModel | undefined> {
    const { state, path, label, source } = row;
    if (state.kind !== "ready") return undefined;
    const frame = await this.frameOf(path, state.diskBytes);
    return {
      id,
      path,
      name: label,
      family: state.family,
      version: source?.commit.slice(0, 12) ?? state.weights.format,
      detail: rowDescription(row),
      tooltip: rowTooltip(row),
      ...modelLimits(state.spec, this.services.settings.read(), frame),
      capabilities: { imageInput: false, toolCalling: false },
    };
  }

  private async frameOf(path: string, diskBytes: number): Promise<ConversationFrame> {
    const key = `${diskBytes} ${path}`;
    const known = this.frames.get(key) ?? (await this.services.tokens.call("frame", path, {}));
    this.frames.set(key, known);
    return known;
  }

  /** The row of an id that VS Code knows; throws where the model is gone by now. */
  private async known(id: string): Promise<ModelRow> {
    const rows = await this.services.list.rows();
    const row = rows[idsOf(rows).indexOf(id)];
    if (row?.state.kind === "ready") return row;
    throw new EngineError("not-found", `the model ${id} cannot be opened any more`, "look at the Models view");
  }

  private async tellChange(): Promise<void> {
    if (this.told !== undefined && JSON.stringify(await this.models()) !== this.told) this.changed.fire();
  }

  private logFailure(error: unknown): void {
    const { code, message } = plainError(error);
    this.services.log.error(`language models: ${code}: ${message}`);
  }
}

/** The name where it is the only one, else with a part that tells models of the same name apart. */
function idsOf(rows: readonly ModelRow[]): string[] {
  return rows.map(({ label, path }) => {
    if (rows.filter((other) => other.label === label).length === 1) return label;
    return `${label}#${createHash("sha256").update(path).digest("hex").slice(0, 8)}`;
  });
}

function noTools(name: string): EngineError {
  return new EngineError("bad-argument", `${name} cannot call tools, and the request wants one called`, "choose another model");
}
