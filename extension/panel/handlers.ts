import * as vscode from "vscode";
import { abortedError, EngineError } from "../../engine/errors.ts";
import type { Handlers } from "../../webview/protocol/channel.ts";
import type { EngineReport, HostCalls } from "../../webview/protocol/panel.ts";
import type { CursorInserter } from "../citations/insertAtCursor.ts";
import type { CitationRevealer } from "../citations/reveal.ts";
import type { TokenClient } from "../client.ts";
import { isGitPath } from "../budget/places.ts";
import { coldPrefixSecondsSetting } from "../config.ts";
import { currentRoots } from "../corpus/currentRoots.ts";
import { readOpenEditor } from "../corpus/openEditor.ts";
import { readSnapshotFile } from "../corpus/snapshotFile.ts";
import type { CurrentModel } from "../models/currentModel.ts";
import type { PrefixFolder } from "../prefixes/prefixFolder.ts";
import { markDone } from "../walkthrough/steps.ts";
import type { LargeFiles } from "./largeFiles.ts";
import type { PanelSettingsStore } from "./panelSettings.ts";
import type { PrefixPort } from "./prefixPort.ts";
import type { RunStore } from "./runs.ts";
import { saveText } from "./saveText.ts";
import type { SearchStore } from "./searches.ts";

/** Bytes of one Range request: a port gains from larger ones, webview resources do not. */
const resourcePieceBytes = 8 * 2 ** 20;
const largePieceBytes = 32 * 2 ** 20;

export interface HandlerServices {
  client: TokenClient;
  model: CurrentModel;
  settings: PanelSettingsStore;
  runs: RunStore;
  searches: SearchStore;
  prefixes: PrefixFolder;
  revealer: CitationRevealer;
  inserter: CursorInserter;
  /** Lets the user pick another model; false where he did not. */
  chooseModel: () => Promise<boolean>;
  /** Shows which levels fit a window, for a question; false where the user did not want them. */
  fitLevels: (target: HostCalls["levels/fit"]["params"]) => Promise<boolean>;
  log: vscode.LogOutputChannel;
}

/** What belongs to one page. */
export interface PageHost {
  /** The large files that were opened for it. */
  largeFiles(): LargeFiles | undefined;
  /** Its way to kept prefixes. */
  prefixPort(): PrefixPort | undefined;
  reportEngine(report: EngineReport): void;
}

/** Everything the page of one panel may ask of the host. */
export function hostHandlers(panel: vscode.WebviewPanel, services: HandlerServices, page: PageHost): Handlers<HostCalls> {
  const { client, model, settings, runs, searches, prefixes, revealer, inserter, log } = services;
  return {
    "workspace/files": async (_, { signal }) => {
      if (currentRoots().length === 0)
        throw new EngineError("empty-workspace", "no folder is open", "open the folder you want to ask about");
      const { root, revision, files } = await orAborted(client.call("longContext/listing", {}), signal);
      if (files.length > 0) return { root, revision, files };
      throw new EngineError("empty-workspace", `${root} has no text file that is not ignored`, "open a folder with source files");
    },
    "ask/check": async ({ paths }, { signal }) => {
      const { secrets } = await orAborted(client.call("longContext/secrets", { paths }), signal);
      return { secrets, coldPrefixSeconds: coldPrefixSecondsSetting() };
    },
    "levels/fit": async (target) => ({ applied: await services.fitLevels(target) }),
    "file/read": async ({ path, hash }) => {
      const roots = currentRoots();
      if (isGitPath(path)) return { bytes: await readGitRow(client, path, hash) };
      return { bytes: readOpenEditor(roots, path, hash) ?? (await readSnapshotFile(roots, path, hash)) };
    },
    "citation/reveal": async ({ path, startLine, endLine }) => {
      const line = await revealer.reveal(path, startLine, endLine, panel.viewColumn);
      markDone("cited");
      return { line };
    },
    "citation/revealAll": ({ files }) => revealer.revealAll(files, panel.viewColumn),
    "editor/insert": ({ text }) => inserter.insert(text, panel.viewColumn),
    "model/locate": async ({ origin }) => {
      const { folder, label, ggufName, files } = await model.locate();
      page.largeFiles()?.allowOrigin(origin);
      const base = vscode.Uri.file(folder);
      const reached = files.map((file) => {
        const uri = page.largeFiles()?.uriOf(file.name);
        if (uri !== undefined) return { ...file, uri, pieceBytes: largePieceBytes };
        const resource = panel.webview.asWebviewUri(vscode.Uri.joinPath(base, file.name));
        return { ...file, uri: resource.toString(), pieceBytes: resourcePieceBytes };
      });
      return { label, ggufName, files: reached };
    },
    "model/choose": async () => ({ chosen: await services.chooseModel() }),
    "engine/report": (report) => {
      page.reportEngine(report);
      return {};
    },
    "settings/read": () => settings.readForPanel(),
    "settings/write": async (chosen) => {
      await settings.write(chosen);
      return {};
    },
    "runs/list": () => runs.list(),
    "runs/save": async (run) => {
      await runs.save(run);
      if (run.result.citations.some(({ verified }) => verified)) markDone("answered");
      return {};
    },
    "runs/delete": async ({ id, question }) => {
      if (!(await confirmDelete(question))) return { deleted: false };
      await runs.delete(id);
      return { deleted: true };
    },
    "search/read": async () => ({ state: await searches.read() }),
    "search/save": async ({ state }) => {
      await searches.keep(state);
      return {};
    },
    "prefix/open": ({ origin }) => {
      const port = page.prefixPort();
      port?.allowOrigin(origin);
      return { base: port?.base };
    },
    "prefix/list": () => prefixes.list(),
    "prefix/touch": async ({ names, lastUsed }) => {
      await prefixes.touch(names, lastUsed);
      return {};
    },
    "prefix/delete": async ({ names }) => {
      await prefixes.delete(names);
      return {};
    },
    "file/save": async ({ name, text }) => ({ saved: await saveText(name, text) }),
    "tab/shown": ({ tab }) => {
      if (tab === "inspect") markDone("inspected");
      return {};
    },
    "log/write": ({ level, message }) => {
      log[level](`panel: ${message}`);
      return {};
    },
  };
}

/** What git said when it was counted; throws `not-found` where it says something else by now. */
async function readGitRow(client: TokenClient, path: string, hash: string): Promise<ArrayBuffer> {
  const { text } = await client.call("longContext/gitText", { path, hash });
  if (text !== undefined) return new TextEncoder().encode(text).buffer;
  throw new EngineError("not-found", `${path} changed since it was counted`, "ask again", { path });
}

/** A run has no undo, so it is asked. */
async function confirmDelete(question: string): Promise<boolean> {
  const remove = "Delete";
  const detail = "Its question, answer and citations are deleted from this machine for good.";
  return (
    (await vscode.window.showWarningMessage(`Delete the saved run "${question}"?`, { modal: true, detail }, remove)) === remove
  );
}

/** A count of a large workspace takes its time; who stops asking does not wait for it. */
function orAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(abortedError());
    signal.addEventListener("abort", () => reject(abortedError()), { once: true });
    work.then(resolve, reject);
  });
}
