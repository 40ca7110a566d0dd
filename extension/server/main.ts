/** The token server: a language server process that walks the workspace and counts its tokens. Nothing here knows "vscode". */
import { fileURLToPath } from "node:url";
import {
  createConnection,
  type InitializeParams,
  ProposedFeatures,
  ResponseError,
  TextDocumentSyncKind,
} from "vscode-languageserver/node";
import { plainError } from "../../engine/errors.ts";
import { type BudgetNotification, budgetNotification, requests, type ServerOptions, type WorkspaceListing } from "./requests.ts";
import { type Root, workspaceRoots } from "./roots.ts";
import { type CountProgress, WorkspaceCounts } from "./state.ts";
import { readTokenizer } from "./tokenizerFile.ts";

const connection = createConnection(ProposedFeatures.all);
let counts: WorkspaceCounts | undefined;
let options: ServerOptions = { modelFolder: "" };
let folders: readonly { name: string; uri: string }[] = [];

connection.onInitialize((params: InitializeParams) => {
  options = serverOptions(params.initializationOptions);
  folders = params.workspaceFolders ?? [];
  return {
    capabilities: {
      textDocumentSync: { openClose: false, change: TextDocumentSyncKind.None, save: { includeText: false } },
      workspace: { workspaceFolders: { supported: true, changeNotifications: true } },
    },
  };
});

connection.onInitialized(() => {
  const started = new WorkspaceCounts({
    roots: rootsOf(folders),
    readTokenizer,
    publish: (snapshot: BudgetNotification) => void connection.sendNotification(budgetNotification, snapshot),
    startProgress,
    log: (message) => connection.console.error(message),
  });
  counts = started;
  void started.recount(options.modelFolder);
  connection.workspace.onDidChangeWorkspaceFolders(({ added, removed }) => {
    const gone = new Set(removed.map(({ uri }) => uri));
    folders = [...folders.filter(({ uri }) => !gone.has(uri)), ...added];
    void started.recount(options.modelFolder, rootsOf(folders));
  });
});

connection.onDidSaveTextDocument(({ textDocument }) => {
  void counts?.update(filePaths([textDocument.uri]));
});

connection.onDidChangeWatchedFiles(({ changes }) => {
  void counts?.update(filePaths(changes.map(({ uri }) => uri)));
});

connection.onRequest(requests.listing, async (): Promise<WorkspaceListing> => {
  try {
    return await started().listing();
  } catch (error) {
    throw responseError(error);
  }
});

connection.onRequest(requests.configure, (params: unknown): Record<string, never> => {
  options = serverOptions(params);
  void started().recount(options.modelFolder);
  return {};
});

connection.onShutdown(() => {
  counts?.dispose();
});

connection.listen();

function started(): WorkspaceCounts {
  if (!counts) throw new ResponseError(-32002, "the token server was asked before it was initialized");
  return counts;
}

/** The error as the client rebuilds it: `data` is the PlainError. */
function responseError(error: unknown): ResponseError<unknown> {
  const plain = plainError(error);
  return new ResponseError(-32000, plain.message, plain);
}

function serverOptions(value: unknown): ServerOptions {
  if (typeof value === "object" && value !== null && "modelFolder" in value && typeof value.modelFolder === "string") {
    return { modelFolder: value.modelFolder };
  }
  throw new ResponseError(-32602, "the token server needs { modelFolder: string }");
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

async function startProgress(): Promise<CountProgress> {
  const progress = await connection.window.createWorkDoneProgress();
  progress.begin("Counting tokens", 0, "", true);
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
