import * as vscode from "vscode";
import { LanguageClient, ResponseError, State, TransportKind } from "vscode-languageclient/node";
import { EngineError, plainError, type PlainError } from "../engine/errors.ts";
import type { BudgetSnapshot } from "../webview/protocol/panel.ts";
import {
  type BudgetNotification,
  budgetNotification,
  requests,
  type ServerOptions,
  type WorkspaceListing,
} from "./server/requests.ts";

/** The token server as the rest of the extension sees it. */
export class TokenClient implements vscode.Disposable {
  private readonly client: LanguageClient;
  private readonly received = new vscode.EventEmitter<BudgetSnapshot>();
  private readonly watcher: vscode.FileSystemWatcher;
  private readonly log: vscode.LogOutputChannel;
  private last: BudgetSnapshot | undefined;
  /** Revisions of a restarted server go on behind those of the one before it. */
  private revisionOffset = 0;
  readonly onDidChangeBudget = this.received.event;

  constructor(serverModule: string, modelFolder: string, log: vscode.LogOutputChannel) {
    this.log = log;
    this.watcher = vscode.workspace.createFileSystemWatcher("**/*");
    const initializationOptions: ServerOptions = { modelFolder };
    const run = { module: serverModule, transport: TransportKind.ipc };
    this.client = new LanguageClient(
      "longContext.server",
      "Long Context token server",
      // "Server (attach)" in .vscode/launch.json waits on this port.
      { run, debug: { ...run, options: { execArgv: ["--nolazy", "--inspect=6009"] } } },
      {
        documentSelector: [{ scheme: "file" }],
        initializationOptions,
        outputChannel: log,
        synchronize: { fileEvents: this.watcher },
      },
    );
    this.client.onNotification(budgetNotification, (snapshot: BudgetNotification) => {
      const budget = { ...snapshot, revision: snapshot.revision + this.revisionOffset };
      this.last = budget;
      this.received.fire(budget);
    });
    this.client.onDidChangeState(({ newState }) => {
      if (newState === State.Starting) this.revisionOffset = this.last?.revision ?? 0;
    });
  }

  /** The newest state of the counts; undefined until the server has sent one. */
  get budget(): BudgetSnapshot | undefined {
    return this.last;
  }

  /** Starts the server; a failure is shown as the state of the counts, and the extension lives on without it. */
  async start(): Promise<void> {
    try {
      await this.client.start();
    } catch (error) {
      this.log.error(`the token server did not start: ${plainError(error).message}`);
      this.publishFailure("the token server did not start", 'open "Long Context: Show Log", then reload the window');
    }
  }

  /** Counts everything again, with the tokenizer of this model folder. */
  async configure(modelFolder: string): Promise<void> {
    const options: ServerOptions = { modelFolder };
    await this.client.sendRequest(requests.configure, options);
  }

  /** The counted files, once no count is under way; throws the server's EngineError. */
  async listing(): Promise<WorkspaceListing> {
    try {
      return await this.client.sendRequest<WorkspaceListing>(requests.listing, {});
    } catch (error) {
      if (error instanceof ResponseError && isPlainError(error.data)) throw EngineError.fromPlain(error.data);
      throw new EngineError("internal", `the token server does not answer: ${plainError(error).message}`, "reload the window");
    }
  }

  async stop(): Promise<void> {
    if (this.client.needsStop()) await this.client.stop();
  }

  dispose(): void {
    this.watcher.dispose();
    this.received.dispose();
  }

  private publishFailure(message: string, remedy: string): void {
    const revision = (this.last?.revision ?? 0) + 1;
    const empty = { tokenizer: "", doneFiles: 0, totalFiles: 0, tokens: 0, bytes: 0, excluded: 0 };
    this.last = { ...empty, revision, state: "failed", error: { message, remedy } };
    this.received.fire(this.last);
  }
}

function isPlainError(value: unknown): value is PlainError {
  return (
    typeof value === "object" && value !== null && "code" in value && "message" in value && "remedy" in value && "facts" in value
  );
}
