import * as vscode from "vscode";
import { serveFiles } from "../models/fileServer.ts";
import type { ModelFolder } from "../models/location.ts";

/** From this size on a file goes through a port of this machine: VS Code's own way for webview resources is several times slower. */
const largeBytes = 64 * 2 ** 20;

/** A model's large files as the page reaches them. */
export interface LargeFiles {
  /** What the page's policy must allow it to connect to. */
  readonly source: string;
  /** Undefined for a file that is not large. */
  uriOf(name: string): string | undefined;
  /** The page's origin; until it is known the page cannot read the answers. */
  allowOrigin(origin: string): void;
  dispose(): void;
}

/** Opens a port for the large files of a model; undefined, and no port, where it has none. */
export async function openLargeFiles({ folder, files }: ModelFolder): Promise<LargeFiles | undefined> {
  const names = files.filter(({ sizeBytes }) => sizeBytes >= largeBytes).map(({ name }) => name);
  if (names.length === 0) return undefined;
  const server = await serveFiles(folder, names);
  // On a remote machine this is a tunnel, in a browser-hosted VS Code a path of its own address.
  const local = vscode.Uri.parse(`http://127.0.0.1:${server.port}/`);
  const base = (await vscode.env.asExternalUri(local)).toString(true).replace(/\/$/, "");
  const known = new Set(names);
  return {
    source: `${base}/`,
    uriOf: (name) => (known.has(name) ? base + server.pathOf(name) : undefined),
    allowOrigin: (origin) => server.allowOrigin(origin),
    dispose: () => void server.close(),
  };
}
