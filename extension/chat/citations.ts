import * as vscode from "vscode";
import type { Citation } from "../../engine/generate/api.ts";
import { uriOfPath } from "../budget/places.ts";
import { inlineCode } from "./markdown.ts";

/** Places shown as links; a line such as "}" stands in hundreds. */
const mostShown = 8;

/** Links to the quoted lines, and the same places as references of the response. */
export async function showCitations(citations: readonly Citation[], stream: vscode.ChatResponseStream): Promise<void> {
  const verified = citations.filter((citation) => citation.verified);
  if (verified.length === 0) return;
  const quotes = new Set(verified.map(({ quote }) => quote));
  stream.markdown("\n\nQuoted from ");
  for (const [i, citation] of verified.slice(0, mostShown).entries()) {
    const location = await locationOf(citation);
    if (i > 0) stream.markdown(", ");
    if (location) {
      stream.anchor(location, placeText(citation));
      stream.reference(location);
    } else stream.markdown(inlineCode(placeText(citation)));
    // Where the answer is one quote, it has been shown.
    if (quotes.size > 1) stream.markdown(` ${inlineCode(citation.quote)}`);
  }
  const more = verified.length - mostShown;
  stream.markdown(more > 0 ? ` and ${more} more places.` : ".");
}

/** "src/net/backoff.ts:4" or "…:4-6". */
function placeText({ path, startLine, endLine }: Citation): string {
  return endLine > startLine ? `${path}:${startLine}-${endLine}` : `${path}:${startLine}`;
}

/** The cited lines to their ends; undefined where the file is gone since. */
async function locationOf({ path, startLine, endLine }: Citation): Promise<vscode.Location | undefined> {
  const uri = uriOfPath(path);
  if (!uri) return undefined;
  try {
    const document = await vscode.workspace.openTextDocument(uri);
    const last = document.lineAt(Math.min(endLine, document.lineCount) - 1);
    return new vscode.Location(uri, new vscode.Range(startLine - 1, 0, last.lineNumber, last.text.length));
  } catch {
    // What cannot be opened is named without a link.
    return undefined;
  }
}
