import * as vscode from "vscode";
import { readSet } from "../budget/contextSets.ts";
import { contextSetFolder } from "../budget/names.ts";
import { pathOfUri } from "../budget/places.ts";
import type { Attached } from "./contextChoice.ts";
import type { TypedReference } from "./question.ts";

/** What was attached to a chat request, in the names of the token server. Throws `bad-argument` for a context set that cannot be read. */
export async function attachedTo(
  references: readonly vscode.ChatPromptReference[],
): Promise<{ attached: Attached[]; typed: TypedReference[] }> {
  const read = await Promise.all(references.map(async (reference) => ({ reference, attached: await attachedBy(reference) })));
  const typed = read.flatMap(({ reference: { range }, attached }): TypedReference[] =>
    range === undefined ? [] : [{ range, name: nameOf(attached) }],
  );
  return { attached: read.map(({ attached }) => attached), typed };
}

async function attachedBy({ id, value }: vscode.ChatPromptReference): Promise<Attached> {
  // VS Code attaches what is in the editor by itself, under ids that begin like this.
  const implicit = id.startsWith("vscode.implicit");
  if (value instanceof vscode.Uri) return attachedUri(value, implicit);
  if (value instanceof vscode.Location) {
    const path = pathOfUri(value.uri);
    if (path === undefined) return outside(value.uri);
    return { kind: "lines", path, lines: linesOf(value.range), implicit };
  }
  if (typeof value === "string") return { kind: "other", what: "an attached text: only files of the workspace can be quoted" };
  return { kind: "other", what: "an attachment that is no file of the workspace" };
}

async function attachedUri(uri: vscode.Uri, implicit: boolean): Promise<Attached> {
  const isFolder = await isDirectory(uri);
  const path = pathOfUri(uri, isFolder);
  if (path === undefined) return outside(uri);
  if (isFolder) return { kind: "folder", path };
  if (!implicit && new RegExp(`(^|/)${contextSetFolder.replace(".", "\\.")}/[^/]+\\.json$`).test(path)) {
    const { name, levels } = await readSet(uri);
    return { kind: "set", name, levels };
  }
  return { kind: "file", path, implicit };
}

/** Lines with something of the selection in them, 1-based: a selection that ends at the beginning of a line ends in the one before. */
function linesOf({ start, end }: vscode.Range): { first: number; last: number } {
  const last = end.line > start.line && end.character === 0 ? end.line : end.line + 1;
  return { first: start.line + 1, last };
}

function outside(uri: vscode.Uri): Attached {
  return { kind: "other", what: `${uri.scheme === "file" ? uri.fsPath : uri.toString()}: it is outside the workspace` };
}

function nameOf(attached: Attached): string {
  switch (attached.kind) {
    case "file":
    case "folder":
    case "lines":
      return attached.path;
    case "set":
      return `the context set "${attached.name}"`;
    case "other":
      return "";
  }
}

async function isDirectory(uri: vscode.Uri): Promise<boolean> {
  try {
    return ((await vscode.workspace.fs.stat(uri)).type & vscode.FileType.Directory) !== 0;
  } catch {
    // It is gone, or an editor without a file: the token server says what it knows of the path.
    return false;
  }
}
