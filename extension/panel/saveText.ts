import * as vscode from "vscode";

/** Asks where and writes a text there; false where nothing was chosen. The first suggestion lies in the first folder of the workspace. */
export async function saveText(name: string, text: string): Promise<boolean> {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const target = await vscode.window.showSaveDialog({
    ...(folder ? { defaultUri: vscode.Uri.joinPath(folder, name) } : {}),
    filters: filterOf(name),
  });
  if (!target) return false;
  await vscode.workspace.fs.writeFile(target, new TextEncoder().encode(text));
  return true;
}

/** Kinds of file that the panel writes. */
function filterOf(name: string): Record<string, string[]> {
  return name.endsWith(".md") ? { Markdown: ["md"] } : { JSON: ["json"] };
}
