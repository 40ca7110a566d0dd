import { setImmediate as nextTurn } from "node:timers/promises";
import * as vscode from "vscode";
import type { LevelMap } from "../../engine/pack/levels.ts";
import { findingsSetting, onSettingChange } from "../config.ts";
import { commandIds, internalCommandIds } from "../commandIds.ts";
import type { Finding } from "../server/requests.ts";
import { Later } from "../server/later.ts";
import { offerUndo } from "./fit.ts";
import { budgetScheme, uriOfPath } from "./places.ts";
import type { VirtualDocuments } from "./virtualDocuments.ts";
import type { BudgetSource } from "./source.ts";

export const findingSource = "Long Context";
/** After the counts have settled; a build that writes many files must not make the Problems view flicker. */
const settleMs = 1000;
/** Files handed to VS Code at once, so that the host is free between. */
const filesPerSlice = 20;
const findingsPerSlice = 200;

const severities: Readonly<Record<Finding["severity"], vscode.DiagnosticSeverity>> = {
  warning: vscode.DiagnosticSeverity.Warning,
  information: vscode.DiagnosticSeverity.Information,
  hint: vscode.DiagnosticSeverity.Hint,
};

/** The findings of one document. */
interface Placed {
  uri: vscode.Uri;
  found: { finding: Finding; diagnostic: vscode.Diagnostic }[];
}

export interface FindingServices {
  source: BudgetSource;
  documents: VirtualDocuments;
  report: (what: string, error: unknown) => void;
}

/** What is odd about counted files in the Problems view, with quick fixes that change levels. */
export class Findings implements vscode.CodeActionProvider, vscode.Disposable {
  private readonly services: FindingServices;
  private readonly collection = vscode.languages.createDiagnosticCollection("longContext");
  private readonly byDocument = new Map<string, Placed["found"]>();
  /** Counts refreshes, so that an older answer does not overwrite a newer one. */
  private round = 0;
  private readonly all: vscode.Disposable;

  constructor(services: FindingServices) {
    this.services = services;
    const refresh = (): void => {
      this.refresh().catch((error: unknown) => services.report("the findings", error));
    };
    const settle = new Later(settleMs, refresh);
    this.all = vscode.Disposable.from(
      this.collection,
      settle,
      services.source.onDidChangeBudget(({ state }) => {
        if (state !== "counting") settle.soon();
      }),
      onSettingChange("findings", refresh),
      vscode.languages.registerCodeActionsProvider([{ scheme: "file" }, { scheme: budgetScheme }], this, {
        providedCodeActionKinds: [vscode.CodeActionKind.QuickFix],
      }),
      vscode.commands.registerCommand(internalCommandIds.applyFix, async (title: string, levels: LevelMap) => {
        try {
          await services.source.call("longContext/setLevels", { levels });
          void offerUndo(`${title}.`);
        } catch (error) {
          services.report(title, error);
        }
      }),
    );
  }

  provideCodeActions(
    document: vscode.TextDocument,
    _range: vscode.Range,
    context: vscode.CodeActionContext,
  ): vscode.CodeAction[] {
    const known = this.byDocument.get(document.uri.toString()) ?? [];
    // VS Code hands over copies, so they are compared by what they say.
    const meant = context.diagnostics
      .filter(({ source }) => source === findingSource)
      .flatMap((diagnostic) =>
        known.filter((one) => isSame(one.diagnostic, diagnostic)).map(({ finding }) => ({ finding, diagnostic })),
      );
    return meant.flatMap(({ finding, diagnostic }) => [
      ...finding.fixes.map(({ title, levels }) => {
        const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
        action.diagnostics = [diagnostic];
        action.command = { command: internalCommandIds.applyFix, title, arguments: [title, levels] };
        return action;
      }),
      whyAction(finding, diagnostic),
    ]);
  }

  dispose(): void {
    this.all.dispose();
  }

  /** Asks for all findings and shows those of files whose setting wants them. */
  private async refresh(): Promise<void> {
    const round = ++this.round;
    const { source } = this.services;
    // Nobody looks into files for findings that nobody wants to see.
    const wanted =
      source.budget?.state === "ready" && (vscode.workspace.workspaceFolders ?? []).some(({ uri }) => findingsSetting(uri));
    const findings = wanted ? (await source.call("longContext/findings", {})).findings : [];
    if (round !== this.round) return;
    const byUri = await this.placed(findings, () => round === this.round);
    if (!byUri) return;
    for (const key of [...this.byDocument.keys()]) {
      if (byUri.has(key)) continue;
      this.byDocument.delete(key);
      this.collection.delete(vscode.Uri.parse(key));
    }
    const entries = [...byUri];
    for (let start = 0; start < entries.length; start += filesPerSlice) {
      const slice = entries.slice(start, start + filesPerSlice);
      this.collection.set(slice.map(([, { uri, found }]) => [uri, found.map(({ diagnostic }) => diagnostic)]));
      for (const [key, { found }] of slice) this.byDocument.set(key, found);
      await nextTurn();
      if (round !== this.round) return;
    }
  }

  /** Findings by the document that shows them, without those of folders whose setting wants none; nothing once `goesOn` is false. */
  private async placed(findings: readonly Finding[], goesOn: () => boolean): Promise<Map<string, Placed> | undefined> {
    const wanted = new Map<vscode.WorkspaceFolder | undefined, boolean>();
    // Asked once per folder: a setting takes a tenth of a millisecond.
    const isWanted = (uri: vscode.Uri): boolean => {
      const folder = vscode.workspace.getWorkspaceFolder(uri);
      const known = wanted.get(folder) ?? findingsSetting(folder?.uri);
      wanted.set(folder, known);
      return known;
    };
    const byUri = new Map<string, Placed>();
    for (const [i, finding] of findings.entries()) {
      if (i % findingsPerSlice === findingsPerSlice - 1) {
        await nextTurn();
        if (!goesOn()) return undefined;
      }
      const inFiles = uriOfPath(finding.path);
      const isFolder = finding.path === "" || finding.path.endsWith("/");
      const uri = isFolder ? this.services.documents.folderUri(finding.path) : inFiles;
      if (!uri || !isWanted(inFiles ?? uri)) continue;
      const entry = byUri.get(uri.toString()) ?? { uri, found: [] };
      byUri.set(uri.toString(), entry);
      entry.found.push({ finding, diagnostic: diagnosticOf(finding) });
    }
    return byUri;
  }
}

function diagnosticOf({ line, kind, severity, message }: Finding): vscode.Diagnostic {
  const at = Math.max(line, 1) - 1;
  // A whole file is marked at its first line only: a wavy line under all of it says nothing more.
  const range = new vscode.Range(at, 0, at, line === 0 ? 1 : Number.MAX_SAFE_INTEGER);
  const diagnostic = new vscode.Diagnostic(range, message, severities[severity]);
  diagnostic.source = findingSource;
  diagnostic.code = kind;
  return diagnostic;
}

function isSame(a: vscode.Diagnostic, b: vscode.Diagnostic): boolean {
  return a.code === b.code && a.message === b.message && a.range.start.line === b.range.start.line;
}

function whyAction({ path }: Finding, diagnostic: vscode.Diagnostic): vscode.CodeAction {
  const action = new vscode.CodeAction("Why is it at this level?", vscode.CodeActionKind.QuickFix);
  action.diagnostics = [diagnostic];
  action.command = { command: commandIds.why, title: "Why", arguments: [path] };
  return action;
}
