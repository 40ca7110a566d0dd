import { createHash } from "node:crypto";
import * as vscode from "vscode";
import { rootOf, type Root } from "../server/roots.ts";

/** Text of the open editor of a path, as UTF-8, where it has the hash that was counted; undefined where the file on disk is meant. */
export function readOpenEditor(roots: readonly Root[], path: string, hash: string): ArrayBuffer | undefined {
  for (const document of vscode.workspace.textDocuments) {
    if (pathOf(roots, document.uri) !== path) continue;
    const bytes = new TextEncoder().encode(document.getText());
    if (createHash("sha256").update(bytes).digest("hex") === hash) return bytes.buffer;
  }
  return undefined;
}

function pathOf(roots: readonly Root[], uri: vscode.Uri): string | undefined {
  if (uri.scheme === "untitled") return uri.toString();
  const place = uri.scheme === "file" ? rootOf(roots, uri.fsPath) : undefined;
  return place && place.root.prefix + place.inner;
}
