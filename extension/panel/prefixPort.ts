import * as vscode from "vscode";
import type { PrefixFolder } from "../prefixes/prefixFolder.ts";
import { servePrefixes } from "../prefixes/prefixServer.ts";

/** Kept prefixes as one page reaches them. */
export interface PrefixPort {
  /** What the page's policy must allow it to connect to. */
  readonly source: string;
  /** Beginning of the address of every page of a prefix. */
  readonly base: string;
  /** The page's origin; until it is known the page cannot read the answers. */
  allowOrigin(origin: string): void;
  dispose(): void;
}

export async function openPrefixPort(folder: PrefixFolder, warn: (message: string) => void): Promise<PrefixPort> {
  const server = await servePrefixes(folder, warn);
  // On a remote machine this is a tunnel, in a browser-hosted VS Code a path of its own address.
  const local = vscode.Uri.parse(`http://127.0.0.1:${server.port}/`);
  const outside = (await vscode.env.asExternalUri(local)).toString(true).replace(/\/$/, "");
  return {
    source: `${outside}/`,
    base: outside + server.base,
    allowOrigin: (origin) => server.allowOrigin(origin),
    dispose: () => void server.close(),
  };
}
