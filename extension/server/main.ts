/** The token server: a language server process that walks the workspace and counts its tokens. Nothing here knows "vscode". */
import { takeFirstThread, threadBundle } from "./firstThread.ts";
import { fileURLToPath } from "node:url";
import {
  type CancellationToken,
  createConnection,
  type InitializeParams,
  ProposedFeatures,
  ResponseError,
  TextDocuments,
  TextDocumentSyncKind,
} from "vscode-languageserver/node";
import { TextDocument } from "vscode-languageserver-textdocument";
import { plainError } from "../../engine/errors.ts";
import { type Answers, answersOf } from "./answers.ts";
import { openThreadPool } from "./countPool.ts";
import type { CountProgress } from "./progressBar.ts";
import {
  type BudgetNotification,
  budgetNotification,
  type ChangedNotification,
  changedNotification,
  type ServerCalls,
  type ServerOptions,
} from "./requests.ts";
import { type Root, workspaceRoots } from "./roots.ts";
import { readServerOptions } from "./serverOptions.ts";
import { WorkspaceCounts } from "./state.ts";
import { tokenizerLabel } from "./tokenizerFile.ts";

const connection = createConnection(ProposedFeatures.all);
const documents = new TextDocuments(TextDocument);
let counts: WorkspaceCounts | undefined;
let options: ServerOptions | undefined;
let folders: readonly { name: string; uri: string }[] = [];

connection.onInitialize((params: InitializeParams) => {
  try {
    options = readServerOptions(params.initializationOptions);
  } catch (error) {
    throw responseError(error);
  }
  folders = params.workspaceFolders ?? [];
  return {
    capabilities: {
      textDocumentSync: { openClose: true, change: TextDocumentSyncKind.Incremental, save: { includeText: false } },
      workspace: { workspaceFolders: { supported: true, changeNotifications: true } },
    },
  };
});

connection.onInitialized(() => {
  if (!options) return;
  const started = new WorkspaceCounts({
    roots: rootsOf(folders),
    settings: options,
    openPool: (tokenizer) => openThreadPool(threadBundle, tokenizer, takeFirstThread()),
    tokenizerLabel,
    publish: (snapshot: BudgetNotification) => void connection.sendNotification(budgetNotification, snapshot),
    startProgress,
    log: (message) => connection.console.error(message),
  });
  counts = started;
  void started.recount();
  for (const document of documents.all()) void started.editors.open(document.uri, document.getText());
  connection.workspace.onDidChangeWorkspaceFolders(({ added, removed }) => {
    const gone = new Set(removed.map(({ uri }) => uri));
    folders = [...folders.filter(({ uri }) => !gone.has(uri)), ...added];
    void started.recount({ roots: rootsOf(folders) });
  });
});

documents.onDidOpen(({ document }) => void counts?.editors.open(document.uri, document.getText()));
documents.onDidChangeContent(({ document }) => void counts?.editors.change(document.uri, document.getText()));
documents.onDidClose(({ document }) => counts?.editors.close(document.uri));
documents.onDidSave(({ document }) => {
  counts?.editors.save(document.uri);
  void counts?.update(filePaths([document.uri]));
});

connection.onNotification(changedNotification, ({ uris, more }: ChangedNotification) => {
  void (more ? counts?.recount() : counts?.update(filePaths(uris)));
});

/** Registers the answer to one call; its error crosses as the PlainError in `data`. */
function answer<Name extends keyof ServerCalls>(name: Name, reply: Answers[Name]): void {
  connection.onRequest(
    name,
    async (params: ServerCalls[Name]["params"], token: CancellationToken): Promise<ServerCalls[Name]["result"]> => {
      const controller = new AbortController();
      token.onCancellationRequested(() => controller.abort());
      try {
        return await reply(params, controller.signal);
      } catch (error) {
        throw responseError(error);
      }
    },
  );
}

const answers = answersOf(started, (message) => connection.console.error(message));
answer("longContext/listing", answers["longContext/listing"]);
answer("longContext/children", answers["longContext/children"]);
answer("longContext/row", answers["longContext/row"]);
answer("longContext/why", answers["longContext/why"]);
answer("longContext/setLevels", answers["longContext/setLevels"]);
answer("longContext/checkRows", answers["longContext/checkRows"]);
answer("longContext/replaceLevels", answers["longContext/replaceLevels"]);
answer("longContext/resetLevels", answers["longContext/resetLevels"]);
answer("longContext/levels", answers["longContext/levels"]);
answer("longContext/undo", answers["longContext/undo"]);
answer("longContext/fit", answers["longContext/fit"]);
answer("longContext/applyFit", answers["longContext/applyFit"]);
answer("longContext/findings", answers["longContext/findings"]);
answer("longContext/countText", answers["longContext/countText"]);
answer("longContext/symbols", answers["longContext/symbols"]);
answer("longContext/secrets", answers["longContext/secrets"]);
answer("longContext/example", answers["longContext/example"]);
answer("longContext/gitText", answers["longContext/gitText"]);
answer("longContext/export", answers["longContext/export"]);
answer("longContext/configure", answers["longContext/configure"]);

connection.onShutdown(() => counts?.dispose());

documents.listen(connection);
connection.listen();

function started(): WorkspaceCounts {
  if (!counts) throw new ResponseError(-32002, "the token server was asked before it was initialized");
  return counts;
}

/** The error as the client rebuilds it: `data` is the PlainError. */
function responseError(error: unknown): ResponseError<unknown> {
  if (error instanceof ResponseError) return error;
  const plain = plainError(error);
  return new ResponseError(-32000, plain.message, plain);
}

/** Only folders on this machine's disk; the others are not readable here. */
function rootsOf(all: readonly { name: string; uri: string }[]): Root[] {
  return workspaceRoots(
    all.filter(({ uri }) => uri.startsWith("file:")).map(({ name, uri }) => ({ name, folder: fileURLToPath(uri) })),
  );
}

function filePaths(uris: readonly string[]): string[] {
  return uris.filter((uri) => uri.startsWith("file:")).map((uri) => fileURLToPath(uri));
}

async function startProgress(title: string): Promise<CountProgress> {
  const progress = await connection.window.createWorkDoneProgress();
  progress.begin(title, 0, "", true);
  let lastPercent = 0;
  return {
    report(percent, message) {
      if (percent === lastPercent) return;
      lastPercent = percent;
      progress.report(percent, message);
    },
    done: () => progress.done(),
    onCancel: (listener) => void progress.token.onCancellationRequested(listener),
  };
}
