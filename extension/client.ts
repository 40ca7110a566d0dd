import * as vscode from "vscode";
import { LanguageClient, ResponseError, State, TransportKind } from "vscode-languageclient/node";
import { EngineError, plainError, type PlainError } from "../engine/errors.ts";
import type { BudgetSnapshot } from "../webview/protocol/panel.ts";
import type { BudgetSource } from "./budget/source.ts";
import { Later } from "./server/later.ts";
import {
  type BudgetNotification,
  budgetNotification,
  type ChangedNotification,
  changedNotification,
  type ServerCalls,
  type ServerOptions,
} from "./server/requests.ts";
import { serverArguments, serverFlags } from "./server/serverProcess.ts";

/** A save often touches several files; VS Code tells of each by itself. */
const changesSettleMs = 30;
/** The server walks everything for more than that anyway. */
const mostNamedChanges = 200;

/** The token server as the rest of the extension sees it. */
export class TokenClient implements BudgetSource, vscode.Disposable {
  private readonly client: LanguageClient;
  private readonly received = new vscode.EventEmitter<BudgetSnapshot>();
  private readonly watcher: vscode.Disposable;
  private readonly log: vscode.LogOutputChannel;
  private options: ServerOptions;
  private last: BudgetSnapshot | undefined;
  /** Revisions of a restarted server go on behind those of the one before it. */
  private revisionOffset = 0;
  private stopping = false;
  /** A first start that fails is told by who started it. */
  private hasRun = false;
  readonly onDidChangeBudget = this.received.event;

  constructor(serverModule: string, options: ServerOptions, log: vscode.LogOutputChannel) {
    this.log = log;
    this.options = options;
    this.watcher = watchFiles((changed) => {
      // Before it runs and after it died nothing is known that could be out of date.
      if (!this.client.isRunning()) return;
      this.client.sendNotification(changedNotification, changed).catch((error: unknown) => {
        log.warn(`the token server did not hear of a change: ${plainError(error).message}`);
      });
    });
    const run = {
      module: serverModule,
      transport: TransportKind.ipc,
      args: serverArguments(options.storageFolder),
      options: { execArgv: [...serverFlags] },
    };
    this.client = new LanguageClient(
      "longContext.server",
      "Long Context token server",
      // "Server (attach)" in .vscode/launch.json waits on this port.
      { run, debug: { ...run, options: { execArgv: [...serverFlags, "--nolazy", "--inspect=6009"] } } },
      {
        documentSelector: [{ scheme: "file" }, { scheme: "untitled" }],
        // A restarted server starts with the options of then.
        initializationOptions: () => this.options,
        outputChannel: log,
      },
    );
    this.client.onNotification(budgetNotification, (snapshot: BudgetNotification) => {
      const budget = { ...snapshot, revision: snapshot.revision + this.revisionOffset };
      this.last = budget;
      this.received.fire(budget);
    });
    this.client.onDidChangeState(({ newState }) => {
      if (newState === State.Starting) this.revisionOffset = this.last?.revision ?? 0;
      if (newState === State.Running) this.hasRun = true;
      // One that is started again is starting by then; after several crashes in a row none is.
      if (isDown(newState)) setImmediate(() => this.tellIfGone());
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

  /** Counts everything again, with these options; starts a server that had died. */
  async configure(options: ServerOptions): Promise<void> {
    this.options = options;
    if (isDown(this.client.state) && !this.stopping) return this.start();
    await this.call("longContext/configure", options);
  }

  /** Asks the server; throws its EngineError. */
  async call<Name extends keyof ServerCalls>(
    name: Name,
    params: ServerCalls[Name]["params"],
    token?: vscode.CancellationToken,
  ): Promise<ServerCalls[Name]["result"]> {
    try {
      // A token that is undefined would be sent as a second parameter.
      const rest: [] | [vscode.CancellationToken] = token === undefined ? [] : [token];
      return await this.client.sendRequest<ServerCalls[Name]["result"]>(name, params, ...rest);
    } catch (error) {
      if (error instanceof ResponseError && isPlainError(error.data)) throw EngineError.fromPlain(error.data);
      throw new EngineError("internal", `the token server does not answer: ${plainError(error).message}`, "reload the window");
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    if (this.client.needsStop()) await this.client.stop();
  }

  dispose(): void {
    this.watcher.dispose();
    this.received.dispose();
  }

  private tellIfGone(): void {
    if (!isDown(this.client.state) || !this.hasRun || this.stopping) return;
    this.log.error("the token server stopped several times in a row and is not started again");
    this.publishFailure(
      "the token server stopped several times in a row",
      'run "Long Context: Recount Tokens" to start it again',
    );
  }

  private publishFailure(message: string, remedy: string): void {
    const revision = (this.last?.revision ?? 0) + 1;
    const { window, reserve } = this.options;
    const empty = {
      tokenizer: "",
      doneFiles: 0,
      totalFiles: 0,
      tokens: 0,
      packTokens: 0,
      approximate: false,
      bytes: 0,
      excluded: 0,
    };
    const failed: BudgetSnapshot = { ...empty, window, reserve, revision, state: "failed", error: { message, remedy } };
    this.last = failed;
    this.received.fire(failed);
  }
}

/** A server that dies while it is started again leaves its client in a state of its own. */
function isDown(state: State): boolean {
  return state === State.Stopped || state === State.StartFailed;
}

/** Tells of changes on disk soon, and of a burst at once: naming thousands of files would keep the editor busy. */
function watchFiles(tell: (changed: ChangedNotification) => void): vscode.Disposable {
  const uris = new Set<string>();
  let more = false;
  const later = new Later(changesSettleMs, () => {
    tell({ uris: more ? [] : [...uris], more });
    uris.clear();
    more = false;
  });
  const changed = (uri: vscode.Uri): void => {
    if (uris.size < mostNamedChanges) uris.add(uri.toString());
    else more = true;
    later.soon();
  };
  const watcher = vscode.workspace.createFileSystemWatcher("**/*");
  const all = [watcher, later, watcher.onDidChange(changed), watcher.onDidCreate(changed), watcher.onDidDelete(changed)];
  return vscode.Disposable.from(...all);
}

function isPlainError(value: unknown): value is PlainError {
  return (
    typeof value === "object" && value !== null && "code" in value && "message" in value && "remedy" in value && "facts" in value
  );
}
