import { basename, resolve } from "node:path";
import type { SnapshotFile } from "../../engine/api.ts";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";
import { readSnapshotFile } from "../corpus/snapshotFile.ts";
import type { ExcludedRow } from "../server/requests.ts";
import { type Root, workspaceRoots } from "../server/roots.ts";
import { readTextFile } from "../server/textFile.ts";
import { byPath, type FoundFile, walkRoot } from "../server/walk.ts";

export interface FoundFolder {
  root: Root;
  files: FoundFile[];
  excluded: ExcludedRow[];
}

/** Walks a folder as the token server walks a workspace; throws `no-such-folder`. */
export async function findFiles(folder: string, signal?: AbortSignal, include?: readonly string[]): Promise<FoundFolder> {
  const absolute = resolve(folder);
  const [root] = workspaceRoots([{ name: basename(absolute), folder: absolute }]);
  if (!root) throw new EngineError("no-such-folder", `"${folder}" is not a folder`, "give the path of a folder", { folder });
  return { root, ...(await walkRoot(root, { signal, include })) };
}

/** The text files of a folder, frozen: their hashes, and a reader that refuses a file that changed since. Throws `empty-workspace`. */
export async function freeze(
  folder: string,
  signal?: AbortSignal,
  include?: readonly string[],
): Promise<{ files: SnapshotFile[]; excluded: ExcludedRow[]; readFile: (file: SnapshotFile) => Promise<Uint8Array> }> {
  const { root, files: found, excluded } = await findFiles(folder, signal, include);
  const files: SnapshotFile[] = [];
  for (const { path, absolute, sizeBytes } of found) {
    throwIfAborted(signal);
    const text = await readTextFile(absolute, { path });
    if ("reason" in text) excluded.push({ path, reason: text.reason, kind: text.kind });
    else files.push({ path, hash: text.hash, sizeBytes });
  }
  if (files.length === 0) throw emptyFolder(folder, excluded);
  const readFile = async ({ path, hash }: SnapshotFile): Promise<Uint8Array> =>
    new Uint8Array(await readSnapshotFile([root], path, hash));
  return { files, excluded: excluded.sort(byPath), readFile };
}

/** Of a folder without a text file. */
export function emptyFolder(folder: string, excluded: readonly ExcludedRow[]): EngineError {
  const first = excluded[0];
  const because = first ? ` (${excluded.length} left out, ${first.path}: ${first.reason})` : "";
  const remedy = "give a folder with source files";
  return new EngineError("empty-workspace", `"${folder}" has no text file to ask about${because}`, remedy, { folder });
}
