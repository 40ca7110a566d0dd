import * as vscode from "vscode";
import { abortedError, EngineError } from "../../engine/errors.ts";
import type { AskEvent, AskPlan, AskResult, Reply } from "../../engine/generate/api.ts";
import type { ChosenQuestion, ReplyParams } from "../../webview/protocol/panel.ts";
import { modelLabel } from "../models/location.ts";
import type { CurrentModel } from "../models/currentModel.ts";
import type { PlaygroundPanel } from "../panel/playgroundPanel.ts";

/** How long the window may take to take over another model. */
const switchLimitMs = 30_000;

/** The playground's engine for VS Code's chat: opens it by itself, with the model that is asked for, and asks one thing after the other. */
export class ChatEngine {
  private readonly panel: PlaygroundPanel;
  private readonly model: CurrentModel;
  private last: Promise<unknown> = Promise.resolve();
  private lastRun = 0;

  constructor(panel: PlaygroundPanel, model: CurrentModel) {
    this.panel = panel;
    this.model = model;
  }

  /** Whether a question to this model would first have to open it. */
  mustOpen(path: string): boolean {
    const { engine } = this.panel;
    return engine?.modelPath !== path || engine.report.status !== "ready";
  }

  answer(
    path: string,
    question: ChosenQuestion,
    token: vscode.CancellationToken,
    onEvent: (event: AskEvent) => void,
  ): Promise<AskResult> {
    return this.ask(path, token, (signal) =>
      this.followed(onEvent, (runId) => this.panel.call("panel/answer", { ...question, runId }, { signal })),
    );
  }

  plan(path: string, question: ChosenQuestion, token: vscode.CancellationToken): Promise<AskPlan> {
    return this.ask(path, token, (signal) => this.panel.call("panel/plan", question, { signal }));
  }

  reply(
    path: string,
    request: Omit<ReplyParams, "runId">,
    token: vscode.CancellationToken,
    onEvent: (event: AskEvent) => void,
  ): Promise<Reply> {
    return this.ask(path, token, (signal) =>
      this.followed(onEvent, (runId) => this.panel.call("panel/reply", { ...request, runId }, { signal })),
    );
  }

  /** In turn, because a change of the model would end what is going on with another one. */
  private async ask<T>(path: string, token: vscode.CancellationToken, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const listening = token.onCancellationRequested(() => controller.abort());
    if (token.isCancellationRequested) controller.abort();
    const { signal } = controller;
    const turn = this.last.then(async () => {
      if (signal.aborted) throw abortedError();
      await this.open(path, signal);
      return work(signal);
    });
    this.last = turn.catch(() => undefined);
    try {
      return await orAborted(turn, signal);
    } finally {
      listening.dispose();
    }
  }

  /** Opens the playground with this model. */
  private async open(path: string, signal: AbortSignal): Promise<void> {
    if (this.model.path !== path) await this.switchTo(path, signal);
    this.panel.openBeside();
    await orAborted(this.panel.started(), signal);
  }

  /** Makes it the model in use, as "Use Model" does, and says so. Throws `busy` where that would end a question of the user's. */
  private async switchTo(path: string, signal: AbortSignal): Promise<void> {
    const label = modelLabel(path);
    if (this.panel.isOpen) {
      await orAborted(this.panel.started(), signal);
      const { run } = await orAborted(this.panel.call("panel/state", {}, { signal }), signal);
      if (run !== "idle") {
        const remedy = "ask again when it is answered, or stop it in the playground";
        throw new EngineError("busy", `${modelLabel(this.model.path)} is answering a question in the playground`, remedy);
      }
    }
    const switched = this.panel.isOpen ? this.opened(path) : Promise.resolve();
    // Whoever waits below gets the error.
    switched.catch(() => undefined);
    await this.model.use(path);
    await orAborted(switched, signal);
    void vscode.window.showInformationMessage(
      `Long Context: the playground uses ${label} from now on, because VS Code's chat asked it.`,
    );
  }

  /** Settles once the open playground is loaded with this model. */
  private opened(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        listening.dispose();
        settle();
      };
      const timer = setTimeout(() => {
        const remedy = 'choose it with "Long Context: Choose Model"';
        end(() => reject(new EngineError("internal", `the playground did not take over ${modelLabel(path)}`, remedy)));
      }, switchLimitMs);
      const listening = this.panel.onDidChangeEngine(() => {
        if (this.panel.engine?.modelPath === path) end(resolve);
      });
    });
  }

  /** Runs work under an id of its own; what the page says under it goes to `onEvent`. */
  private async followed<T>(onEvent: (event: AskEvent) => void, work: (runId: string) => Promise<T>): Promise<T> {
    const runId = `chat-${Date.now().toString(36)}-${++this.lastRun}`;
    const listening = this.panel.onDidRun((run) => {
      if (run.runId === runId) onEvent(run.event);
    });
    try {
      return await work(runId);
    } finally {
      listening.dispose();
    }
  }
}

/** Who stops asking does not wait for what he asked for. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(abortedError());
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
